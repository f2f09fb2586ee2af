/**
 * The path of a renewal, with server and agent killed at random moments of it. The delays come from a seed, which is printed and can be
 * given again as CERTCTL_TEST_SEED; what they hit still depends on the machine.
 */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { dirname } from "node:path"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, readPrivateKey } from "../pki/keys"
import { joinedAgent } from "../testing/agent-process"
import { createSite, endedJob, jobsOf, versionsOf } from "../testing/inventory"
import { startNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { seededRandom } from "../testing/seeded-random"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(280_000)

const nginxProgram = peer("nginx", "nginx-light")
const rounds = 24
/** What users are promised: a restarted server or agent has the certificate served within this time. */
const recoveryLimitMs = 10_000

let stage: Stage
afterEach(() => stage.end())

describe.skipIf(nginxProgram === null)("kill -9 at any moment of a renewal", () => {
  test("loses nothing, issues nothing twice and leaves nothing half done", async () => {
    stage = openStage()
    const { random, seed } = seededRandom()
    const nginx = await startNginx(stage, nginxProgram ?? "")
    const server = await serverProcess(stage)
    await server.start()
    // Everything else as by default, the waits after failures most of all.
    const agent = await joinedAgent(stage, server, { env: { CERTCTL_VERIFY_DELAY: "200ms" } })
    agent.start()
    const { certificateId } = await createSite(server, agent.id, nginx.targetConfig())

    const isServed = async () =>
      (await nginx.served()) === (await versionsOf(server, certificateId))[0].fingerprint_sha256
    const openJobs = async () =>
      (await jobsOf(server, certificateId)).filter(({ status }) => status !== "Completed" && status !== "Cancelled")

    const began = performance.now()
    await server.post(`/api/v1/certificates/${certificateId}/renew`)
    expect((await endedJob(server, certificateId, "Deployment")).status).toBe("Completed")
    // The first one includes what is loaded once; it still spreads the moments over the whole path.
    const pathMs = performance.now() - began

    const recoveries: string[] = []
    /** Renewals that were asked for once more, after a request without an answer that may have been done. */
    let repeated = 0
    for (let round = 0; round < rounds; round++) {
      const before = (await versionsOf(server, certificateId)).length
      const victim = round % 2 === 0 ? server : agent
      const delayMs = Math.round(random() * pathMs)
      const renewal = server.call("POST", `/api/v1/certificates/${certificateId}/renew`).catch(() => null)
      await Bun.sleep(delayMs)
      await victim.kill()
      const killed = performance.now()
      await victim.start()
      if ((await renewal)?.status !== 202) {
        // Not acknowledged: done or not, both are right. Asked again it must not happen twice.
        const { status } = await server.call("POST", `/api/v1/certificates/${certificateId}/renew`)
        expect([202, 409]).toContain(status)
        if (status === 202) repeated += 1
      }
      const words = `round ${round}, ${victim === server ? "server" : "agent"} killed after ${delayMs} ms (CERTCTL_TEST_SEED=${seed})`
      await until(
        `the new certificate is served, ${words}`,
        async () => (await versionsOf(server, certificateId)).length > before && (await isServed()),
        recoveryLimitMs,
        25,
      )
      recoveries.push(
        `${victim === server ? "server" : "agent"} after ${delayMs} ms: ${Math.round(performance.now() - killed)} ms`,
      )
      await until(`every job has ended, ${words}`, async () => (await openJobs()).length === 0, recoveryLimitMs, 25)
    }
    console.log(
      `killed ${rounds} times, seed ${seed}; until the new certificate was served:\n  ${recoveries.join("\n  ")}`,
    )

    const versions = await versionsOf(server, certificateId)
    // An agent that did not hear that its CSR was signed sends the same again, for a renewal that was asked for meanwhile, too.
    const csrs = new Set(versions.map(({ csr_pem }) => csr_pem)).size
    expect(versions.length - csrs).toBeLessThanOrEqual(repeated)
    expect(versions.length).toBeLessThanOrEqual(rounds + 1 + repeated)
    const jobs = await jobsOf(server, certificateId)
    const issuing = jobs.filter(({ type }) => type !== "Deployment")
    expect(issuing.filter(({ status }) => status === "Completed")).toHaveLength(versions.length)
    const { data: completions } = await server.get("/api/v1/audit?action=renewal_job_completed&per_page=500")
    expect(completions).toHaveLength(versions.length)

    expect(
      readdirSync(dirname(nginx.certPath)).filter((name) => !/^site\.(pem|key)(\.certctl-bak\.\d+)?$/.test(name)),
    ).toEqual([])
    expect(readdirSync(agent.keyDir).filter((name) => !/\.key(\.prev)?$/.test(name))).toEqual([])
    expect(readdirSync(`${agent.dataDir}/deployments`)).toEqual([])
    const leaf = parseCertificate(readFileSync(nginx.certPath, "utf8"))
    expect(keysMatch(readPrivateKey(readFileSync(nginx.keyPath, "utf8")), leaf.der)).toBe(true)
    expect(leaf.fingerprint).toBe(versions[0].fingerprint_sha256)
  })
})
