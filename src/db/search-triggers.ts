/**
 * The triggers that keep the text of searched rows, the index over it, and indexing from scratch. Both dialects index every three
 * characters in a row, so that any part of a text is found: SQLite by FTS5 over `search_docs`, PostgreSQL by a GIN index of the
 * extension pg_trgm. Where the extension cannot be had PostgreSQL reads all texts for a search, which takes longer and blocks nobody.
 */
import { createHash } from "node:crypto"
import { and, asc, eq, gt, lte } from "drizzle-orm"
import { messageOf } from "../errors"
import { logger } from "../logging"
import type { Db, DbHandle, SchemaConnection } from "./db"
import {
  bigKindNames,
  docsOf,
  ftsTableOf,
  type SearchedKind,
  type SearchedKindName,
  searchedKindNames,
  searchedKinds,
} from "./searched-kinds"

type Dialect = DbHandle["dialect"]

const log = logger("db")

const listOfTexts: Readonly<Record<Dialect, (column: string) => string>> = {
  sqlite: (column) => `(select group_concat(value, char(10)) from json_each(${column}))`,
  postgres: (column) => `(select string_agg(value, chr(10)) from jsonb_array_elements_text(${column}::jsonb))`,
}

/** The text of one row. `row` is `new.` or the name of a table. */
const textOf = (kind: SearchedKind, dialect: Dialect, row: string): string => {
  const feed = dialect === "sqlite" ? "char(10)" : "chr(10)"
  const values = [
    `${row}id`,
    ...kind.columns.map((column) => `${row}${column}`),
    ...(kind.lists ?? []).map((column) => listOfTexts[dialect](`${row}${column}`)),
  ]
  return `lower(${feed} || ${values.map((value) => `coalesce(${value}, '') || ${feed}`).join(" || ")})`
}

const watchedColumns = (kind: SearchedKind): string[] => [...kind.columns, ...(kind.lists ?? [])]

/** SQLite: the highest number that a kind ever used. That of a row that is gone must not come again before the index has passed it. */
const lastDoc = (name: SearchedKindName): string => {
  const { from, to } = docsOf(name)
  const inUse = `coalesce((select max(doc) from search_docs where doc > ${from} and doc <= ${to}), ${from})`
  return bigKindNames.includes(name) ? `max(${inUse}, ${markOf(name)})` : inUse
}

/** SQLite: up to where the FTS5 index of a big kind reaches. */
const markOf = (name: SearchedKindName): string =>
  `coalesce((select doc from search_marks where kind = '${name}'), ${docsOf(name).from})`

const sqliteTriggers = (name: SearchedKindName): string[] => {
  const kind: SearchedKind = searchedKinds[name]
  const watched = watchedColumns(kind)
  const trigger = (event: string, on: string, statement: string) =>
    `create trigger search_docs_${name}_${event} after ${on} begin ${statement}; end`
  return [
    trigger(
      "insert",
      `insert on ${kind.table}`,
      `insert into search_docs (doc, kind, id, text)
        values (${lastDoc(name)} + 1, '${name}', new.id, ${textOf(kind, "sqlite", "new.")})`,
    ),
    trigger(
      "update",
      `update of ${watched.join(", ")} on ${kind.table}
        when ${watched.map((column) => `old.${column} is not new.${column}`).join(" or ")}`,
      `update search_docs set text = ${textOf(kind, "sqlite", "new.")} where kind = '${name}' and id = new.id`,
    ),
    trigger("delete", `delete on ${kind.table}`, `delete from search_docs where kind = '${name}' and id = old.id`),
  ]
}

const postgresTriggers = (name: SearchedKindName): string[] => {
  const kind: SearchedKind = searchedKinds[name]
  const { table } = kind
  const { from } = docsOf(name)
  const watched = watchedColumns(kind)
  const called = `search_docs_${name}`
  const trigger = (event: string, on: string, when = "") =>
    `create trigger ${called}_${event} after ${on} on ${table} for each row ${when} execute function ${called}()`
  return [
    // With the rights of its owner: whoever may change a searched table needs none on the index.
    `create or replace function ${called}() returns trigger language plpgsql
      security definer set search_path from current as $$ begin
      if tg_op = 'INSERT' then
        insert into search_docs (doc, kind, id, text)
          values (${from} + nextval('search_docs_doc'), '${name}', new.id, ${textOf(kind, "postgres", "new.")});
      elsif tg_op = 'UPDATE' then
        update search_docs set text = ${textOf(kind, "postgres", "new.")} where kind = '${name}' and id = new.id;
      else
        delete from search_docs where kind = '${name}' and id = old.id;
      end if;
      return null; end; $$`,
    trigger("insert", "insert"),
    trigger(
      "update",
      `update of ${watched.join(", ")}`,
      `when (${watched.map((column) => `old.${column} is distinct from new.${column}`).join(" or ")})`,
    ),
    trigger("delete", "delete"),
  ]
}

