/**
 * What lists, statistics and creating cost in a database of full size: the application as the server wires it, asked through
 * `app.request` (everything but sockets and TLS), one request at a time. The processor time of this process beside the time on the
 * clock tells, on a busy machine, what would be left on an idle one; of PostgreSQL it is the client's share only.
 *
 *   bun scripts/bench/lists.bench.ts --folder /tmp/big [--dialect sqlite] [--scale 1] [--only certificates]
 */
import "reflect-metadata"
import { cpus, loadavg } from "node:os"
import { parseArgs } from "node:util"
import { systemClock } from "../../src/clock"
import { readConfig } from "../../src/config"
import { openDatabase } from "../../src/db/open"
import { openSealer } from "../../src/secrets/sealing"
import { encodeCursor } from "../../src/server/paging"
import { wire } from "../../src/wiring"
import { openDataset } from "./dataset"

const { values } = parseArgs({
  options: {
    folder: { type: "string" },
    dialect: { type: "string" },
    scale: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "60" },
  },
})
const { folder, only } = values
if (folder === undefined) {
  console.error("usage: bun scripts/bench/lists.bench.ts --folder FOLDER [--dialect sqlite|postgres] [--scale 1]")
  process.exit(2)
}
const rounds = Number(values.rounds)
const passphrase = "a passphrase for benchmarks that nobody else uses"
const adminKey = "bench-key-0123456789abcdef0123456789abcdef"
const day = 86_400_000
const id = (prefix: string, number: number) => `${prefix}${String(number).padStart(22, "0")}`
const at = (percentile: number, sorted: readonly number[]) => sorted[Math.floor((sorted.length - 1) * percentile)] ?? 0
const ms = (value: number) => value.toFixed(1).padStart(9)

