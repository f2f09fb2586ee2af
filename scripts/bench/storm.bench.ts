/**
 * A storm of renewals: everything is due at once, the CA fails a third of its calls and never answers some, and hundreds of agents ask
 * for work and post CSRs, while somebody looks at lists and details. The server has a process of its own, and so has the onlooker; the
 * agents and the CA, which stand for other machines, share a third that makes way for the others. The clock runs faster than the
 * machine's, so that retries come.
 *
 *   bun scripts/bench/storm.bench.ts [certificates] [agents] [sqlite|postgres]
 */
import "reflect-metadata"
import { spawn } from "node:child_process"
import { setPriority } from "node:os"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { createInterface } from "node:readline"
import { openedHttpCa, startHttpCa } from "../../src/testing/http-ca.fake"
import { seededRandom } from "../../src/testing/seeded-random"
import { stormAgents } from "../../src/testing/storm-agents"
import { agentKeyOf, giveKeys, jobsUnderWay, movableClock, stormOutcome } from "../../src/testing/storm-world"
import { type Dialect, machineLine, openFleet, percentile } from "./fleet"

const dayMs = 86_400_000
const minuteMs = 60_000
/** The agents' process, which is the CA's too, waits for the processor now and then: what is slow is not to count as hanging. */
const callMs = 5_000
/** Of the machine's. Where it is so fast that an agent does not get through its work in time, the agent counts as silent. */
const clockSpeed = { sqlite: 10, postgres: 3 } as const
const adminKey = "storm-admin-key-0123456789abcdef"
const agentIdOf = (i: number): string => `agent-${String(i).padStart(8, "0")}`
const say = (fact: object): void => void process.stdout.write(`${JSON.stringify(fact)}\n`)

/** Answers one line of JSON to each line of its input. */
const serve = async (dialect: Dialect, certificates: number, agents: number, caUrl: string): Promise<void> => {
  const clock = movableClock()
  const env = {
    CERTCTL_AUTH_TYPE: "api-key",
    CERTCTL_AUTH_SECRET: adminKey,
    CERTCTL_SCHEDULER_RETRY_INTERVAL: "1s",
    CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL: "1s",
  }
  const parts = { clock, openIssuer: openedHttpCa(() => caUrl, callMs) }
  const fleet = await openFleet(dialect, { certificates, due: certificates, agents }, env, parts)
  await giveKeys(
    fleet.db,
    Array.from({ length: agents }, (_, i) => agentIdOf(i)),
  )
  const { wired, db } = fleet
  const listener = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: (request) => wired.app.fetch(request, {}),
  })
  const startedAt = clock.now()
  let mostMiB = 0
  const lag = monitorEventLoopDelay({ resolution: 5 })
  lag.enable()
  setInterval(() => (mostMiB = Math.max(mostMiB, process.memoryUsage.rss() / 2 ** 20)), 200).unref()
  say({ url: listener.url.href, emptyMiB: process.memoryUsage.rss() / 2 ** 20 })
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, amount] = line.split(" ")
    if (order === "start") await wired.scheduler.start()
    else if (order === "advance") clock.advance(Number(amount))
    else if (order === "check") await wired.services.renewals.checkAll(new AbortController().signal)
    else if (order === "stop") break
    // All of them once a minute only: counting takes the database a fifth of a second, which the onlooker would see.
    const underWay = await jobsUnderWay(db, order === "count" ? undefined : 1)
    const outcome = order === "outcome" ? await stormOutcome(db, startedAt) : {}
    const { user, system } = process.cpuUsage()
    const held = { p99: lag.percentile(99) / 1e6, max: lag.max / 1e6 }
    say({ underWay, mostMiB, cpuSeconds: (user + system) / 1e6, held, ...outcome })
  }
  wired.drain()
  await wired.scheduler.stop(10_000)
  await listener.stop(true)
  await fleet.close()
}

