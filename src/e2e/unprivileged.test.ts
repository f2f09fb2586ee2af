/** An agent without any right but those it documents: folders of its own, and nothing else. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, chownSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname } from "node:path"
import { joinedAgent } from "../testing/agent-process"
import { createSite, endedJob, versionsOf } from "../testing/inventory"
import { startNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const nginxProgram = peer("nginx", "nginx-light")
const setpriv = peer("setpriv", "util-linux")
const isRoot = process.getuid?.() === 0
/** Nobody's: no account of this machine has it. */
const user = 54_321

let stage: Stage
afterEach(() => stage.end())

describe.skipIf(nginxProgram === null || setpriv === null || !isRoot)("an agent that is not root", () => {
  test("deploys into a folder of its own, and leaves what it may not write as it is", async () => {
    stage = openStage()
    const nginx = await startNginx(stage, nginxProgram ?? "")
    const folder = dirname(nginx.certPath)
    const server = await serverProcess(stage)
    await server.start()
    const agent = await joinedAgent(stage, server, { user, env: { CERTCTL_VERIFY_DELAY: "100ms" } })
    agent.start()
    // Another's process cannot be told to reload: NGINX is told by root, who watches the file (see docs/agent.md).
    const config = { validate_command: "true", reload_command: "true", post_deploy_verify: { enabled: false } }
    const { certificateId } = await createSite(server, agent.id, nginx.targetConfig(config))
    const old = readFileSync(nginx.certPath, "utf8")

    // The folder is root's.
    await server.post(`/api/v1/certificates/${certificateId}/renew`)
    const refused = await endedJob(server, certificateId, "Deployment")
    const words: string = refused.last_error
    expect(refused.status).toBe("Failed")
    expect(words).toMatch(/EACCES|permission denied/i)
    expect(words).toContain(folder)
    expect(words).toContain("nothing was changed")
    expect(readFileSync(nginx.certPath, "utf8")).toBe(old)
    expect(readdirSync(folder).toSorted()).toEqual(["site.key", "site.pem"])

    chownSync(folder, user, user)
    chmodSync(folder, 0o750)
    for (const path of [nginx.certPath, nginx.keyPath]) chownSync(path, user, user)
    await server.post(`/api/v1/certificates/${certificateId}/deploy`, {})
    const done = await endedJob(server, certificateId, "Deployment", [refused])
    expect(done).toMatchObject({ status: "Completed" })
    process.kill(nginx.process.pid, "SIGHUP")
    const [version] = await versionsOf(server, certificateId)
    await until("it is served", async () => (await nginx.served()) === version.fingerprint_sha256)
    const key = statSync(nginx.keyPath)
    expect([key.uid, key.gid, key.mode & 0o777]).toEqual([user, user, 0o600])
    expect(agent.log()).not.toContain("PRIVATE KEY")
  })
})
