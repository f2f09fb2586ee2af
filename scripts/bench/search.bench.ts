/**
 * Searches over a large inventory: how long indexing, creating and finding take.
 *
 *   bun scripts/bench/search.bench.ts --dialect sqlite --folder /tmp/search-bench [--certificates 1000000]
 *
 * The folder keeps the inventory for other runs. Each certificate has three versions.
 */
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import Database from "better-sqlite3"
import postgres from "postgres"
import { readConfig } from "../../src/config"
import type { Db } from "../../src/db/db"
import { migrate } from "../../src/db/migrate"
import { openDatabase } from "../../src/db/open"
import { searchKinds } from "../../src/search/search-kinds"
import { openSealer } from "../../src/secrets/sealing"
import { wire } from "../../src/wiring"
import { machineLine } from "./fleet"
import { startKeptPostgres } from "./kept-postgres"

const { values } = parseArgs({
  options: {
    dialect: { type: "string", default: "sqlite" },
    folder: { type: "string", default: "/tmp/search-bench" },
    certificates: { type: "string", default: "1000000" },
  },
})
const dialect = values.dialect === "postgres" ? "postgres" : "sqlite"
const certificates = Number(values.certificates)
const home = join(values.folder, `${dialect}-${certificates}`)
const migrations = join(import.meta.dir, "../../drizzle")
mkdirSync(home, { recursive: true })

const words = [
  "payments",
  "shop",
  "auth",
  "gateway",
  "billing",
  "search",
  "edge",
  "cache",
  "mail",
  "ldap",
  "orders",
  "stock",
]
const list = words.map((word) => `'${word}'`).join(", ")

/** Hosts of some teams in fifty domains: `payments-3f2a.shop.example7.com`. */
const fill = {
  sqlite: {
    word: (n: string) =>
      `(select value from json_each('[${words.map((word) => `"${word}"`).join(",")}]') where key = (${n}) % ${words.length})`,
    hex: (n: string) => `printf('%x', ${n})`,
    wide: (n: string) => `printf('%064x', ${n})`,
    time: (n: string) => `(${n})`,
    yes: "1",
    series: `(with recursive s(i) as (select 0 union all select i + 1 from s where i < ${certificates - 1}) select i from s)`,
  },
  postgres: {
    word: (n: string) => `(array[${list}])[1 + (${n}) % ${words.length}]`,
    hex: (n: string) => `to_hex(${n})`,
    wide: (n: string) => `lpad(to_hex(${n}), 64, '0')`,
    time: (n: string) => `to_timestamp((${n}) / 1000.0)`,
    yes: "true",
    series: `(select i::bigint from generate_series(0, ${certificates - 1}) as s(i))`,
  },
}[dialect]

const began = Date.UTC(2025, 0, 1)
const host = `(${fill.word("i")} || '-' || ${fill.hex("i")} || '.' || ${fill.word("i * 7 + 3")} || '.example' || (i % 50) || '.com')`
const statements = [
  `insert into teams (id, name, description, created_at, updated_at) values ('t-1', 'team', '', ${fill.time("0")}, ${fill.time("0")})`,
  `insert into owners (id, name, email, created_at, updated_at) values ('o-1', 'owner', '', ${fill.time("0")}, ${fill.time("0")})`,
  `insert into issuers (id, name, type, config, created_at, updated_at) values ('iss-1', 'issuer', 'GenericCA', '{}', ${fill.time("0")}, ${fill.time("0")})`,
  `insert into renewal_policies (id, name, renewal_window_days, auto_renew, alert_thresholds_days, alert_channels, alert_severity_map, created_at, updated_at)
    values ('rp-1', 'policy', 30, ${fill.yes}, '[]', '{}', '{}', ${fill.time("0")}, ${fill.time("0")})`,
  `insert into managed_certificates (id, name, common_name, sans, owner_id, team_id, issuer_id, renewal_policy_id, status, tags, created_at, updated_at)
    select 'mc-' || ${fill.wide("i * 2654435761")}, ${host} || ' certificate', ${host}, '["' || ${host} || '","www.' || ${host} || '","api.' || ${host} || '"]',
    'o-1', 't-1', 'iss-1', 'rp-1', 'Active', '{}', ${fill.time(`${began} + i * 1000`)}, ${fill.time(`${began} + i * 1000`)} from ${fill.series} n`,
  ...[0, 1, 2].map(
    (
      n,
    ) => `insert into certificate_versions (id, certificate_id, serial_number, fingerprint_sha256, pem_chain, not_before, not_after, created_at)
    select 'cv-${n}-' || i, 'mc-' || ${fill.wide("i * 2654435761")}, '4${n}' || substr(${fill.wide("i * 48271 + 11")}, 33), '${n}' || substr(${fill.wide("i * 69621 + 7")}, 2), '',
    ${fill.time(`${began} + i * 1000`)}, ${fill.time(`${began} + i * 1000`)}, ${fill.time(`${began} + i * 1000 + ${n}`)} from ${fill.series} n`,
  ),
]