/** Looks around until its input ends, ten times a second, and says how long it waited. */
const look = async (url: string, certificates: number): Promise<void> => {
  let isOver = false
  process.stdin.on("end", () => (isOver = true)).resume()
  const paths = [
    "/api/v1/certificates?per_page=50",
    "/api/v1/certificates?status=RenewalInProgress&per_page=50",
    "/api/v1/stats/summary",
    "/api/v1/jobs?per_page=50",
  ]
  const waits: { path: string; ms: number }[] = []
  let told = { at: performance.now(), count: 0 }
  const tell = (): void => {
    if (performance.now() - told.at < minuteMs) return
    const sorted = waits
      .slice(told.count)
      .map(({ ms }) => ms)
      .toSorted((a, b) => a - b)
    const [p50, p99] = [percentile(sorted, 0.5), percentile(sorted, 0.99)]
    console.error(`  onlooker: p50 ${Math.round(p50)} ms, p99 ${Math.round(p99)} ms in this minute`)
    told = { at: performance.now(), count: waits.length }
  }
  const failures: number[] = []
  for (let i = 0; !isOver; i += 1) {
    const number = String((i * 7919) % certificates).padStart(8, "0")
    const path = i % 2 === 0 ? `/api/v1/certificates/mc-${number}` : (paths[(i >> 1) % paths.length] ?? "")
    const wanted = performance.now()
    const answer = await fetch(new URL(path, url), { headers: { authorization: `Bearer ${adminKey}` } })
    await answer.arrayBuffer()
    waits.push({ path: i % 2 === 0 ? "a certificate" : path, ms: performance.now() - wanted })
    if (answer.status !== 200) failures.push(answer.status)
    tell()
    await Bun.sleep(Math.max(0, 100 - (performance.now() - wanted)))
  }
  const facts = (some: typeof waits) => {
    const sorted = some.map(({ ms }) => ms).toSorted((a, b) => a - b)
    return { requests: sorted.length, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: sorted.at(-1) }
  }
  const byPath = [...Map.groupBy(waits, ({ path }) => path)].map(([path, some]) => ({ path, ...facts(some) }))
  say({ ...facts(waits), byPath, failures: failures.length })
}

/** From here on this process runs where nothing else wants to: agents and CAs have machines of their own. */
const giveWay = (): void => {
  const { success } = Bun.spawnSync(["chrt", "--all-tasks", "--idle", "--pid", "0", String(process.pid)])
  if (!success) setPriority(19)
}

const child = (...given: string[]) => {
  const started = spawn(process.execPath, [import.meta.path, ...given], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = createInterface({ input: started.stdout })[Symbol.asyncIterator]()
  // biome-ignore lint/suspicious/noExplicitAny: facts of our own, printed as they come
  const next = async (): Promise<any> => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`${given[0]} ended without a word`)
    return JSON.parse(value)
  }
  return {
    next,
    ask(order: string) {
      started.stdin.write(`${order}\n`)
      return next()
    },
    end: (): void => void started.stdin.end(),
    ended: new Promise((resolve) => started.once("exit", resolve)),
  }
}