const triggersOf: Readonly<Record<Dialect, (name: SearchedKindName) => string[]>> = {
  sqlite: sqliteTriggers,
  postgres: postgresTriggers,
}

/** Takes out and puts right the texts of a kind that are not what they should be; those that are stay, as their index does. */
const correct = (name: SearchedKindName, dialect: Dialect): string[] => {
  const kind: SearchedKind = searchedKinds[name]
  return [
    `delete from search_docs where kind = '${name}'
      and not exists (select 1 from ${kind.table} r where r.id = search_docs.id)`,
    `update search_docs set text = s.text from (select r.id, ${textOf(kind, dialect, "r.")} as text from ${kind.table} r) s
      where search_docs.kind = '${name}' and search_docs.id = s.id and search_docs.text <> s.text`,
  ]
}

/** Adds the texts of some rows that have none, oldest first. */
const addMissing = (name: SearchedKindName, dialect: Dialect, limit: number): string => {
  const kind: SearchedKind = searchedKinds[name]
  const { table, time } = kind
  const next =
    dialect === "sqlite"
      ? `${lastDoc(name)} + row_number() over (order by r.${time}, r.id)`
      : `${docsOf(name).from} + nextval('search_docs_doc')`
  return `insert into search_docs (doc, kind, id, text)
    select ${next}, '${name}', r.id, ${textOf(kind, dialect, "r.")}
    from (select * from ${table} t where not exists (select 1 from search_docs d where d.kind = '${name}' and d.id = t.id)
      order by t.${time}, t.id limit ${limit}) r`
}

const digestOf = (name: SearchedKindName, dialect: Dialect): string =>
  createHash("sha256")
    .update([...triggersOf[dialect](name), ...correct(name, dialect)].join("\n"))
    .digest("hex")

const mark = (name: SearchedKindName): string => `search:${name}`

/**
 * FTS5 keeps no copy of the text: it is told what leaves the index. What is new is not among these: FTS5 writes at every savepoint, which
 * took a third of the time in which a certificate is created. `indexRecent` adds many at once, and until then searches read them.
 */
const ftsTriggers = (name: SearchedKindName): string[] => {
  const fts = ftsTableOf(name)
  const remove = `insert into ${fts} (${fts}, rowid, text) values ('delete', old.doc, old.text);`
  const add = `insert into ${fts} (rowid, text) values (new.doc, new.text);`
  const trigger = (event: string, on: string, text: string) =>
    `create trigger search_docs_fts_${name}_${event} after ${on} on search_docs
      when old.kind = '${name}' and old.doc <= ${markOf(name)} begin ${text} end`
  return [
    trigger("delete", "delete", remove),
    trigger("update", "update of text", `${remove} ${add}`),
    `create trigger search_docs_fts_${name}_advance after update of doc on search_marks
      when old.kind = '${name}' and new.doc > old.doc begin
      insert into ${fts} (rowid, text) select doc, text from search_docs where doc > old.doc and doc <= new.doc; end`,
  ]
}

const triggersIn = async (
  connection: SchemaConnection,
  dialect: Dialect,
): Promise<{ name: string; table: string }[]> => {
  const rows = await connection.all(
    dialect === "sqlite"
      ? "select name, tbl_name as table_name from sqlite_schema where type = 'trigger' and name like 'search\\_docs\\_%' escape '\\'"
      : "select tgname as name, tgrelid::regclass::text as table_name from pg_trigger where not tgisinternal and tgname like 'search\\_docs\\_%'",
  )
  return rows.map((row) => ({ name: String(row.name), table: String(row.table_name) }))
}

/** @param of a kind's, or those that feed its FTS5 index; without it all */
const dropTriggers = async (
  connection: SchemaConnection,
  dialect: Dialect,
  of?: SearchedKindName | `fts_${SearchedKindName}`,
): Promise<void> => {
  const meant = ["insert", "update", "delete", "advance"].map((event) => `search_docs_${of}_${event}`)
  for (const { name, table } of await triggersIn(connection, dialect)) {
    if (of !== undefined && !meant.includes(name)) continue
    await connection.run(dialect === "sqlite" ? `drop trigger ${name}` : `drop trigger ${name} on ${table}`)
  }
}

