import { afterEach, expect, test } from "bun:test"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { count } from "drizzle-orm"
import { generateMigrations } from "../../scripts/db-generate"
import { onEachDialect } from "../testing/on-each-dialect"
import { migrationsFolder } from "../testing/postgres"
import type { Db, DbHandle, Tx } from "./db"
import { problemOf } from "./errors"
import { migrate } from "./migrate"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** Migrations after `0000_init`, the same text for both dialects unless told otherwise. */
const withMigrations = (more: Record<string, { up: string; down: string }>): string => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-migrations-"))
  folders.push(folder)
  cpSync(migrationsFolder, folder, { recursive: true })
  for (const dialect of ["sqlite", "postgres"]) {
    mkdirSync(join(folder, dialect), { recursive: true })
    for (const [name, { up, down }] of Object.entries(more)) {
      writeFileSync(join(folder, dialect, `${name}.sql`), up)
      writeFileSync(join(folder, dialect, `${name}.down.sql`), down)
    }
  }
  return folder
}

/** Everything that makes up the schema, as text. */
const dumpSchema = async (db: DbHandle): Promise<string[]> => {
  const queries = {
    sqlite: ["select type || ' ' || name || ' ' || coalesce(sql, '') as line from sqlite_schema order by type, name"],
    postgres: [
      `select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') as line
        from information_schema.columns where table_schema = 'public' order by 1`,
      "select indexdef as line from pg_indexes where schemaname = 'public' order by 1",
      `select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) as line from pg_constraint
        where connamespace = 'public'::regnamespace order by 1`,
      "select pg_get_triggerdef(oid) as line from pg_trigger where not tgisinternal order by 1",
    ],
  }[db.dialect]
  return await db.changeSchema(async (connection) => {
    const rows = []
    for (const query of queries) rows.push(...(await connection.all(query)))
    return rows.map(({ line }) => String(line))
  })
}

const at = new Date("2026-03-01T12:00:00Z")

const addRows = (db: Db) =>
  db.transaction(async (tx) => {
    await tx.insert(db.t.teams).values({ id: "t-1", name: "web", createdAt: at, updatedAt: at })
    await tx.insert(db.t.owners).values({ id: "o-1", name: "kim", teamId: "t-1", createdAt: at, updatedAt: at })
    await addAuditEvent(db, tx)
  })

const addAuditEvent = async (db: Db, tx: Tx) => {
  await tx.insert(db.t.auditEvents).values({
    id: "audit-1",
    actor: "kim",
    actorType: "User",
    action: "team_created",
    resourceType: "team",
    resourceId: "t-1",
    details: { name: "web" },
    timestamp: at,
  })
  await tx.insert(db.t.auditLeaves).values({ seq: 1, eventId: "audit-1", leafHash: "00" })
}

