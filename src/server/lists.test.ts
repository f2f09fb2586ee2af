import { expect, test } from "bun:test"
import { tmpdir } from "node:os"
import { isDeepStrictEqual } from "node:util"
import * as v from "valibot"
import { systemClock } from "../clock"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { openSealer } from "../secrets/sealing"
import { bearer, tester } from "../testing/assembled-app"
import { insertParents, insertReferred, insertRow, type ListCase, lists, needleOf } from "../testing/lists"
import { onEachDialect } from "../testing/on-each-dialect"
import { wire } from "../wiring"
import { operationsOf } from "./openapi"

const operationPath = ({ path }: ListCase) => `/api/v1${path.replace(/\/(mc|pr|agent)-a\//, "/{id}/")}`

/** The whole API on a database with the rows that others refer to, for an administrator. */
const openApi = async (db: Db) => {
  await db.transaction((tx) => insertParents(tx, db.t))
  const config = readConfig({ CERTCTL_DATA_DIR: tmpdir(), CERTCTL_RATE_LIMIT_ENABLED: "false" })
  const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
  const { app, access } = wire({ config, db, sealer, clock: systemClock, serverId: "srv-test", caFingerprint: "" })
  const { key } = await access.keys.create({ name: "lister", role: "admin" }, tester)
  const operations = operationsOf(app).filter(({ method }) => method === "GET")

  return {
    operations,
    async read(list: ListCase, query: Record<string, string>) {
      const path = `/api/v1${list.path}?${new URLSearchParams(query)}`
      const answer = await app.request(path, { headers: bearer(key) })
      expect(answer.status).toBe(200)
      const body: { data: { id: string }[]; total: number; next_cursor?: string; page_size?: number } =
        await answer.json()
      const returns = operations.find((operation) => operation.path === operationPath(list))?.returns
      if (returns === undefined) throw new Error(`${path} is not declared`)
      expect(isDeepStrictEqual(v.parse(returns, body), body)).toBe(true)
      return { ...body, ids: body.data.map(({ id }) => id) }
    },
  }
}

type Api = Awaited<ReturnType<typeof openApi>>
type Read = Awaited<ReturnType<Api["read"]>>

const day = (n: number) => new Date(Date.UTC(2031, 0, n))

/** With a certificate of its own, where a list has one row per certificate. */
const insert = (db: Db, list: ListCase, id: string, at: Date, more: Record<string, unknown> = {}): Promise<void> =>
  db.transaction(async (tx) => {
    const row = { id, [list.time]: at, ...list.row(id, at), ...more }
    if (row.certificateId === id) {
      const certificates = lists.find(({ path }) => path === "/certificates")
      await insertRow(tx, db.t, "certificates", { id, ...certificates?.row(id, at) })
    }
    await insertRow(tx, db.t, list.table, row)
  })

/** The texts of `q` as each list documents them. */
const documentedFields = ({ operations }: Api) =>
  operations.flatMap(({ path, inputs }): [string, string[]][] => {
    const schema = inputs.find(({ target }) => target === "query")?.schema
    const entries = schema === undefined ? {} : ((Reflect.get(schema, "entries") ?? {}) as Record<string, unknown>)
    const words = /"description":"Text in ([^;]*); case does not matter"/.exec(JSON.stringify(entries.q ?? {}))?.[1]
    return words === undefined ? [] : [[path, words.split(", ").filter((field) => !field.includes(" "))]]
  })

type Check = (db: Db, list: ListCase, read: Api["read"]) => Promise<void>

