/** Two servers on one PostgreSQL: work is done once, is heard of everywhere, and goes on when one of them dies. */
import { afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import postgres from "postgres"
import { type AgentProcess, joinedAgent } from "../testing/agent-process"
import { createSite, endedJob, jobsOf, versionsOf } from "../testing/inventory"
import { type NginxPeer, startNginx } from "../testing/nginx-peer"
import { postgresScene } from "../testing/on-each-database"
import { peer } from "../testing/peers"
import { prepareLimitMs, prepareTestPostgres } from "../testing/postgres"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import type { Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const nginxProgram = peer("nginx", "nginx-light")
/** As long as a dead server keeps its loops, at most. */
const leaseMs = 6_000

describe.skipIf(nginxProgram === null)("two servers on one database", () => {
  let stage: Stage
  let sql: postgres.Sql
  /** Started first: it has the loops. */
  let first: ServerProcess
  let second: ServerProcess
  let nginx: NginxPeer
  /** Works for the second server. */
  let agent: AgentProcess
  let certificateId: string

  beforeAll(prepareTestPostgres, prepareLimitMs)
  beforeEach(async () => {
    const scene = await postgresScene()
    stage = scene.stage
    sql = postgres(scene.url, { max: 1, onnotice: () => undefined })
    stage.onEnd(() => sql.end())
    // Nothing is to be found by a tick: it is heard of, or it is late.
    const env = { ...scene.env, CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL: "1h" }
    first = await serverProcess(stage, { name: "first", env })
    await first.start()
    second = await serverProcess(stage, { name: "second", env, adminKey: first.adminKey })
    await second.start()
    nginx = await startNginx(stage, nginxProgram ?? "")
    agent = await joinedAgent(stage, second, { env: { CERTCTL_VERIFY_DELAY: "500ms" } })
    agent.start()
    ;({ certificateId } = await createSite(second, agent.id, nginx.targetConfig()))
  })
  afterEach(() => stage.end())

  const leases = async (): Promise<{ loop: string; holder: string; fence: number }[]> =>
    (await sql`select loop, holder, fence from leases order by loop`).map(({ loop, holder, fence }) => ({
      loop,
      holder,
      fence: Number(fence),
    }))

  /** How often each action was recorded about each thing. */
  const recorded = async (action: string): Promise<number[]> =>
    (await sql`select count(*) as times from audit_events where action = ${action} group by resource_id`).map(
      ({ times }) => Number(times),
    )

  const isPolling = () => until("the agent is connected", () => /work poll|works for/.test(agent.log()))

  test("issue and deploy once what both are asked for at once, and an agent of one hears what the other was told", async () => {
    await isPolling()
    const held = await leases()
    expect(held.length).toBeGreaterThan(5)
    expect(new Set(held.map(({ holder }) => holder)).size).toBe(1)

    for (let round = 0; round < 3; round++) {
      const known = await jobsOf(first, certificateId)
      // It must not have signed before the last one has asked.
      process.kill(agent.process().pid, "SIGSTOP")
      const asked = await Promise.all(
        Array.from({ length: 10 }, (_, at) =>
          (at % 2 === 0 ? first : second).call("POST", `/api/v1/certificates/${certificateId}/renew`),
        ),
      )
      expect(asked.map(({ status }) => status).sort()).toEqual([202, ...Array(9).fill(409)])
      process.kill(agent.process().pid, "SIGCONT")
      const deployment = await endedJob(first, certificateId, "Deployment", known)
      expect(deployment).toMatchObject({ status: "Completed", attempts: 1, verification_status: "success" })
    }
    const versions = await versionsOf(second, certificateId)
    expect(versions).toHaveLength(3)
    expect(await nginx.served()).toBe(versions[0].fingerprint_sha256)
    expect(await recorded("deployment_job_dispatched")).toEqual([1, 1, 1])
    expect(await recorded("renewal_job_completed")).toEqual([1, 1, 1])

    // Told to the first alone: its tick is an hour away and the agent's next poll up to 25 s.
    const known = await jobsOf(first, certificateId)
    const asked = performance.now()
    await first.post(`/api/v1/certificates/${certificateId}/renew`)
    await endedJob(second, certificateId, "Renewal", known)
    console.log(
      `from the renew call on one server to the CSR signed on the other: ${Math.round(performance.now() - asked)} ms`,
    )
    await endedJob(second, certificateId, "Deployment", known)

    // One server sealed the audit log: every event once, without a gap.
    await until("every event is sealed", async () => {
      const [open] =
        await sql`select count(*) as count from audit_events e left join audit_leaves l on l.event_id = e.id where l.event_id is null`
      return Number(open?.count) === 0
    })
    const [sealed] =
      await sql`select count(*) as count, count(distinct event_id) as events, max(seq) as last from audit_leaves`
    expect([Number(sealed?.events), Number(sealed?.last)]).toEqual([Number(sealed?.count), Number(sealed?.count)])
    // Nobody has taken a loop from the other meanwhile.
    expect(await leases()).toEqual(held)
  })

  test("go on with one when the other is killed", async () => {
    await isPolling()
    const before = await leases()
    await first.post(`/api/v1/certificates/${certificateId}/renew`)
    const deployed = await endedJob(second, certificateId, "Deployment")
    expect(deployed.status).toBe("Completed")

    await first.kill()
    const killed = performance.now()
    // Does not need the loops: it is the agent's own server that signs and hands out.
    await second.post(`/api/v1/certificates/${certificateId}/renew`)
    const renewed = await endedJob(second, certificateId, "Deployment", [deployed])
    expect(renewed).toMatchObject({ status: "Completed", verification_status: "success" })
    const [newest] = await versionsOf(second, certificateId)
    expect(await nginx.served()).toBe(newest.fingerprint_sha256)

    const [{ holder: dead } = { holder: "" }] = before
    await until(
      "the loops have changed hands",
      async () => (await leases()).every(({ holder }) => holder !== dead),
      2 * leaseMs,
    )
    console.log(`the loops were taken over ${Math.round(performance.now() - killed)} ms after the kill`)
    // A newer fence: what the dead one may still have under way is told from what its successor does.
    expect((await leases()).map(({ fence }) => fence)).toEqual(before.map(({ fence }) => fence + 1))

    // Back again it finds them taken, and takes part in everything else.
    await first.start()
    await first.post(`/api/v1/certificates/${certificateId}/renew`)
    const again = await endedJob(first, certificateId, "Deployment", [deployed, renewed])
    expect(again.status).toBe("Completed")
    expect(new Set((await leases()).map(({ holder }) => holder)).has(dead)).toBe(false)
  })
})