const failureOf = async (work: Promise<unknown>): Promise<Error> => {
  try {
    await work
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  throw new Error("it did not fail")
}

const teamNames = async (db: Db) =>
  (await db.read.select({ name: db.t.teams.name }).from(db.t.teams)).map(({ name }) => name)

test("the committed migrations are what the tables give", async () => {
  const files = await generateMigrations()
  for (const [path, text] of files) {
    // Said in one line: the difference itself would fill the screen.
    const isCurrent = readFileSync(join(migrationsFolder, path), "utf8") === text
    expect(`${path} ${isCurrent ? "is current" : "differs: run npm run db:generate"}`).toBe(`${path} is current`)
  }
})

onEachDialect("migrate", (openDb, dialect) => {
  test("does nothing when there is nothing to do", async () => {
    const db = await openDb()
    expect(await migrate(db, { folder: migrationsFolder })).toEqual({ applied: [], reverted: [] })
  })

  test("goes down to nothing, with rows, and up to the same schema again", async () => {
    const db = await openDb()
    const before = await dumpSchema(db)
    await addRows(db)
    expect(await migrate(db, { folder: migrationsFolder, to: "none" })).toEqual({
      applied: [],
      reverted: ["0000_init"],
    })
    const empty = await dumpSchema(db)
    expect(empty.filter((line) => !line.includes("schema_migrations"))).toEqual([])
    expect((await migrate(db, { folder: migrationsFolder })).applied).toEqual(["0000_init"])
    expect(await dumpSchema(db)).toEqual(before)
    await addRows(db)
  })

  test("keeps rows through a migration and back, and children of a rebuilt table too", async () => {
    const db = await openDb()
    const before = await dumpSchema(db)
    await addRows(db)
    await db.changeSchema(async (connection) => {
      await connection.run(
        "create table badges (id text primary key, team_id text not null references teams(id) on delete cascade)",
      )
      await connection.all("insert into badges values (?, ?)", ["b-1", "t-1"])
    })
    const rebuild = (check: string) =>
      dialect === "postgres"
        ? `alter table teams drop constraint if exists teams_limit; ${check && `alter table teams add ${check};`}`
        : `PRAGMA foreign_keys=OFF;--> statement-breakpoint
CREATE TABLE __new_teams (id text primary key not null, name text not null, description text default '' not null,
  created_at integer not null, updated_at integer not null ${check && `, ${check}`});
--> statement-breakpoint
INSERT INTO __new_teams SELECT id, name, description, created_at, updated_at FROM teams;--> statement-breakpoint
DROP TABLE teams;--> statement-breakpoint
ALTER TABLE __new_teams RENAME TO teams;--> statement-breakpoint
PRAGMA foreign_keys=ON;`
    const folder = withMigrations({
      "0001_limit": { up: rebuild("constraint teams_limit check (length(name) < 50)"), down: rebuild("") },
      "0002_colour": {
        up: "alter table teams add column colour text default 'grey' not null",
        down: "alter table teams drop column colour",
      },
    })
    expect((await migrate(db, { folder })).applied).toEqual(["0001_limit", "0002_colour"])
    const children = () => db.changeSchema((connection) => connection.all("select id from badges"))
    expect(await children()).toEqual([{ id: "b-1" }])
    const tooLong = { id: "t-2", name: "x".repeat(60), createdAt: at, updatedAt: at }
    const failure = await failureOf(db.transaction(async (tx) => await tx.insert(db.t.teams).values(tooLong)))
    expect(problemOf(failure)).toBe("check")

    expect((await migrate(db, { folder, to: "0001" })).reverted).toEqual(["0002_colour"])
    expect((await migrate(db, { folder, to: "0000_init" })).reverted).toEqual(["0001_limit"])
    expect(await children()).toEqual([{ id: "b-1" }])
    expect(await teamNames(db)).toEqual(["web"])
    await db.changeSchema((connection) => connection.run("drop table badges"))
    // The older version, when it starts.
    await migrate(db, { folder: migrationsFolder })
    if (dialect === "postgres") expect(await dumpSchema(db)).toEqual(before)
  })

  test("an older version undoes what it does not know, from the text stored with the migration", async () => {
    const db = await openDb()
    const before = await dumpSchema(db)
    const folder = withMigrations({
      "0001_newer": { up: "create table newer (id text primary key)", down: "drop table newer" },
    })
    await migrate(db, { folder })
    const refusal = await failureOf(migrate(db, { folder: migrationsFolder }))
    expect(refusal.message).toContain("migrated by a newer version (0001_newer)")
    expect(refusal.message).toContain("certctl migrate --to 0000_init")
    expect((await migrate(db, { folder: migrationsFolder, to: "0000_init" })).reverted).toEqual(["0001_newer"])
    expect(await dumpSchema(db)).toEqual(before)
  })

  test("a failing migration leaves everything as it was before it", async () => {
    const db = await openDb()
    await addRows(db)
    const folder = withMigrations({
      "0001_good": { up: "create table good (id text primary key)", down: "drop table good" },
      "0002_bad": {
        up: "create table bad (id text primary key);\n--> statement-breakpoint\ninsert into nowhere values (1)",
        down: "drop table bad",
      },
    })
    const failure = await failureOf(migrate(db, { folder }))
    expect(failure.message).toContain("migration 0002_bad (up) failed")
    const names = await db.changeSchema((connection) =>
      connection.all("select name from schema_migrations order by name"),
    )
    expect(names).toEqual([{ name: "0000_init" }, { name: "0001_good" }])
    expect((await dumpSchema(db)).some((line) => line.includes("bad"))).toBe(false)
    expect(await teamNames(db)).toEqual(["web"])
  })

  if (dialect === "sqlite") {
    test("refuses to commit rows that refer to nothing", async () => {
      const db = await openDb()
      await addRows(db)
      const folder = withMigrations({ "0001_orphans": { up: "delete from teams", down: "select 1" } })
      expect((await failureOf(migrate(db, { folder }))).message).toContain(
        "1 rows would refer to nothing, the first in owners",
      )
      expect(await teamNames(db)).toEqual(["web"])
      const orphan = { id: "o-2", name: "lee", teamId: "t-none", createdAt: at, updatedAt: at }
      const failure = await failureOf(db.transaction(async (tx) => await tx.insert(db.t.owners).values(orphan)))
      expect(problemOf(failure)).toBe("reference")
    })
  }

  test("refuses a migration that was applied in another form, and an unknown goal", async () => {
    const db = await openDb()
    const folder = withMigrations({ "0000_init": { up: "select 2", down: "select 1" } })
    expect((await failureOf(migrate(db, { folder }))).message).toContain("0000_init was applied in another form")
    expect((await failureOf(migrate(db, { folder: migrationsFolder, to: "0042" }))).message).toContain(
      "no migration 0042",
    )
  })

  test("audit rows can be added and neither changed nor deleted, also after a migration", async () => {
    const db = await openDb()
    const folder = withMigrations({
      "0001_column": {
        up: "alter table audit_events add column source text",
        down: "alter table audit_events drop column source",
      },
    })
    const { auditEvents, auditLeaves } = db.t
    await addRows(db)
    const expectRefused = async () => {
      for (const change of [
        (tx: Tx) => tx.update(auditEvents).set({ actor: "nobody" }),
        (tx: Tx) => tx.delete(auditEvents),
        (tx: Tx) => tx.update(auditLeaves).set({ leafHash: "11" }),
        (tx: Tx) => tx.delete(auditLeaves),
      ]) {
        const failure = await failureOf(db.transaction(async (tx) => await change(tx)))
        expect(failure.message).toContain("append-only")
        expect(problemOf(failure)).toBe("check")
      }
      if (dialect === "postgres") {
        const truncating = db.changeSchema((connection) => connection.run("truncate audit_events, audit_leaves"))
        expect((await failureOf(truncating)).message).toContain("append-only")
      }
      expect(await db.read.select({ n: count() }).from(auditEvents)).toEqual([{ n: 1 }])
    }
    await expectRefused()
    await migrate(db, { folder })
    await expectRefused()
    await migrate(db, { folder, to: "0000" })
    await expectRefused()
  })

  if (dialect === "postgres") {
    test("servers that start at the same time migrate once", async () => {
      const db = await openDb()
      const folder = withMigrations({
        "0001_count": {
          up: "create table starts (n int); --> statement-breakpoint\ninsert into starts values (1)",
          down: "drop table starts",
        },
      })
      const runs = await Promise.all(Array.from({ length: 6 }, () => migrate(db, { folder })))
      expect(runs.flatMap(({ applied }) => applied)).toEqual(["0001_count"])
      expect(await db.changeSchema((connection) => connection.all("select n from starts"))).toEqual([{ n: 1 }])
    })
  }

  if (dialect === "postgres") {
    test("only the retention role deletes audit rows, and the service role has no right to", async () => {
      const db = await openDb()
      await addRows(db)
      const triggers = readFileSync(join(migrationsFolder, "postgres", "triggers.sql"), "utf8")
      const tried = db.changeSchema(async (connection) => {
        // Roles belong to the whole server, so they only exist inside this transaction, which rolls back.
        await connection.run("create role certctl; create role certctl_retention")
        await connection.run("grant all on all tables in schema public to certctl, certctl_retention")
        for (const statement of triggers.split("--> statement-breakpoint")) await connection.run(statement)
        const [rights] = await connection.all(
          "select has_table_privilege('certctl', 'audit_events', 'delete') as may_delete, has_table_privilege('certctl', 'audit_events', 'insert') as may_insert",
        )
        await connection.run("set local role certctl_retention; delete from audit_leaves; delete from audit_events")
        const left = await connection.all("select id from audit_events")
        throw Object.assign(new Error("roll back"), { seen: { rights, left } })
      })
      expect(await failureOf(tried)).toMatchObject({
        message: "roll back",
        seen: { rights: { may_delete: false, may_insert: true }, left: [] },
      })
    })
  }
})
