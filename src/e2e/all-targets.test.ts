/** Targets of many kinds, all served by one compiled agent: what is bundled into the executable works there too. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { fakeWindows } from "../connectors/powershell.fake"
import { startFakeBigIp } from "../connectors/targets/f5.fake"
import { startFakeKubernetes } from "../connectors/targets/kubernetes.fake"
import { startFakeWinRm } from "../connectors/winrm.fake"
import { parseCertificate } from "../pki/certificate"
import { joinedAgent } from "../testing/agent-process"
import { freePort } from "../testing/free-port"
import { certificateFields, createOwnership, jobsOf, versionsOf } from "../testing/inventory"
import { peer } from "../testing/peers"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(180_000)

const sshd = peer("sshd", "openssh-server")
const sshKeygen = peer("ssh-keygen", "openssh-client")
const keytool = peer("keytool", "default-jre-headless")

let stage: Stage
afterEach(() => stage.end())

/** An sshd of our own that lets one key in; returns its port and the key's path. */
const startSshd = async (): Promise<{ port: number; keyPath: string }> => {
  const port = await freePort()
  for (const name of ["host-key", "login-key"]) {
    Bun.spawnSync([sshKeygen ?? "", "-q", "-t", "ed25519", "-N", "", "-f", stage.at(name)])
  }
  writeFileSync(stage.at("authorized_keys"), readFileSync(stage.at("login-key.pub")))
  writeFileSync(
    stage.at("sshd.conf"),
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${stage.at("host-key")}`,
      `AuthorizedKeysFile ${stage.at("authorized_keys")}`,
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "Subsystem sftp /usr/lib/openssh/sftp-server",
    ].join("\n"),
  )
  mkdirSync("/run/sshd", { recursive: true })
  stage.run([sshd ?? "", "-D", "-e", "-f", stage.at("sshd.conf")], { name: "sshd" })
  return { port, keyPath: stage.at("login-key") }
}

const fingerprintIn = (pem: string): string => parseCertificate(pem).fingerprint

describe.skipIf(sshd === null || sshKeygen === null || keytool === null)("one compiled agent", () => {
  test("deploys to files, key stores, other hosts, appliances and clusters, and checks each when asked", async () => {
    stage = openStage()
    const server = await serverProcess(stage)
    await server.start()
    const bigIp = await startFakeBigIp()
    stage.onEnd(bigIp.stop)
    bigIp.addProfile("/Common/www", await testLeaf(await testAuthority(), ["old"]))
    writeFileSync(stage.at("f5-ca.pem"), bigIp.caPem)
    const cluster = await startFakeKubernetes()
    stage.onEnd(cluster.stop)
    writeFileSync(stage.at("kubeconfig"), cluster.kubeconfig(), { mode: 0o600 })
    const windows = fakeWindows(stage.at("windows"))
    const winRm = await startFakeWinRm({ windows, username: "CORP\\certctl", password: "a b&c" })
    stage.onEnd(winRm.stop)
    const ssh = await startSshd()
    for (const folder of ["envoy", "remote", "secrets"]) mkdirSync(stage.at(folder))
    writeFileSync(stage.at("secrets/winrm"), "a b&c\n", { mode: 0o600 })
    chmodSync(stage.at("secrets"), 0o700)

    const agent = await joinedAgent(stage, server, {
      env: { F5_PASSWORD: bigIp.password, STORE_PASSWORD: "change it", CERTCTL_SECRETS_DIR: stage.at("secrets") },
    })
    agent.start()
    const configs: Record<string, Record<string, unknown>> = {
      Envoy: { cert_dir: stage.at("envoy"), sds_config: true },
      JavaKeystore: { keystore_path: stage.at("store.p12"), keystore_password: "env:STORE_PASSWORD", alias: "web" },
      SSH: {
        ...{ host: "127.0.0.1", port: ssh.port, user: "root", private_key_path: ssh.keyPath },
        ...{ cert_path: stage.at("remote/cert.pem"), key_path: stage.at("remote/key.pem"), reload_command: "true" },
      },
      F5: {
        ...{ host: "127.0.0.1", port: bigIp.port, username: bigIp.username, password: "env:F5_PASSWORD" },
        ...{ ssl_profile: "www", server_ca_path: stage.at("f5-ca.pem") },
      },
      KubernetesSecrets: { namespace: "web", secret_name: "site-tls", kubeconfig_path: stage.at("kubeconfig") },
      WinCertStore: {
        ...{ store_name: "My", mode: "winrm", winrm_host: "127.0.0.1", winrm_port: winRm.port },
        ...{ winrm_username: "CORP\\certctl", winrm_password: `file:${stage.at("secrets/winrm")}` },
      },
    }
    const targetIds: Record<string, string> = {}
    for (const [type, config] of Object.entries(configs)) {
      const target = await server.post("/api/v1/targets", { name: type, type, agent_id: agent.id, config })
      targetIds[type] = target.id
    }
    await server.post("/api/v1/renewal-policies", { id: "rp-all", name: "all", rollout: "all_at_once" })
    const certificate = await server.post("/api/v1/certificates", {
      ...certificateFields(await createOwnership(server), "site.example"),
      renewal_policy_id: "rp-all",
      target_ids: Object.values(targetIds),
    })

    const seen = (type: string): string => {
      switch (type) {
        case "Envoy":
          return fingerprintIn(readFileSync(stage.at("envoy/cert.pem"), "utf8"))
        case "SSH":
          return fingerprintIn(readFileSync(stage.at("remote/cert.pem"), "utf8"))
        case "F5":
          return fingerprintIn(bigIp.state.cert.get(bigIp.state.profiles.get("/Common/www")?.cert ?? "") ?? "")
        case "KubernetesSecrets": {
          const data = cluster.state.secrets.get("web/site-tls")?.data["tls.crt"] ?? ""
          return fingerprintIn(Buffer.from(data, "base64").toString())
        }
        case "JavaKeystore": {
          const argv = ["-exportcert", "-rfc", "-alias", "web", "-keystore", stage.at("store.p12")]
          const { stdout } = Bun.spawnSync([keytool ?? "", ...argv, "-storepass:env", "P"], { env: { P: "change it" } })
          return fingerprintIn(stdout.toString())
        }
        default:
          return ""
      }
    }
    const rounds: string[] = []
    for (const round of [1, 2]) {
      await server.post(`/api/v1/certificates/${certificate.id}/renew`)
      await until(
        `every target has what was issued in round ${round}`,
        async () => {
          const jobs = (await jobsOf(server, certificate.id)).filter(({ type }) => type === "Deployment")
          const failed = jobs.find(({ status }) => status === "Failed")
          if (failed !== undefined) throw new Error(`${JSON.stringify(failed)}\n${agent.log()}`)
          return jobs.filter(({ status }) => status === "Completed").length === round * Object.keys(configs).length
        },
        60_000,
        100,
      )
      const [{ fingerprint_sha256: fingerprint }] = await versionsOf(server, certificate.id)
      const { WinCertStore: _, ...others } = configs
      expect(Object.fromEntries(Object.keys(others).map((type) => [type, seen(type)]))).toEqual(
        Object.fromEntries(Object.keys(others).map((type) => [type, fingerprint])),
      )
      rounds.push(fingerprint)
    }
    expect(new Set(rounds).size).toBe(2)
    expect(windows.state().stores["LocalMachine\\My"]?.length).toBe(2)

    for (const [type, id] of Object.entries(targetIds)) {
      expect([type, await server.post(`/api/v1/targets/${id}/test`)]).toEqual([
        type,
        { status: "success", message: "" },
      ])
    }
    const said = agent.log() + server.heard.join("")
    for (const secret of [bigIp.password, "change it", "a b&c", "PRIVATE KEY"])
      expect(said.includes(secret)).toBe(false)
  })
})
