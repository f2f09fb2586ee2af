/**
 * Two servers on one PostgreSQL, one of which is killed again and again while both are at work. CERTCTL_TEST_KILLS sets how often; the
 * delays come from a seed, which is printed and can be given again as CERTCTL_TEST_SEED.
 */
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync } from "node:fs"
import postgres from "postgres"
import { type AgentProcess, joinedAgent } from "../testing/agent-process"
import { certificateFields, createOwnership } from "../testing/inventory"
import { postgresScene } from "../testing/on-each-database"
import { prepareLimitMs, prepareTestPostgres } from "../testing/postgres"
import { seededRandom } from "../testing/seeded-random"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import type { Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
const kills = Number(process.env.CERTCTL_TEST_KILLS ?? 4)
setDefaultTimeout(120_000 + kills * 60_000)

/** Certificates of each agent. */
const perAgent = 4

let stage: Stage
afterEach(() => stage.end())
beforeAll(prepareTestPostgres, prepareLimitMs)

interface Run {
  readonly server: string
  readonly loop: string
  readonly beganAt: number
  readonly endedAt: number
}

/** What the log of a server says: which loops it had with which fence, and when it ran them. `diedAt`: the ends of its lives. */
const readLog = (server: ServerProcess, name: string, diedAt: readonly number[]) => {
  const fences: { loop: string; fence: number; server: string }[] = []
  const runs: Run[] = []
  const open = new Map<string, number>()
  const endOf = (began: number) => diedAt.find((at) => at >= began) ?? Date.now()
  for (const line of server.process().stderr().split("\n")) {
    // A kill may cut off a line.
    if (!line.startsWith('{"time"') || !line.endsWith("}") || !line.includes('"loop"')) continue
    const entry: { time: string; message: string; loop: string; fence?: number } = JSON.parse(line)
    const { loop, message, fence } = entry
    const at = new Date(entry.time).getTime()
    if (message.startsWith("has loop") && fence !== undefined) fences.push({ loop, fence, server: name })
    const began = open.get(loop)
    if (message.endsWith(" begins")) {
      // The run before was cut off by a kill.
      if (began !== undefined) runs.push({ server: name, loop, beganAt: began, endedAt: endOf(began) })
      open.set(loop, at)
    } else if (message.endsWith(" ends") && began !== undefined) {
      runs.push({ server: name, loop, beganAt: began, endedAt: at })
      open.delete(loop)
    }
  }
  return { fences, runs }
}

test("a server killed at any moment leaves nothing half done, and no loop runs on two at a time", async () => {
  const scene = await postgresScene()
  stage = scene.stage
  const sql = postgres(scene.url, { max: 1, onnotice: () => undefined })
  stage.onEnd(() => sql.end())
  const { random, seed } = seededRandom()
  const first = await serverProcess(stage, { name: "first", env: scene.env })
  await first.start()
  const second = await serverProcess(stage, { name: "second", env: scene.env, adminKey: first.adminKey })
  await second.start()
  const servers = { first, second }
  const diedAt: Record<keyof typeof servers, number[]> = { first: [], second: [] }

  const ownership = await createOwnership(first, "fleet")
  const agents: AgentProcess[] = []
  const ids: string[] = []
  mkdirSync(stage.at("fleet"))
  for (const [name, server] of Object.entries(servers)) {
    const agent = await joinedAgent(stage, server, { name: `agent-of-${name}` })
    agent.start()
    agents.push(agent)
    for (let i = 0; i < perAgent; i += 1) {
      const site = `${name}-${i}.example`
      const [cert_path, key_path] = [stage.at("fleet", `${site}.pem`), stage.at("fleet", `${site}.key`)]
      const config = { cert_path, key_path, validate_command: "true", reload_command: "true" }
      const target = await server.post("/api/v1/targets", { name: site, type: "NGINX", agent_id: agent.id, config })
      const fields = { ...certificateFields(ownership, site), target_ids: [target.id] }
      ids.push((await server.post("/api/v1/certificates", fields)).id)
    }
  }

  const openJobs = async (): Promise<number> => {
    const [row] = await sql`select count(*) as count from jobs where status not in ('Completed', 'Cancelled')
      and not (status = 'Failed' and attempts >= max_attempts)`
    return Number(row?.count)
  }
  const versionsOfEach = async (): Promise<Map<string, number>> =>
    new Map(
      (await sql`select certificate_id, count(*) as count from certificate_versions group by certificate_id`).map(
        ({ certificate_id, count }) => [certificate_id, Number(count)],
      ),
    )
  const renew = (server: ServerProcess, id: string) =>
    server.call("POST", `/api/v1/certificates/${id}/renew`).then(
      ({ status }) => status,
      () => null,
    )

  let pathMs = 3000
  for (let round = 0; round <= kills; round += 1) {
    const before = await versionsOfEach()
    const began = performance.now()
    const asked = ids.map((id, i) => renew(i % 2 === 0 ? first : second, id))
    if (round > 0) {
      // The first to start has the loops. They change hands at least once.
      const name = round === 1 || random() < 0.5 ? ("first" as const) : ("second" as const)
      await Bun.sleep(random() * pathMs)
      await servers[name].kill()
      diedAt[name].push(Date.now())
      if (round === 1) {
        const tookOver = () => readLog(second, "second", []).runs.length > 0
        await until("the second server runs loops in place of the first", tookOver, 60_000, 100)
      }
      // Sometimes it is back before its leases have lapsed, sometimes the other has its loops by then.
      else await Bun.sleep(random() * 8000)
      await servers[name].start()
    }
    for (const [i, status] of (await Promise.all(asked)).entries()) {
      // Not acknowledged: done or not, both are right. Asked again it must not happen twice at a time.
      if (status !== 202) expect([202, 409]).toContain((await renew(first, ids[i] ?? "")) ?? 0)
    }
    const words = `round ${round} (CERTCTL_TEST_SEED=${seed})`
    await until(
      `every certificate is renewed, ${words}`,
      async () => {
        const now = await versionsOfEach()
        return ids.every((id) => (now.get(id) ?? 0) > (before.get(id) ?? 0)) && (await openJobs()) === 0
      },
      90_000,
      100,
    )
    if (round === 0) pathMs = performance.now() - began
  }

  const count = async (query: postgres.PendingQuery<postgres.Row[]>) => Number((await query)[0]?.count)
  const versions = await count(sql`select count(*) from certificate_versions`)
  expect(await count(sql`select count(distinct csr_pem) from certificate_versions`)).toBe(versions)
  expect(await count(sql`select count(*) from jobs where type <> 'Deployment' and status = 'Completed'`)).toBe(versions)
  expect(await count(sql`select count(*) from audit_events where action = 'renewal_job_completed'`)).toBe(versions)
  expect(await count(sql`select count(*) from jobs where status = 'Failed'`)).toBe(0)
  // Every version is deployed once, unless a newer one was on its way already.
  expect(
    await count(sql`select count(*) from certificate_versions v where (select count(*) from jobs j where j.version_id = v.id
      and j.type = 'Deployment' and j.status in ('Completed', 'Cancelled')) <> 1`),
  ).toBe(0)
  expect(
    await count(sql`select count(*) from (select resource_id from audit_events where action = 'deployment_job_completed'
      group by resource_id having count(*) > 1) twice`),
  ).toBe(0)

  const logs = [readLog(first, "first", diedAt.first), readLog(second, "second", diedAt.second)]
  const fences = logs.flatMap((log) => log.fences)
  expect(fences.length).toBeGreaterThan(10)
  const holders = Map.groupBy(fences, ({ loop, fence }) => `${loop} ${fence}`)
  const shared = [...holders].filter(([, held]) => new Set(held.map(({ server }) => server)).size > 1)
  expect(shared.map(([what]) => what)).toEqual([])
  const runs = logs.flatMap((log) => log.runs).toSorted((a, b) => a.beganAt - b.beganAt)
  expect(new Set(runs.map(({ server }) => server)).size).toBe(2)
  for (const [loop, ofLoop] of Map.groupBy(runs, (run) => run.loop)) {
    for (const [i, run] of ofLoop.entries()) {
      const others = ofLoop.slice(i + 1).filter((other) => other.server !== run.server && other.beganAt < run.endedAt)
      expect(others.map((other) => `${loop} ran on ${other.server} while it ran on ${run.server}`)).toEqual([])
    }
  }
  for (const agent of agents) await agent.stop()
  console.log(
    `killed ${kills} times, seed ${seed}: ${versions} versions of ${ids.length} certificates, ${runs.length} runs of loops, ${fences.length} changes of hands`,
  )
})