const exists = async (connection: SchemaConnection, dialect: Dialect, relation: string): Promise<boolean> => {
  const rows = await connection.all(
    dialect === "sqlite" ? "select 1 from sqlite_schema where name = ?" : "select 1 where to_regclass(?) is not null",
    [relation],
  )
  return rows.length > 0
}

/**
 * Before a migration: a rebuilt table loses its triggers half-way, and SQLite refuses to rename one while a trigger names what is not
 * there. Going down, the index goes too, since an older version would not keep it. `ensureSearchIndex` makes up for it.
 */
export const stopIndexing = async (
  connection: SchemaConnection,
  dialect: Dialect,
  direction: "up" | "down",
): Promise<void> => {
  await dropTriggers(connection, dialect)
  if (direction === "down" && dialect === "sqlite") {
    for (const name of bigKindNames) await connection.run(`drop table if exists ${ftsTableOf(name)}`)
  }
  if (!(await exists(connection, dialect, "settings"))) return
  for (const name of searchedKindNames) await connection.all("delete from settings where name = ?", [mark(name)])
}

const ensureFts = async (connection: SchemaConnection, name: SearchedKindName): Promise<void> => {
  const fts = ftsTableOf(name)
  if (!(await exists(connection, "sqlite", fts))) {
    await connection.run(`create virtual table ${fts} using fts5(
      text, content = 'search_docs', content_rowid = 'doc', tokenize = 'trigram', columnsize = 0)`)
    await connection.all("delete from search_marks where kind = ?", [name])
  }
  await connection.run(`insert or ignore into search_marks (kind, doc) values ('${name}', ${docsOf(name).from})`)
  const present = new Set((await triggersIn(connection, "sqlite")).map((trigger) => trigger.name))
  const triggers = ftsTriggers(name)
  if (triggers.every((text) => present.has(text.split(" ")[2] ?? ""))) return
  await dropTriggers(connection, "sqlite", `fts_${name}`)
  for (const statement of triggers) await connection.run(statement)
}

/** Texts indexed at a time while requests wait: some ten milliseconds. */
const recentBatch = 200

/** Brings SQLite's index up to date. PostgreSQL keeps its own. */
export const indexRecent = async (
  { t, dialect, transaction }: Pick<Db, "t" | "dialect" | "transaction">,
  signal?: AbortSignal,
): Promise<void> => {
  if (dialect === "postgres") return
  const { searchDocs, searchMarks } = t
  const advance = (name: SearchedKindName): Promise<boolean> =>
    transaction(async (tx) => {
      const isOfKind = eq(searchMarks.kind, name)
      const [mark] = await tx.select().from(searchMarks).where(isOfKind)
      if (mark === undefined) return false
      const next = await tx
        .select({ doc: searchDocs.doc })
        .from(searchDocs)
        .where(and(gt(searchDocs.doc, mark.doc), lte(searchDocs.doc, docsOf(name).to)))
        .orderBy(asc(searchDocs.doc))
        .limit(recentBatch)
      const last = next.at(-1)
      if (last !== undefined) await tx.update(searchMarks).set({ doc: last.doc }).where(isOfKind)
      return next.length === recentBatch
    })
  for (const name of bigKindNames) while (signal?.aborted !== true && (await advance(name)));
}

const trigramIndex = "idx_search_docs_text"

/** In a transaction of its own: what fails there leaves the rest alone. */
const ensureTrigrams = async (db: DbHandle): Promise<void> => {
  try {
    await db.changeSchema(async (connection) => {
      if (await exists(connection, "postgres", trigramIndex)) return
      await connection.run("create extension if not exists pg_trgm")
      await connection.run(`create index ${trigramIndex} on search_docs using gin (text gin_trgm_ops)`)
    })
  } catch (error) {
    log.warn(
      "searches read every text, as there is no trigram index: {reason}. Let a superuser run `create extension pg_trgm` and restart",
      { reason: messageOf(error) },
    )
  }
}

/** Rows indexed in one transaction: some hundred megabytes of write-ahead log. */
const batch = 200_000

/** Fewer texts than this wait for `indexRecent` when a server starts. */
const many = 20_000

/** Bytes that FTS5 gathers before it writes them: more while there is much to index, so that it has less to merge. */
const [usualBuffer, bulkBuffer] = [1_048_576, 67_108_864]

