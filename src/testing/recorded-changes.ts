/**
 * Has the database itself note every change of a state, whoever makes it, so that a test can hold the audit trail against what
 * really happened.
 */
import type { Db } from "../db/db"

interface Watched {
  readonly table: string
  /** What the changes are told apart by where a table has several states; default: the table. */
  readonly name?: string
  /** Column of the row's id, where that is not `id`. */
  readonly id?: string
  /** The state of a row as an SQL expression, `row` being `old` or `new`. */
  readonly state: (row: "old" | "new") => string
}

export interface Change {
  /** Or the name given for the state. */
  readonly table: string
  readonly id: string
  /** null: the row is new. */
  readonly from: string | null
  readonly to: string
}

const noted = ({ table, name = table, id = "id", state }: Watched, before: string) =>
  `insert into test_changes (place, id, before, after) values ('${name}', new.${id}, ${before}, ${state("new")})`

const sqliteTriggers = (watched: Watched): string => {
  const { table, name = table, state } = watched
  return `
    create trigger test_insert_${name} after insert on ${table} begin ${noted(watched, "null")}; end;
    create trigger test_update_${name} after update on ${table} when (${state("old")}) is not (${state("new")})
      begin ${noted(watched, state("old"))}; end;`
}

const postgresTriggers = (watched: Watched): string => {
  const { table, name = table, state } = watched
  return `
    create function test_note_${name}() returns trigger language plpgsql as $$
    begin
      if tg_op = 'INSERT' then ${noted(watched, "null")};
      elsif (${state("old")}) is distinct from (${state("new")}) then ${noted(watched, state("old"))};
      end if;
      return null;
    end $$;
    create trigger test_note_${name} after insert or update on ${table} for each row execute function test_note_${name}();`
}

const orNull = (value: unknown): string | null => (value === null ? null : String(value))

/** Begins to note. `all` tells what was noted, per row in the order in which it happened. */
export const recordChanges = async (db: Db, ...watched: readonly Watched[]) => {
  const number = db.dialect === "sqlite" ? "integer primary key" : "bigserial primary key"
  const triggers = db.dialect === "sqlite" ? sqliteTriggers : postgresTriggers
  await db.changeSchema(async (connection) => {
    await connection.run(`create table test_changes (seq ${number}, place text, id text, before text, after text)`)
    for (const each of watched) await connection.run(triggers(each))
  })
  let forgotten = 0
  const rows = () =>
    db.changeSchema((connection) => connection.all(`select * from test_changes where seq > ${forgotten} order by seq`))
  return {
    async all(): Promise<Change[]> {
      return (await rows()).map(({ place, id, before, after }) => ({
        table: String(place),
        id: String(id),
        from: orNull(before),
        to: String(after),
      }))
    },
    /** Leaves out what was noted until now. */
    async forget(): Promise<void> {
      forgotten = Math.max(forgotten, ...(await rows()).map(({ seq }) => Number(seq)))
    },
  }
}

export type RecordedChanges = Awaited<ReturnType<typeof recordChanges>>

/** A change as an audit event tells of it. */
export interface ToldChange {
  readonly id: string
  readonly from: string
  readonly to: string
}

const inWords = ({ from, to }: { from: string | null; to: string }) => `${from} -> ${to}`

const byId = <R extends { readonly id: string }>(rows: readonly R[]): Map<string, R[]> => {
  const found = new Map<string, R[]>()
  for (const row of rows) found.set(row.id, [...(found.get(row.id) ?? []), row])
  return found
}

/** Changes that the table of moves does not have. */
export const illegalChanges = (
  changes: readonly Change[],
  canMove: (from: never, to: never) => boolean,
): readonly string[] =>
  changes.flatMap((change) =>
    change.from === null || canMove(change.from as never, change.to as never)
      ? []
      : [`${change.table} ${change.id} went ${inWords(change)}`],
  )

/** Rows whose changes are not, one by one and in order, those that the audit trail tells of. */
export const untoldChanges = (changes: readonly Change[], told: readonly ToldChange[]): readonly string[] => {
  const [happened, written] = [byId(changes.filter(({ from }) => from !== null)), byId(told)]
  return [...new Set([...happened.keys(), ...written.keys()])].flatMap((id) => {
    const [was, says] = [happened, written].map((rows) => (rows.get(id) ?? []).map(inWords).join(", "))
    return was === says ? [] : [`${id} changed [${was}], the audit trail says [${says}]`]
  })
}