const run = async (dialect: "sqlite" | "postgres"): Promise<void> => {
  const dataset = await openDataset(dialect, folder, Number(values.scale))
  const config = readConfig({
    CERTCTL_DATA_DIR: dataset.dataDir,
    CERTCTL_DATABASE_URL: dataset.url,
    CERTCTL_CONFIG_ENCRYPTION_KEY: passphrase,
    CERTCTL_API_KEYS_NAMED: `bench:${adminKey}:admin`,
    CERTCTL_RATE_LIMIT_ENABLED: "false",
    CERTCTL_SERVER_TLS: "off",
  })
  const db = await openDatabase({ url: dataset.url, dataDir: dataset.dataDir, maxConnections: 25 })
  const sealer = await openSealer({ passphrase })
  const { app, close, drain } = wire({ config, db, sealer, clock: systemClock, serverId: "bench", caFingerprint: "" })
  const call = async (path: string, init: RequestInit = {}) => {
    const headers = { authorization: `Bearer ${adminKey}`, "content-type": "application/json" }
    const answer = await app.request(`http://localhost/api/v1${path}`, { ...init, headers })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
    return text
  }
  const n = (await import("drizzle-orm")).count
  const [certificates] = await db.read.select({ n: n() }).from(db.t.certificates)
  // Others were created by former runs.
  const size = Math.min(certificates?.n ?? 0, Math.round(1_000_000 * Number(values.scale)))

  console.log(
    `\n${dialect}, ${size} certificates, ms:      p50       p99   p50 CPU   p99 CPU   load ${loadavg()[0]?.toFixed(1)}`,
  )
  const measure = async (name: string, path: () => string, times = rounds): Promise<void> => {
    if (!name.includes(only)) return
    const took: number[] = []
    const worked: number[] = []
    for (let round = 0; round < times + 3; round++) {
      const began = performance.now()
      const cpu = process.cpuUsage()
      await call(path())
      const { user, system } = process.cpuUsage(cpu)
      // The first ones prepare statements.
      if (round < 3) continue
      took.push(performance.now() - began)
      worked.push((user + system) / 1000)
    }
    for (const list of [took, worked]) list.sort((a, b) => a - b)
    const columns = [at(0.5, took), at(0.99, took), at(0.5, worked), at(0.99, worked)]
    console.log(`${name.padEnd(46)}${columns.map(ms).join(" ")}`)
  }
  const any = (limit: number) => Math.floor(Math.random() * limit)
  const anywhere = (span: number, prefix: string) =>
    encodeCursor({ createdAt: new Date(Date.now() - Math.random() * span), id: id(prefix, any(size)) })
  const cursor =
    (filter = "") =>
    () =>
      `/certificates?page_size=50&cursor=${anywhere(3 * 365 * day, "mc-")}${filter}`
  const time = (days: number) => new Date(Date.now() + days * day).toISOString()

  await measure("certificates, cursor anywhere", cursor(), rounds * 3)
  await measure("certificates, cursor, 500 rows", () => cursor()().replace("=50", "=500"))
  const certificateFilters: Readonly<Record<string, () => string>> = {
    "status=Active": () => "&status=Active",
    "status=Failed": () => "&status=Failed",
    "environment=test": () => "&environment=test",
    owner: () => `&owner_id=${id("o-", 1 + any(500))}`,
    team: () => `&team_id=${id("t-", 1 + any(50))}`,
    issuer: () => `&issuer_id=${id("iss-", 1 + any(12))}`,
    profile: () => `&profile_id=${id("prof-", 1 + any(10))}`,
    agent: () => `&agent_id=${id("agent-", 1 + any(5000))}`,
    "status + environment": () => "&status=Expiring&environment=staging",
    "status + owner": () => `&status=Active&owner_id=${id("o-", 1 + any(500))}`,
    "status=Failed + team": () => `&status=Failed&team_id=${id("t-", 1 + any(50))}`,
    "issuer + profile + environment": () => `&issuer_id=${id("iss-", 5)}&profile_id=${id("prof-", 3)}&environment=test`,
    "expires within 30 days": () => `&expires_before=${time(30)}&expires_after=${time(0)}`,
    "expires before + status": () => `&expires_before=${time(90)}&status=Active`,
    "created after": () => `&created_after=${time(-100)}`,
    "updated after": () => `&updated_after=${time(-10)}`,
    "expires before + team": () => `&expires_before=${time(90)}&team_id=${id("t-", 1 + any(50))}`,
    "expires before + issuer": () => `&expires_before=${time(90)}&issuer_id=${id("iss-", 1)}`,
    "expired long ago": () => `&expires_before=${time(-3000)}`,
    "expires this hour": () => `&expires_after=${time(5)}&expires_before=${time(5 + 1 / 24)}`,
  }
  for (const [name, filter] of Object.entries(certificateFilters)) {
    await measure(`certificates, cursor, ${name}`, () => cursor(filter())())
    await measure(`certificates, page 1, ${name}`, () => `/certificates?per_page=50${filter()}`)
  }
  await measure("certificates, page 1", () => "/certificates?per_page=50")
  for (const sort of [
    "notAfter",
    "-notAfter",
    "-createdAt",
    "updatedAt",
    "commonName",
    "-name",
    "status",
    "-environment",
  ]) {
    await measure(`certificates, sort=${sort}`, () => `/certificates?per_page=50&sort=${sort}`)
  }
  await measure("certificates, status, sort=notAfter", () => "/certificates?status=Active&sort=notAfter")
  await measure(
    "certificates, owner, sort=-notAfter",
    () => `/certificates?owner_id=${id("o-", 1 + any(500))}&sort=-notAfter`,
  )
  await measure("certificate", () => `/certificates/${id("mc-", 1 + any(size))}`)
  await measure("certificate, versions", () => `/certificates/${id("mc-", 1 + any(size))}/versions`)
  await measure("certificate, jobs", () => `/jobs?certificate_id=${id("mc-", 1 + any(size))}`)

  const events = 5 * size
  const auditCursor = () =>
    `cursor=${encodeCursor({ createdAt: new Date(Date.now() - Math.random() * 365 * day), id: id("audit-", any(events)) })}&page_size=50`
  await measure("audit, cursor anywhere", () => `/audit?${auditCursor()}`)
  const auditFilters: Readonly<Record<string, () => string>> = {
    none: () => "",
    actor: () => `actor=user${1 + any(50)}`,
    "actor=scheduler": () => "actor=scheduler",
    "actor_type=Agent": () => "actor_type=Agent",
    "action=issuer_updated": () => "action=issuer_updated",
    "resource_type=job": () => "resource_type=job",
    resource: () => `resource_type=certificate&resource_id=${id("mc-", 1 + any(size))}`,
    "from, to": () => `from=${time(-40)}&to=${time(-10.3)}`,
    "action, from": () => `action=certificate_renewed&from=${time(-40)}`,
    "actor, from": () => `actor=user${1 + any(50)}&from=${time(-40)}`,
    "actor=scheduler, from": () => `actor=scheduler&from=${time(-200)}`,
  }
  for (const [name, filter] of Object.entries(auditFilters)) {
    await measure(`audit, ${name}`, () => `/audit?${filter()}`)
  }
  for (const filter of [
    "",
    "status=Failed",
    "status=Completed",
    "type=Renewal",
    `agent_id=${id("agent-", 7)}`,
    "status=Pending&type=Deployment",
  ]) {
    await measure(`jobs, ${filter}`, () => `/jobs?${filter}`)
  }
  for (const filter of ["", "status=dead", "status=sent", "type=RenewalFailure", "channel=Slack"]) {
    await measure(`notifications, ${filter}`, () => `/notifications?${filter}`)
  }
  await measure("violations", () => `/policies/${id("pol-", 1 + any(20))}/violations`)
  await measure("agents", () => "/agents")
  await measure("discovered certificates", () => "/discovered-certificates")
  await measure(
    "discovered certificates, status, agent",
    () => `/discovered-certificates?status=Unmanaged&agent_id=${id("agent-", 1 + any(5000))}`,
  )
  await measure("discovery scans", () => "/discovery-scans")
  for (const route of [
    "summary",
    "certificates-by-status",
    "expiration-timeline?days=365",
    "job-trends?days=90",
    "issuance-rate?days=365",
  ]) {
    await measure(`stats/${route}`, () => `/stats/${route}`)
  }
  await measure("metrics/prometheus", () => "/metrics/prometheus")
  await measure("search q=host12345", () => "/certificates?q=host12345", 5)

  if ("creates, waits".includes(only)) {
    await creates(call)
    await waits(call, time)
  }
  drain()
  await close(2000)
  await db.close()
  await dataset.stop()
}

