/** A host whose NGINX configuration is broken by somebody else while a renewal is under way. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { joinedAgent } from "../testing/agent-process"
import { createSite, endedJob, jobsOf, versionsOf } from "../testing/inventory"
import { startNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const nginxProgram = peer("nginx", "nginx-light")

let stage: Stage
afterEach(() => stage.end())

describe.skipIf(nginxProgram === null)("an NGINX that refuses its configuration", () => {
  test("goes on serving the old certificate, says why, and gets the new one once it is repaired", async () => {
    stage = openStage()
    const nginx = await startNginx(stage, nginxProgram ?? "")
    // Long enough to repair it between the first attempt and the second.
    const server = await serverProcess(stage, { env: { CERTCTL_SCHEDULER_RETRY_INTERVAL: "4s" } })
    await server.start()
    const agent = await joinedAgent(stage, server, {
      env: { CERTCTL_VERIFY_DELAY: "1s", CERTCTL_AGENT_POLL_INTERVAL: "500ms" },
    })
    agent.start()
    const { certificateId } = await createSite(server, agent.id, nginx.targetConfig())
    await server.post(`/api/v1/certificates/${certificateId}/renew`)
    const first = await endedJob(server, certificateId, "Deployment")
    expect(first.status).toBe("Completed")
    const old = await nginx.served()
    const files = () => [nginx.certPath, nginx.keyPath].map((path) => readFileSync(path, "utf8"))
    const oldFiles = files()

    nginx.include("no_such_directive on;\n")
    await server.post(`/api/v1/certificates/${certificateId}/renew`)
    const refused = await endedJob(server, certificateId, "Deployment", [first])
    nginx.include("")
    expect(refused).toMatchObject({ status: "Failed", attempts: 1, verification_status: "pending" })
    expect(refused.last_error).toContain('unknown directive "no_such_directive"')
    expect(refused.last_error).toContain("the previous files were restored")
    expect(files()).toEqual(oldFiles)
    expect(await nginx.served()).toBe(old)
    const [newest, ...older] = await versionsOf(server, certificateId)
    expect(older.map(({ fingerprint_sha256 }) => fingerprint_sha256)).toEqual([old])

    await until(
      "the second attempt is deployed",
      async () => (await server.get(`/api/v1/jobs/${refused.id}`)).status === "Completed",
      30_000,
      25,
    )
    expect(await server.get(`/api/v1/jobs/${refused.id}`)).toMatchObject({
      attempts: 2,
      verification_status: "success",
    })
    expect(await nginx.served()).toBe(newest.fingerprint_sha256)
    expect(files()).not.toEqual(oldFiles)
    // It was the deployment that failed: nothing was issued a second time for it.
    expect((await jobsOf(server, certificateId)).filter(({ type }) => type !== "Deployment")).toHaveLength(2)
    const { data: retries } = await server.get(`/api/v1/audit?action=job_retry&resource_id=${refused.id}`)
    expect(retries).toHaveLength(1)
  })
})