const weather = async (dialect: Dialect, certificates: number, agentCount: number): Promise<string> => {
  const { random, seed } = seededRandom()
  const lifetimeMs = 90 * dayMs
  const ca = await startHttpCa({ now: () => new Date(), random, lifetimeMs, failing: 0.3, hanging: 0.01 })
  const server = child("server", dialect, String(certificates), String(agentCount), ca.url)
  const { url, emptyMiB } = await server.next()
  const onlooker = child("onlooker", url, String(certificates))
  giveWay()
  const agents = await stormAgents({
    fetch,
    base: url,
    agents: Array.from({ length: agentCount }, (_, i) => ({ id: agentIdOf(i), apiKey: agentKeyOf(agentIdOf(i)) })),
    pauseMs: 1000,
    heartbeatMs: minuteMs / clockSpeed[dialect],
  })
  const began = performance.now()
  let facts = await server.ask("start")
  let toldAt = began
  const calm = async (): Promise<void> => {
    for (let lastAt = performance.now(); ; ) {
      await Bun.sleep(2000)
      facts = await server.ask(`advance ${Math.round((performance.now() - lastAt) * (clockSpeed[dialect] - 1))}`)
      lastAt = performance.now()
      if (facts.underWay === 0) return
      if (lastAt - toldAt < minuteMs) continue
      toldAt = lastAt
      const { underWay } = await server.ask("count")
      const signed = `${ca.counts.signed} of ${certificates} signed`
      console.error(`${Math.round((lastAt - began) / minuteMs)} min: ${underWay} jobs under way, ${signed}`)
    }
  }
  while (facts.underWay === 0) facts = await server.ask("advance 0")
  await calm()
  const minutes = (performance.now() - began) / minuteMs
  const first = await server.ask("outcome")
  onlooker.end()
  const seen = await onlooker.next()
  ca.be({ failing: 0, hanging: 0 })
  await server.ask("advance 7200000")
  facts = await server.ask("check")
  if (facts.underWay > 0) await calm()
  const last = await server.ask("outcome")
  await agents.stop()
  server.end()
  await server.ended
  ca.stop()
  for (const problem of [...first.problems, ...last.problems, ...agents.unexpected].slice(0, 10)) console.log(problem)
  const ms = (value: number) => `${Math.round(value)} ms`
  return [
    `${dialect}: ${certificates} certificates, ${agentCount} agents, seed ${seed}`,
    `  renewed ${first.renewed} in ${minutes.toFixed(1)} min (${Math.round(first.renewed / minutes / 60)}/s), ${first.givenUp} given up after three attempts; an hour later ${last.renewed} renewed, ${last.givenUp} not`,
    `  problems ${first.problems.length + last.problems.length}; versions ${last.versions}, signed by the CA ${ca.counts.signed} (asked ${ca.counts.asked}, failed ${ca.counts.failed}, hung ${ca.counts.hung}, at most ${ca.counts.most} at once)`,
    `  renewals failed: ${JSON.stringify(last.reasons)}`,
    `  agents: ${JSON.stringify(agents.counts)}, unexpected ${agents.unexpected.length}, losses ${JSON.stringify([...agents.losses])}`,
    `  onlooker: ${seen.requests} requests, p50 ${ms(seen.p50)}, p99 ${ms(seen.p99)}, max ${ms(seen.max)}, failures ${seen.failures}`,
    ...seen.byPath.map(
      (one: typeof seen) =>
        `    ${one.path}: ${one.requests}, p50 ${ms(one.p50)}, p99 ${ms(one.p99)}, max ${ms(one.max)}`,
    ),
    `  server: ${Math.round(emptyMiB)} MiB before, ${Math.round(last.mostMiB)} MiB at most, ${last.cpuSeconds.toFixed(0)} s of CPU; its thread was held p99 ${ms(last.held.p99)}, max ${ms(last.held.max)}`,
  ].join("\n")
}

const [mode, ...rest] = process.argv.slice(2)
if (mode === "server") {
  await serve(rest[0] as Dialect, Number(rest[1]), Number(rest[2]), rest[3] ?? "")
  process.exit(0)
}
if (mode === "onlooker") {
  await look(rest[0] ?? "", Number(rest[1]))
  process.exit(0)
}
const [certificates, agentCount, chosen] = [
  Number(mode ?? 50_000),
  Number(rest[0] ?? 500),
  rest[1] as Dialect | undefined,
]
const results: string[] = []
for (const dialect of chosen === undefined ? (["sqlite", "postgres"] as const) : [chosen]) {
  results.push(await weather(dialect, certificates, agentCount))
}
console.log(`\nbun scripts/bench/storm.bench.ts ${certificates} ${agentCount}   (${machineLine()})\n`)
console.log(results.join("\n"))