type Call = (path: string, init?: RequestInit) => Promise<string>

const newCertificate = (name: string) => ({
  name,
  common_name: `${name}.example.com`,
  sans: [`${name}.example.com`],
  environment: "production",
  owner_id: id("o-", 1 + Math.floor(Math.random() * 500)),
  team_id: id("t-", 1),
  issuer_id: id("iss-", 1),
  renewal_policy_id: id("rp-", 1),
  certificate_profile_id: id("prof-", 1),
})

/** As many as 64 callers get through, each answer after its fsync. */
const creates = async (call: Call): Promise<void> => {
  const began = performance.now()
  const base = `bench-${Date.now()}`
  let made = 0
  const until = began + 5000
  await Promise.all(
    Array.from({ length: 64 }, async (_, caller) => {
      for (let i = 0; performance.now() < until; i++, made++) {
        await call("/certificates", { method: "POST", body: JSON.stringify(newCertificate(`${base}-${caller}-${i}`)) })
      }
    }),
  )
  console.log(
    `certificates created, 64 callers, durable: ${Math.round(made / ((performance.now() - began) / 1000))} per second`,
  )
}

/** How long a small request takes while others read a lot. */
const waits = async (call: Call, time: (days: number) => string): Promise<void> => {
  const heavy = [
    "/certificates?q=nothing-has-this",
    "/audit?q=nothing-has-this",
    `/certificates?expires_before=${time(200)}&issuer_id=${id("iss-", 1)}`,
    "/stats/summary",
    `/certificates?updated_after=${time(-300)}`,
  ]
  let isOver = false
  const loads = Promise.all(
    heavy.map((path) => call(path).catch((error: unknown) => console.log(String(error).slice(0, 200)))),
  ).then(() => {
    isOver = true
  })
  const took: number[] = []
  while (!isOver) {
    const began = performance.now()
    await call(`/certificates/${id("mc-", 1 + Math.floor(Math.random() * 1000))}`)
    took.push(performance.now() - began)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await loads
  took.sort((a, b) => a - b)
  console.log(
    `a small request beside heavy reads: p50 ${ms(at(0.5, took))}, worst ${ms(at(1, took))} ms, of ${took.length}`,
  )
}

console.log(
  `bun scripts/bench/lists.bench.ts   (${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}, Bun ${Bun.version})`,
)
const { dialect } = values
for (const one of ["sqlite", "postgres"] as const) if (dialect === undefined || dialect === one) await run(one)
process.exit(0)
