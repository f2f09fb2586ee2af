/** How a new version reaches several targets: one of them first, within windows, and back again. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { joinedAgent } from "../testing/agent-process"
import { certificateFields, createOwnership, endedJob, jobsOf, versionsOf } from "../testing/inventory"
import { type NginxPeer, startNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(180_000)

const nginxProgram = peer("nginx", "nginx-light")

let stage: Stage
afterEach(() => stage.end())

const createTarget = async (server: ServerProcess, agentId: string, nginx: NginxPeer, name: string) =>
  (
    await server.post("/api/v1/targets", {
      ...{ name, type: "NGINX", agent_id: agentId },
      config: nginx.targetConfig(),
    })
  ).id

const fleet = async () => {
  stage = openStage()
  const server = await serverProcess(stage)
  await server.start()
  const agent = await joinedAgent(stage, server, { env: { CERTCTL_VERIFY_DELAY: "100ms" } })
  agent.start()
  const peers = await Promise.all(
    ["one", "two"].map((name) => startNginx(stage, nginxProgram ?? "", { name, serverName: "site.example" })),
  )
  const [one, two] = peers
  if (one === undefined || two === undefined) throw new Error("there are two")
  const targets = {
    one: await createTarget(server, agent.id, one, "one"),
    two: await createTarget(server, agent.id, two, "two"),
  }
  // The certificate goes to the first of those whose agent is there.
  await until("the agent is online", async () => (await server.get(`/api/v1/agents/${agent.id}`)).status === "Online")
  const certificate = await server.post("/api/v1/certificates", {
    ...certificateFields(await createOwnership(server), "site.example"),
    target_ids: [targets.one, targets.two],
  })
  const id: string = certificate.id
  const deployments = async () => (await jobsOf(server, id)).filter(({ type }) => type === "Deployment")
  const renew = () => server.post(`/api/v1/certificates/${id}/renew`)
  const newest = async (): Promise<string> => (await versionsOf(server, id))[0].fingerprint_sha256
  const allServe = (fingerprint: string) =>
    until("both serve it", async () =>
      (await Promise.all([one.served(), two.served()])).every((seen) => seen === fingerprint),
    )
  return { server, agent, one, two, targets, id, deployments, renew, newest, allServe }
}

describe.skipIf(nginxProgram === null)("a roll-out", () => {
  test("goes to one target first and to no other when that one fails; a test of the target says why", async () => {
    const { server, one, two, targets, id, deployments, renew, newest, allServe } = await fleet()
    await renew()
    await until(
      "both are deployed",
      async () => (await deployments()).filter((job) => job.status === "Completed").length === 2,
    )
    const good = await newest()
    await allServe(good)
    const [first, second] = (await deployments()).toReversed()
    expect([first.target_id, first.wave, second.target_id, second.wave]).toEqual([targets.one, 0, targets.two, 1])
    expect(Date.parse(second.started_at)).toBeGreaterThanOrEqual(Date.parse(first.completed_at))
    expect((await server.post(`/api/v1/targets/${targets.one}/test`)).status).toBe("success")

    one.include("no_such_directive on;")
    const tested = await server.post(`/api/v1/targets/${targets.one}/test`)
    expect(tested).toMatchObject({
      status: "failed",
      message: expect.stringContaining('unknown directive "no_such_directive"'),
    })
    await renew()
    await until("the first has failed", async () =>
      (await deployments()).some(({ target_id, status }) => target_id === targets.one && status === "Failed"),
    )
    // It is tried again; until then, and should it fail for good, the second keeps what it has.
    const waiting = (await deployments()).find(({ target_id }) => target_id === targets.two)
    expect(waiting).toMatchObject({ status: "Pending", hold: "waits until wave 1 of 2 is verified" })
    expect(await newest()).not.toBe(good)
    expect([await one.served(), await two.served()]).toEqual([good, good])

    one.include("")
    expect((await server.post(`/api/v1/targets/${targets.one}/test`)).status).toBe("success")
    await server.post(`/api/v1/certificates/${id}/deploy`, {})
    await allServe(await newest())
  })

  test("waits for deployment windows, begins at once when told to, and goes back to an older version", async () => {
    const { server, agent, targets, id, deployments, renew, newest, allServe } = await fleet()
    await renew()
    await until(
      "both are deployed",
      async () => (await deployments()).filter((job) => job.status === "Completed").length === 2,
    )
    const [old] = await versionsOf(server, id)

    // Shut for the next days, whatever today is.
    const inThreeDays = new Date(Date.now() + 3 * 86_400_000)
    const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][inThreeDays.getUTCDay()]
    const deployment_windows = { time_zone: "UTC", windows: [{ days: [day], from: "01:00", to: "02:00" }] }
    for (const target of [targets.one, targets.two]) {
      const { status } = await server.call("PUT", `/api/v1/targets/${target}`, { deployment_windows })
      expect(status).toBe(200)
    }
    await renew()
    await until(
      "both wait",
      async () => (await deployments()).filter(({ status }) => status === "Pending").length === 2,
    )
    expect(
      (await deployments())
        .filter((job) => job.status === "Pending")
        .map((job) => job.hold)
        .toSorted(),
    ).toEqual([
      expect.stringMatching(/^outside the deployment windows of one: it may begin at \d{4}-\d\d-\d\dT01:00:00\.000Z$/),
      "waits until wave 1 of 2 is verified",
    ])
    await server.post(`/api/v1/certificates/${id}/deploy`, { ignore_windows: true })
    await allServe(await newest())

    for (const target of [targets.one, targets.two]) {
      await server.call("PUT", `/api/v1/targets/${target}`, { deployment_windows: null })
    }
    await server.post(`/api/v1/certificates/${id}/deploy`, { version_id: old.id })
    await allServe(old.fingerprint_sha256)
    expect(agent.process().exitCode()).toBeNull()
    expect((await endedJob(server, id, "Deployment")).status).toBe("Completed")
  })
})
