/**
 * A large inventory for benchmarks: 47-day certificates issued evenly over time, each with its version, one target and one agent,
 * written by the database itself. A part of them is due; half of the rest is near enough to its expiry that the renewal check looks
 * at it.
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync } from "node:fs"
import { cpus, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import postgres from "postgres"
import { readConfig } from "../../src/config"
import type { Db } from "../../src/db/db"
import { migrate } from "../../src/db/migrate"
import { openDatabase } from "../../src/db/open"
import { openSealer } from "../../src/secrets/sealing"
import { createTestDatabase, migrationsFolder, startTestPostgres, type TestPostgres } from "../../src/testing/postgres"
import { wire } from "../../src/wiring"
import type { WiringOptions } from "../../src/wiring/options"

export type Dialect = Db["dialect"]

export interface FleetSize {
  readonly certificates: number
  readonly due: number
  readonly agents: number
  /** Jobs that are over, spread evenly over the certificates. */
  readonly pastJobs?: number
}

const dayMs = 86_400_000
const passphrase = "a passphrase for benchmarks that nobody else uses"

/** The two dialects' words for the same few things. */
const words = {
  sqlite: {
    number: (i: string) => `printf('%08d', ${i})`,
    time: (ms: string) => `(${ms})`,
    yes: "1",
    series: (n: number) =>
      `(with recursive s(i) as (select 0 union all select i + 1 from s where i < ${n - 1}) select i from s)`,
    hex: (i: string) => `printf('%064x', ${i})`,
  },
  postgres: {
    number: (i: string) => `lpad((${i})::text, 8, '0')`,
    time: (ms: string) => `to_timestamp((${ms}) / 1000.0)`,
    yes: "true",
    series: (n: number) => `(select i::bigint from generate_series(0, ${n - 1}) as s(i))`,
    hex: (i: string) => `lpad(to_hex(${i}), 64, '0')`,
  },
} as const

/** Statements that fill an empty, migrated database. */
const fleetSql = (dialect: Dialect, { certificates, due, agents, pastJobs = 0 }: FleetSize, now: number): string[] => {
  const { number, time, yes, series, hex } = words[dialect]
  const long = "0"
  const targets = agents * 5
  // A stride that shares no factor with the count: neighbours by id are not neighbours by date.
  const place = `((i * 7919) % ${certificates})`
  // Those in place 0 … due-1 are due, the longest due first; the others become due over the next 31 days.
  const renewAt = `(case when ${place} < ${due} then ${now} - (${due} - ${place}) * 100
    else ${now} + 60000 + (${place} - ${due}) * ${Math.floor((31 * dayMs) / certificates)} end)`
  const expiresAt = `(${renewAt} + ${15 * dayMs})`
  const issuedAt = `(${expiresAt} - ${47 * dayMs})`
  const agent = (targetNumber: string) => `'agent-' || ${number(`(${targetNumber}) % ${agents}`)}`
  const pem = `-----BEGIN CERTIFICATE-----\n${"MIIB".repeat(280)}\n-----END CERTIFICATE-----\n`
  const stamps = `${time(long)}, ${time(long)}`
  const policy = (id: string, auto: string) => `insert into renewal_policies (id, name, renewal_window_days, auto_renew,
    max_retries, retry_interval_seconds, alert_thresholds_days, alert_channels, alert_severity_map, created_at, updated_at)
    values ('${id}', '${id}', 30, ${auto}, 3, 60, '[30,14,7,0]', '{}', '{}', ${stamps})`
  return [
    `insert into teams (id, name, description, created_at, updated_at) values ('t-1', 'team', '', ${stamps})`,
    `insert into owners (id, name, email, created_at, updated_at) values ('o-1', 'owner', 'owner@example.com', ${stamps})`,
    `insert into issuers (id, name, type, config, created_at, updated_at) values ('iss-1', 'issuer', 'GenericCA', '{}', ${stamps})`,
    policy("rp-1", yes),
    `insert into agents (id, name, hostname, status, registered_at, last_heartbeat_at, api_key_hash)
     select 'agent-' || ${number("i")}, 'agent-' || ${number("i")}, 'host', 'Online', ${time(long)}, ${time(String(now))}, ''
     from ${series(agents)} n`,
    `insert into deployment_targets (id, name, type, agent_id, config, created_at, updated_at)
     select 'tgt-' || ${number("i")}, 'tgt-' || ${number("i")}, 'NGINX', ${agent("i")}, '{}', ${stamps} from ${series(targets)} n`,
    `insert into managed_certificates (id, name, common_name, sans, owner_id, team_id, issuer_id, renewal_policy_id, status,
       expires_at, renew_at, tags, last_renewal_at, created_at, updated_at)
     select 'mc-' || ${number("i")}, 'host-' || ${number("i")}, 'host-' || ${number("i")} || '.example.com',
       '["host-' || ${number("i")} || '.example.com"]', 'o-1', 't-1', 'iss-1', 'rp-1', 'Active',
       ${time(expiresAt)}, ${time(renewAt)}, '{}', ${time(issuedAt)}, ${time(issuedAt)}, ${time(issuedAt)}
     from ${series(certificates)} n`,
    `insert into certificate_versions (id, certificate_id, serial_number, not_before, not_after, fingerprint_sha256, pem_chain,
       csr_pem, key_algorithm, key_size, issuer_id, agent_id, renew_at, created_at)
     select 'cv-' || ${number("i")}, 'mc-' || ${number("i")}, substr(${hex("i")}, 25), ${time(issuedAt)}, ${time(expiresAt)}, ${hex("i")},
       '${pem}', '', 'ECDSA', 256, 'iss-1', ${agent(`i % ${targets}`)}, ${time(renewAt)}, ${time(issuedAt)}
     from ${series(certificates)} n`,
    `insert into certificate_target_mappings (certificate_id, target_id)
     select 'mc-' || ${number("i")}, 'tgt-' || ${number(`i % ${targets}`)} from ${series(certificates)} n`,
    ...(pastJobs === 0
      ? []
      : [
          `insert into jobs (id, type, certificate_id, agent_id, status, attempts, max_attempts, requested_by, status_since,
             scheduled_at, started_at, completed_at, created_at)
           select 'job-0' || ${number("i")}, case when i % 2 = 0 then 'Renewal' else 'Deployment' end,
             'mc-' || ${number(`(i * 7919) % ${certificates}`)}, ${agent(`i % ${targets}`)},
             case when i % 50 = 0 then 'Failed' else 'Completed' end, 3, 3, 'system', ${time(`${now - 90 * dayMs} + i`)},
             ${time(`${now - 90 * dayMs} + i`)}, ${time(`${now - 90 * dayMs} + i`)}, ${time(`${now - 90 * dayMs} + i`)},
             ${time(`${now - 90 * dayMs} + i`)}
           from ${series(pastJobs)} n`,
        ]),
  ]
}