/** For a start with much to index: tells FTS5 to gather more, and leaves one piece, which later additions need not merge bit by bit. */
const indexMany = async (db: DbHandle, name: SearchedKindName): Promise<void> => {
  const fts = ftsTableOf(name)
  const change = <R>(run: (connection: SchemaConnection) => Promise<R>): Promise<R> =>
    db.changeSchema(run, { keepsReferences: true })
  const setBuffer = (bytes: number) =>
    change((connection) => connection.run(`insert into ${fts} (${fts}, rank) values ('hashsize', ${bytes})`))
  /** How many of the texts after the mark there are, up to a limit, and the last of them. */
  const nextAfterMark = async (connection: SchemaConnection, limit: number) => {
    const [row] = await connection.all(`select count(*) as n, max(doc) as last from
      (select doc from search_docs where doc > ${markOf(name)} and doc <= ${docsOf(name).to} order by doc limit ${limit})`)
    return { count: Number(row?.n ?? 0), last: Number(row?.last ?? 0) }
  }
  const advance = async (connection: SchemaConnection): Promise<boolean> => {
    const { count, last } = await nextAfterMark(connection, batch)
    if (count > 0) await connection.run(`update search_marks set doc = ${last} where kind = '${name}'`)
    return count === batch
  }
  const recent = await change((connection) => nextAfterMark(connection, many))
  if (recent.count < many) return
  await setBuffer(bulkBuffer)
  while (await change(advance));
  await setBuffer(usualBuffer)
  await change((connection) => connection.run(`insert into ${fts} (${fts}) values ('optimize')`))
}

const missingIn = async (connection: SchemaConnection, name: SearchedKindName): Promise<number> => {
  const [row] = await connection.all(
    `select (select count(*) from ${searchedKinds[name].table}) - (select count(*) from search_docs where kind = '${name}') as missing`,
  )
  return Number(row?.missing ?? 0)
}

/**
 * Makes the triggers and indexes what is there, kind by kind, where that was not done or was done for another definition. Any number
 * of servers may call it at once. A million rows that were never indexed take some minutes.
 */
export const ensureSearchIndex = async (db: DbHandle): Promise<void> => {
  const { dialect } = db
  const isCurrent = async (connection: SchemaConnection, name: SearchedKindName): Promise<boolean> => {
    const [row] = await connection.all("select value from settings where name = ?", [mark(name)])
    return row?.value === digestOf(name, dialect)
  }
  const now = dialect === "sqlite" ? "cast(unixepoch('subsec') * 1000 as integer)" : "now()"
  const setMark = async (connection: SchemaConnection, name: SearchedKindName): Promise<boolean> => {
    await connection.all(
      `insert into settings (name, value, updated_at) values (?, ?, ${now})
        on conflict (name) do update set value = excluded.value, updated_at = excluded.updated_at`,
      [mark(name), digestOf(name, dialect)],
    )
    return true
  }
  const stale = await db.changeSchema(
    async (connection) => {
      if (dialect === "sqlite") for (const name of bigKindNames) await ensureFts(connection, name)
      const found: SearchedKindName[] = []
      for (const name of searchedKindNames) if (!(await isCurrent(connection, name))) found.push(name)
      return found
    },
    { keepsReferences: true },
  )
  // Several transactions: one for everything would double the size of a big database until it is over, and holding one table's lock
  // while waiting for another's could deadlock with a server at work.
  const inTurn = (work: (connection: SchemaConnection) => Promise<boolean>, name: SearchedKindName): Promise<boolean> =>
    db.changeSchema(
      async (connection) => {
        if (dialect === "postgres") {
          await connection.run(`lock table ${searchedKinds[name].table} in share row exclusive mode`)
        }
        return await work(connection)
      },
      { keepsReferences: true },
    )
  for (const name of stale) {
    await inTurn(async (connection) => {
      if (dialect === "postgres") {
        await connection.run("create sequence if not exists search_docs_doc owned by search_docs.doc")
      }
      await dropTriggers(connection, dialect, name)
      for (const statement of [...triggersOf[dialect](name), ...correct(name, dialect)]) await connection.run(statement)
      return true
    }, name)
    const addSome = async (connection: SchemaConnection): Promise<boolean> => {
      // PostgreSQL holds a table for empty until it is told otherwise, and would read all texts for each row of the second step.
      if (dialect === "postgres") await connection.run("analyze search_docs")
      await connection.run(addMissing(name, dialect, batch))
      return (await missingIn(connection, name)) > 0
    }
    let isIncomplete = true
    while (isIncomplete) isIncomplete = await inTurn(addSome, name)
    await inTurn(async (connection) => await setMark(connection, name), name)
  }
  if (dialect === "sqlite") for (const name of bigKindNames) await indexMany(db, name)
  if (dialect === "postgres") await ensureTrigrams(db)
}

/** Changes with every definition: for whoever keeps migrated databases. */
export const searchDigest = (dialect: Dialect): string =>
  [...searchedKindNames.map((name) => digestOf(name, dialect)), ...bigKindNames.flatMap(ftsTriggers)].join(" ")
