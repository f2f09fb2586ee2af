/**
 * A deployment to a real NGINX, killed before each of the calls by which it changes the disk, one after another.
 * After the next start everything is as it was before, or as it was to be, and is served so.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import type { Authority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, readPrivateKey } from "../pki/keys"
import { runOnce } from "../testing/dying"
import { type NginxPeer, startNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// A process for each step, and one after it.
setDefaultTimeout(280_000)

const nginxProgram = peer("nginx", "nginx-light")
/** More than a deployment has. */
const mostSteps = 100

let stage: Stage
let nginx: NginxPeer
let authority: Authority

beforeAll(async () => {
  stage = openStage()
  nginx = await startNginx(stage, nginxProgram ?? "")
  authority = await testAuthority()
})
afterAll(() => stage.end())

const onDisk = () => {
  const leaf = parseCertificate(readFileSync(nginx.certPath, "utf8"))
  return { leaf, isPair: keysMatch(readPrivateKey(readFileSync(nginx.keyPath, "utf8")), leaf.der) }
}

const journals = () => (existsSync(stage.at("agent", "journal")) ? readdirSync(stage.at("agent", "journal")) : [])

describe.skipIf(nginxProgram === null)("kill -9 at each step of a deployment", () => {
  test("leaves what the next start makes all old or all new, and served", async () => {
    const outcomes: string[] = []
    for (let step = 1; ; step++) {
      if (step > mostSteps) throw new Error("the deployment never comes to its end")
      const before = onDisk().leaf.fingerprint
      const leaf = await testLeaf(authority, [nginx.serverName])
      const { ending, output } = await runOnce(stage.at("deployment.json"), {
        folder: stage.at("agent"),
        does: {
          kind: "connector",
          type: "NGINX",
          config: nginx.targetConfig(),
          leaf: { certPem: leaf.certPem, keyPem: leaf.keyPem, fingerprint: leaf.fingerprint },
          chainPem: authority.certPem,
        },
        diesAt: step,
        diesAfter: false,
      })
      if (ending === "failed") throw new Error(output)
      if (ending === "done") {
        await until("the last one is served", async () => (await nginx.served()) === leaf.fingerprint)
        console.log(`killed at ${step - 1} moments: ${outcomes.join(" ")}`)
        break
      }
      const isJournaled = journals().some((name) => name.endsWith(".json"))
      const repair = { folder: stage.at("agent"), does: { kind: "repair" }, diesAt: Number.MAX_SAFE_INTEGER } as const
      expect(await runOnce(stage.at("repair.json"), { ...repair, diesAfter: false })).toMatchObject({ ending: "done" })

      const { leaf: present, isPair } = onDisk()
      expect([step, isPair]).toEqual([step, true])
      // Where a journal was left, everything goes back; without one nothing had begun, or all was done.
      expect([step, before, leaf.fingerprint]).toContain(present.fingerprint)
      if (isJournaled) expect([step, present.fingerprint]).toEqual([step, before])
      await until(`it is served after step ${step}`, async () => (await nginx.served()) === present.fingerprint)
      outcomes.push(present.fingerprint === before ? "old" : "new")

      const folder = dirname(nginx.certPath)
      expect(journals()).toEqual([])
      for (const name of readdirSync(folder)) {
        expect([step, name]).toEqual([step, expect.stringMatching(/^site\.(pem|key)(\.certctl-bak\.\d{19})?$/)])
        if (name.startsWith("site.key"))
          expect([step, name, statSync(join(folder, name)).mode & 0o777]).toEqual([step, name, 0o600])
      }
    }
    expect(outcomes.length).toBeGreaterThan(20)
    expect(outcomes[0]).toBe("old")
    // The last of them fall into tidying up.
    expect(outcomes.at(-1)).toBe("new")
  })
})