const fillSqlite = (file: string, statements: readonly string[]): void => {
  const connection = new Database(file)
  connection.pragma("journal_mode = wal")
  connection.pragma("synchronous = off")
  connection.pragma("cache_size = -1000000")
  // Indexes are sorted once instead of kept sorted, and nothing measured here reads the numbers that the triggers keep.
  const kept = connection
    .prepare<[], { type: string; name: string; sql: string }>(
      "select type, name, sql from sqlite_schema where type in ('index', 'trigger') and sql is not null",
    )
    .all()
  connection.pragma("foreign_keys = off")
  connection.pragma("temp_store = memory")
  connection.exec("begin")
  for (const { type, name } of kept) connection.exec(`drop ${type} "${name}"`)
  for (const statement of statements) connection.exec(statement)
  for (const { sql } of kept) connection.exec(sql)
  connection.exec("commit")
  connection.pragma("wal_checkpoint(truncate)")
  connection.close()
  // Or the first commit that is measured waits for all of it.
  const written = openSync(file, "r+")
  fsyncSync(written)
  closeSync(written)
}

const fillPostgres = async (url: string, statements: readonly string[]): Promise<void> => {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    await sql.unsafe("set session_replication_role = replica")
    await sql.unsafe("set maintenance_work_mem = '512MB'")
    const indexes = await sql<{ name: string; definition: string }[]>`
      select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition from pg_index
      where indrelid::regclass::text in ('managed_certificates', 'certificate_versions', 'certificate_target_mappings', 'jobs')
        and not exists (select 1 from pg_constraint where conindid = indexrelid)`
    for (const { name } of indexes) await sql.unsafe(`drop index ${name}`)
    for (const statement of statements) await sql.unsafe(statement)
    for (const { definition } of indexes) await sql.unsafe(definition)
    // Only what was filled. A table of which the statistics say that it is empty is read from end to end, also by the checks of its
    // foreign keys, whose plans a connection keeps; of one without statistics PostgreSQL assumes some pages, as on any new installation.
    const filled = statements.flatMap((statement) => /^insert into (\w+)/.exec(statement)?.[1] ?? [])
    await sql.unsafe(`vacuum analyze ${[...new Set(filled)].join(", ")}`)
    await sql.unsafe("checkpoint")
  } finally {
    await sql.end()
  }
}

/**
 * The database, which notes how long the longest transaction held what it had locked: on PostgreSQL until its COMMIT, on SQLite, where
 * it holds everybody, only what it kept the thread busy.
 */
const watchingTransactions = (db: Db, held: { longestMs: number }): Db => ({
  ...db,
  async transaction(run) {
    let began = 0
    const note = () => (held.longestMs = Math.max(held.longestMs, performance.now() - began))
    const result = await db.transaction(async (tx) => {
      began = performance.now()
      const value = await run(tx)
      if (db.dialect === "sqlite") note()
      return value
    })
    if (db.dialect === "postgres") note()
    return result
  },
})