/** By cursor, newest first, while rows are added. */
const visitsEachRowOnce: Check = async (db, list, read) => {
  const only = { q: "row-" }
  const moments = [1, 2, 3, 3, 3, 4, 5]
  for (const [n, moment] of moments.entries()) await insert(db, list, `row-${n}`, day(moment))
  const visited: string[] = []
  let cursor: string | undefined
  for (let round = 0; round < 4; round++) {
    const page: Read = await read(list, { ...only, page_size: "2", ...(cursor === undefined ? {} : { cursor }) })
    expect(page.page_size).toBe(2)
    expect(page.total).toBe(moments.length + round)
    visited.push(...page.ids)
    cursor = page.next_cursor
    await insert(db, list, `row-new-${round}`, day(10 + round))
  }
  expect(visited).toEqual(["row-6", "row-5", "row-4", "row-3", "row-2", "row-1", "row-0"])
  expect(cursor).toBeUndefined()
  // A token that nobody gave out counts as none: the first page.
  const first = await read(list, { ...only, page_size: "2", cursor: "bm90IG91cnM" })
  expect(first.ids).toEqual(["row-new-3", "row-new-2"])
  expect((await read(list, { ...only, page_size: "0", per_page: "3" })).page_size).toBe(3)
  expect((await read(list, { ...only, page: "2", per_page: "4" })).ids).toHaveLength(4)
}

/** Ignoring case; what LIKE takes for wildcards are ordinary characters. */
const findsByEachField: Check = async (db, list, read) => {
  const fields = Object.entries(list.searched).map(([field, where]) => {
    const [column, text] = typeof where === "string" ? [where, needleOf(field)] : where
    return { field, column, text, id: column === "id" ? text : `found-by-${field}` }
  })
  for (const { column, text, id } of fields) {
    await db.transaction((tx) => insertReferred(tx, db.t, column, text))
    await insert(db, list, id, day(2), { [column]: list.holding?.[column]?.(text) ?? text })
  }
  for (const { text, id } of fields) {
    for (const q of [text, text.toLowerCase(), ` ${text.toUpperCase()} `, text.slice(2, -1)]) {
      expect([q, (await read(list, { q })).ids]).toEqual([q, [id]])
    }
    const { ids, total, next_cursor } = await read(list, { q: text, page_size: "1" })
    expect([ids, total, next_cursor]).toEqual([[id], 1, undefined])
  }
  for (const q of [needleOf("id").replace("%", "_"), needleOf("id").replace("%_", "%"), "no such text"]) {
    expect(await read(list, { q })).toMatchObject({ data: [], total: 0 })
  }
}

/** By number and by cursor. */
const filtersBy = async (parameter: string, db: Db, list: ListCase, read: Api["read"]): Promise<void> => {
  const [column, value, otherValue] = list.filters?.[parameter] ?? []
  const prefix = `by-${parameter}-`
  for (let n = 0; n < 6; n++) {
    await insert(db, list, `${prefix}${n}`, day(n + 1), { [column ?? ""]: n % 2 === 0 ? value : otherValue })
  }
  const filter = { [parameter]: String(value), q: prefix }
  const first = await read(list, { ...filter, page_size: "2" })
  const rest = await read(list, { ...filter, page_size: "2", cursor: first.next_cursor ?? "" })
  expect([...first.ids, ...rest.ids]).toEqual([4, 2, 0].map((n) => `${prefix}${n}`))
  expect([first.total, rest.total, rest.next_cursor]).toEqual([3, 3, undefined])
  expect((await read(list, filter)).total).toBe(3)
  if (typeof value === "string") {
    expect(await read(list, { [parameter]: "nothing has this" })).toMatchObject({ data: [], total: 0 })
  }
}

onEachDialect("every list", (openDb) => {
  test("is in the table of lists with the fields that it documents", async () => {
    const documented = documentedFields(await openApi(await openDb()))
    const known = lists.map((list) => [operationPath(list), Object.keys(list.searched).sort()])
    expect(documented.map(([path, fields]) => [path, fields.sort()]).sort()).toEqual(known.sort())
  })

  for (const list of lists) {
    test(`${list.path}: cursors, search and filters`, async () => {
      const db = await openDb()
      const { read } = await openApi(db)
      await visitsEachRowOnce(db, list, read)
      await findsByEachField(db, list, read)
      for (const parameter of Object.keys(list.filters ?? {})) await filtersBy(parameter, db, list, read)
    }, 120_000)
  }
})