const step = async <R>(name: string, work: () => Promise<R> | R): Promise<R> => {
  const start = performance.now()
  const result = await work()
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(8)} s  ${name}`)
  return result
}

const server = dialect === "postgres" ? await startKeptPostgres(home) : null
const url = server?.url ?? `sqlite:${join(home, "certctl.db")}`
const open = (): Promise<Db> => openDatabase({ url, dataDir: home, maxConnections: 8 })
const migrated = async (): Promise<Db> => {
  const db = await open()
  await migrate(db, { folder: migrations })
  return db
}

const load = async (): Promise<void> => {
  await (await migrated()).close()
  const forget = "delete from settings where name like 'row_counts:%' or name like 'search:%'"
  if (server === null) {
    const db = new Database(join(home, "certctl.db"))
    for (const pragma of ["synchronous = off", "foreign_keys = off", "cache_size = -2000000"]) db.pragma(pragma)
    const names = db
      .prepare(
        "select name from sqlite_schema where type = 'trigger' and name not like 'audit%' and name not like 'search_docs_fts%'",
      )
      .pluck()
      .all()
    for (const name of names) db.exec(`drop trigger ${name}`)
    for (const text of statements) await step(text.slice(0, 40).replace(/\s+/g, " "), () => db.exec(text))
    db.exec(forget)
    db.pragma("wal_checkpoint(truncate)")
    db.close()
  } else {
    const sql = postgres(url, { max: 1, onnotice: () => undefined })
    await sql.unsafe("set session_replication_role = replica")
    for (const text of statements) await step(text.slice(0, 40).replace(/\s+/g, " "), () => sql.unsafe(text))
    await sql.unsafe(`${forget}; drop index if exists idx_search_docs_text`)
    await sql.unsafe("vacuum analyze")
    await sql.end()
  }
  await step("counting and indexing what is there", async () => (await migrated()).close())
  writeFileSync(join(home, "complete"), "")
}

const percentiles = (times: readonly number[]): string => {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`
}

console.log(machineLine())
if (!existsSync(join(home, "complete"))) await load()
if (server === null) console.log(`${Math.round(statSync(join(home, "certctl.db")).size / 1e6)} MB`)
const db = await migrated()
const sealer = await openSealer({ passphrase: "a passphrase for benchmarks that nobody else uses" })
const config = readConfig({ CERTCTL_DATA_DIR: home, CERTCTL_RATE_LIMIT_ENABLED: "false" })
const clock = { now: () => new Date() }
const { services } = wire({ config, db, sealer, clock, serverId: "srv-bench", caFingerprint: "" })
const actor = { name: "bench", type: "User", role: "admin" } as const

/** How late a timer that should fire every five milliseconds is at worst: what a request beside the searches waits. */
const worstGap = () => {
  let last = performance.now()
  let worst = 0
  const timer = setInterval(() => {
    const now = performance.now()
    worst = Math.max(worst, now - last - 5)
    last = now
  }, 5)
  return () => {
    clearInterval(timer)
    return worst
  }
}

const texts = [
  "com",
  "example",
  "example7.com",
  "www.shop-",
  "payments-3",
  "billing-ff9",
  "stock-aa.pay",
  "com.exa",
  "nothing has this",
  "41:00:00:00:00:00:00",
  "ab",
]
const rounds = 20
for (const text of texts) {
  const timed = async (run: () => Promise<string>): Promise<string> => {
    const times: number[] = []
    const gap = worstGap()
    let found = ""
    for (let n = 0; n < rounds; n++) {
      const start = performance.now()
      found = await run()
      times.push(performance.now() - start)
    }
    return `${percentiles(times)}, loop gap ${gap().toFixed(1)} ms, ${found}`
  }
  console.log(
    `search  ${text.padEnd(22)} ${await timed(async () => `${(await services.search.find(text, searchKinds, 5)).hits.length} hits`)}`,
  )
  console.log(
    `list    ${text.padEnd(22)} ${await timed(async () => {
      const { rows, total } = await services.certificates.list({ search: text }, null, { limit: 50, offset: 0 })
      return `${rows.length} of ${total}`
    })}`,
  )
}

const create = async (n: number): Promise<void> => {
  const name = `new-${Date.now().toString(36)}-${n}.payments.example7.com`
  const certificate = {
    name,
    commonName: name,
    sans: [name, `www.${name}`],
    environment: "",
    ownerId: "o-1",
    teamId: "t-1",
  }
  const rest = { issuerId: "iss-1", renewalPolicyId: "rp-1", certificateProfileId: null, targetIds: [], tags: {} }
  await services.certificates.create({ ...certificate, ...rest }, actor)
}
const wanted = 4000
const start = performance.now()
for (let n = 0; n < wanted; n += 64) {
  await Promise.all(Array.from({ length: Math.min(64, wanted - n) }, (_, i) => create(n + i)))
}
console.log(`create  ${Math.round(wanted / ((performance.now() - start) / 1000))} certificates/s, 64 at a time`)
await db.close()
await server?.stop()
process.exit(0)