/** All services over a database of the given size. `env` adds settings, `parts` replaces what they are wired with. */
export const openFleet = async (
  dialect: Dialect,
  size: FleetSize,
  env: Readonly<Record<string, string>> = {},
  parts: Partial<WiringOptions> = {},
) => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-bench-"))
  let keeper: TestPostgres | undefined
  let url = `sqlite:${join(folder, "certctl.db")}`
  if (dialect === "postgres") {
    // Its own server, unless one is named: fsync is off, so writes are as fast as they can be.
    if (process.env.CERTCTL_TEST_POSTGRES_URL === undefined) {
      keeper = await startTestPostgres()
      process.env.CERTCTL_TEST_POSTGRES_URL = keeper.url
    }
    url = (await createTestDatabase({ isEmpty: true })).url
  }
  const now = Date.now()
  const open = () => openDatabase({ url, dataDir: folder, maxConnections: 25 })
  const empty = await open()
  await migrate(empty, { folder: migrationsFolder })
  await empty.close()
  const statements = fleetSql(dialect, size, now)
  if (dialect === "sqlite") fillSqlite(join(folder, "certctl.db"), statements)
  else await fillPostgres(url, statements)
  const db = await open()
  const held = { longestMs: 0 }
  const watched = watchingTransactions(db, held)
  const config = readConfig({
    CERTCTL_DATA_DIR: folder,
    CERTCTL_DATABASE_URL: url,
    CERTCTL_AUTH_TYPE: "none",
    CERTCTL_RATE_LIMIT_ENABLED: "false",
    CERTCTL_SERVER_TLS: "off",
    CERTCTL_CONFIG_ENCRYPTION_KEY: passphrase,
    ...env,
  })
  const sealer = await openSealer({ passphrase })
  const clock = { now: () => new Date() }
  const wired = wire({ config, db: watched, sealer, clock, serverId: "srv-bench", caFingerprint: "", ...parts })
  return {
    db: watched,
    url,
    wired,
    held,
    async close(): Promise<void> {
      await wired.close(1000)
      await db.close()
      if (keeper !== undefined) {
        await keeper.stop()
        delete process.env.CERTCTL_TEST_POSTGRES_URL
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export type Fleet = Awaited<ReturnType<typeof openFleet>>

export const machineLine = (): string =>
  `${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}, Bun ${Bun.version}, load ${loadavg()
    .map((value) => value.toFixed(1))
    .join(" ")}`

export const percentile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN

const jsonType = { "content-type": "application/json" }

const threadMs = (): number => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/**
 * Runs `work` beside a caller that wants one small answer every ten milliseconds, and another that wants to change something as often. A
 * caller's wait counts from the moment at which it wanted to ask, not from the moment at which it could.
 */
export const besideRequests = async <R>(fleet: Pick<Fleet, "wired" | "held">, path: string, work: () => Promise<R>) => {
  const waits: number[] = []
  const writeWaits: number[] = []
  const failures: string[] = []
  let worstGap = 0
  let worstHold = 0
  let isOver = false
  Bun.gc(true)
  const before = process.memoryUsage().rss
  let peak = before
  fleet.held.longestMs = 0
  const ask = async (asked: () => Request, waited: number[]): Promise<void> => {
    let wanted = performance.now()
    while (!isOver) {
      const answer = await fleet.wired.app.fetch(asked(), {})
      await answer.arrayBuffer()
      if (answer.status !== 200) failures.push(String(answer.status))
      waited.push(performance.now() - wanted)
      peak = Math.max(peak, process.memoryUsage.rss())
      wanted = Math.max(wanted + 10, performance.now())
      await Bun.sleep(Math.max(0, wanted - performance.now()))
    }
  }
  const watch = async (): Promise<void> => {
    while (!isOver) {
      const [left, busyBefore] = [performance.now(), threadMs()]
      await new Promise((resolve) => setImmediate(resolve))
      worstGap = Math.max(worstGap, performance.now() - left)
      await Bun.sleep(1)
      worstHold = Math.max(worstHold, threadMs() - busyBefore)
    }
  }
  const read = () => new Request(`http://certctl.example${path}`)
  let changes = 0
  const change = () => {
    changes += 1
    const body = JSON.stringify({ description: `changed ${changes} times` })
    return new Request("http://certctl.example/api/v1/teams/t-1", { method: "PUT", body, headers: jsonType })
  }
  const beside = [ask(read, waits), ask(change, writeWaits), watch()]
  const began = performance.now()
  const cpuBefore = process.cpuUsage()
  try {
    const result = await work()
    const seconds = (performance.now() - began) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    isOver = true
    await Promise.all(beside)
    const sorted = waits.toSorted((a, b) => a - b)
    return {
      result,
      seconds,
      /** Of this process, requests included. A busy machine makes the time longer, not this. */
      cpuSeconds: (user + system) / 1e6,
      extraMiB: (peak - before) / 2 ** 20,
      requests: sorted.length,
      p99: percentile(sorted, 0.99),
      max: sorted.at(-1) ?? 0,
      maxOfChanges: Math.max(0, ...writeWaits),
      worstGap,
      /** The most that the thread worked before it came to others. A busy machine makes the gap longer, not this. */
      worstHold,
      /** The longest that a transaction held what it had locked. */
      longestTransaction: fleet.held.longestMs,
      failures: failures.length,
    }
  } finally {
    isOver = true
  }
}
