/** Traefik and Envoy against a server that watches files as they do. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import { testTargetDeps } from "../../testing/deploying"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { until } from "../../testing/until"
import { probe } from "../probe"
import type { Material } from "./contract"
import { envoy } from "./envoy"
import { traefik } from "./traefik"
import { startWatcher, type Watcher } from "./watcher.fake"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

fileTargetScenarios(
  {
    connector: traefik,
    program: "the fake",
    isReloaded: false,
    async start(stage) {
      const watcher = await startWatcher({ folder: stage.at("tls") }, stage.port)
      stage.onEnd(() => watcher.close())
      return {
        config: { cert_dir: stage.at("tls") },
        files: [stage.first.cert, stage.first.key],
        elsewhere: (folder) => ({ cert_dir: folder }),
      }
    },
  },
  (run) => {
    test("has nothing new in its folder after a check", async () => {
      const { stage, peer } = run()
      await traefik.open(peer.config, testTargetDeps(stage.folder)).check?.()
      expect(readdirSync(stage.at("tls")).filter((name) => name.startsWith("."))).toEqual([])
    })
  },
)

let envoyWatcher: Watcher
fileTargetScenarios(
  {
    connector: envoy,
    program: "the fake",
    isReloaded: false,
    async start(stage) {
      const { cert, key } = stage.first
      writeFileSync(stage.at("tls/sds.json"), secretOf(cert, key, ""))
      envoyWatcher = await startWatcher({ folder: stage.at("tls"), readsSds: true }, stage.port)
      stage.onEnd(() => envoyWatcher.close())
      return {
        config: { cert_dir: stage.at("tls"), sds_config: true },
        files: [cert, key, stage.at("tls/sds.json")],
        elsewhere: (folder) => ({ cert_dir: folder }),
      }
    },
  },
  (run) => {
    test("is told of a new pair once, when both are there, and of the old one when that comes back", async () => {
      const { stage, deploy, serves, served, leaf } = run()
      const [before, takenBefore] = [await served(), envoyWatcher.taken.length]
      const next = await leaf()
      await deploy(next)
      await serves(next.fingerprint)
      expect(envoyWatcher.taken).toHaveLength(takenBefore + 1)
      expect(envoyWatcher.refused).toEqual([])
      expect(readFileSync(stage.at("tls/sds.json"), "utf8")).toBe(
        secretOf(stage.first.cert, stage.first.key, next.fingerprint),
      )
      // Proven against another endpoint, it fails, and Envoy has to be told of the old pair too.
      const lost = await leaf()
      const elsewhere = { verify_port: await portOf(stage.at("frozen")), post_deploy_verify_attempts: 1 }
      await expect(deploy(lost, elsewhere)).rejects.toThrow("the proof on the wire failed")
      await serves(next.fingerprint)
      expect(before).not.toBe(next.fingerprint)
    })
  },
)

const frozen: Watcher[] = []
afterAll(() => Promise.all(frozen.map((watcher) => watcher.close())))
/** A server that goes on with the certificate it has. */
const portOf = async (folder: string): Promise<number> => {
  const leaf = await testLeaf(await testAuthority(), ["frozen.example"])
  await Bun.write(join(folder, "cert.pem"), leaf.certPem)
  await Bun.write(join(folder, "key.pem"), leaf.keyPem)
  const watcher = await startWatcher({ folder })
  frozen.push(watcher)
  return watcher.port
}

const secretOf = (cert: string, key: string, version: string) =>
  `${JSON.stringify({
    version_info: version,
    resources: [
      {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        name: "server_cert",
        tls_certificate: { certificate_chain: { filename: cert }, private_key: { filename: key } },
      },
    ],
  })}\n`

describe("the server that watches files", () => {
  test("takes what is moved into place and pairs alone, and keeps what it had otherwise", async () => {
    const folder = mkdtempSync(join(tmpdir(), "certctl-watcher-"))
    const at = (name: string) => join(folder, name)
    const authority = await testAuthority()
    const [one, two] = [await testLeaf(authority, ["a"]), await testLeaf(authority, ["a"])]
    writeFileSync(at("cert.pem"), one.certPem)
    writeFileSync(at("key.pem"), one.keyPem)
    const watcher = await startWatcher({ folder })
    const moveIn = async (name: string, text: string) => {
      await Bun.write(at(`${name}.new`), text)
      await Bun.$`mv ${at(`${name}.new`)} ${at(name)}`.quiet()
    }
    const serves = async () => {
      const result = await probe({ host: "127.0.0.1", port: watcher.port, timeoutMs: 5000 })
      return result.ok ? result.served.fingerprint : result.error
    }
    writeFileSync(at("cert.pem"), two.certPem)
    await moveIn("key.pem", one.keyPem)
    await until("it refuses the torn pair", () => watcher.refused.length === 1)
    expect(watcher.refused).toEqual(["certificate and key do not match"])
    expect(await serves()).toBe(one.fingerprint)
    await moveIn("cert.pem", "")
    await until("it refuses an empty file", () => watcher.refused.length === 2)
    await moveIn("key.pem", two.keyPem)
    await moveIn("cert.pem", two.certPem)
    await until("it serves the second pair", async () => (await serves()) === two.fingerprint)
    await watcher.close()
    rmSync(folder, { recursive: true })
  })
})

describe("the Envoy configuration", () => {
  const material: Material = {
    certificateId: "mc",
    jobId: "j",
    certPem: "LEAF\n",
    chainPem: "CHAIN\n",
    keyPem: "KEY\n",
  }

  test("with a chain file leaves the leaf alone, in the order certificate, key, chain, secret, and warns", async () => {
    const warnings: string[] = []
    const deps = testTargetDeps("/nonexistent", { warn: (message) => void warnings.push(message) })
    const target = envoy.open({ cert_dir: "/e", chain_filename: "chain.pem", sds_config: true }, deps)
    const { files } = await target.plan(material)
    expect(files.map(({ path, isKey, defaultMode }) => [path, isKey, defaultMode])).toEqual([
      ["/e/cert.pem", false, 0o644],
      ["/e/key.pem", true, 0o600],
      ["/e/chain.pem", false, 0o644],
      ["/e/sds.json", false, 0o644],
    ])
    expect(files.slice(0, 3).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["LEAF\n", "KEY\n", "CHAIN\n"])
    expect(warnings).toEqual([expect.stringContaining("Envoy does not read chain.pem")])
  })
})
