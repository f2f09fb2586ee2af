/** From an empty data directory to a certificate that a real NGINX serves, and to its first renewal. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, readPrivateKey } from "../pki/keys"
import { certificateBlocks, pemBlocks } from "../pki/pem"
import { joinedAgent } from "../testing/agent-process"
import { createSite, endedJob, jobsOf, versionsOf } from "../testing/inventory"
import { startNginx } from "../testing/nginx-peer"
import { onEachDatabase, postgresContents } from "../testing/on-each-database"
import { peer } from "../testing/peers"
import { serverProcess } from "../testing/server-process"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const nginxProgram = peer("nginx", "nginx-light")
const openssl = peer("openssl", "openssl")

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)

/** Everything that the database of a server holds, as text. */
const databaseContents = async (dataDir: string, url: string | undefined): Promise<string> => {
  if (url !== undefined) return postgresContents(url)
  const files = readdirSync(dataDir).filter((name) => name.startsWith("certctl.db"))
  return files.map((name) => readFileSync(join(dataDir, name), "latin1")).join("\n")
}

/** The part of a private key in PEM that nothing else contains. */
const secretPart = (pem: string): string => pem.split("\n")[1] ?? ""

describe.skipIf(nginxProgram === null || openssl === null)("the first certificate", () => {
  onEachDatabase("of a new server", (open) => {
    test("is issued, deployed, verified and renewed, and its key never leaves the host", async () => {
      const { stage, env } = await open()
      const server = await serverProcess(stage, { env })
      await server.start()
      expect(modeOf(join(server.dataDir, "initial-admin-key"))).toBe("600")
      const nginx = await startNginx(stage, nginxProgram ?? "")
      const agent = await joinedAgent(stage, server, { env: { CERTCTL_VERIFY_DELAY: "1s" } })
      agent.start()
      const { certificateId, targetId } = await createSite(server, agent.id, nginx.targetConfig())

      const { job_id } = await server.post(`/api/v1/certificates/${certificateId}/renew`)
      const issuance = await endedJob(server, certificateId, "Issuance")
      expect(issuance).toMatchObject({ id: job_id, status: "Completed", attempts: 1 })
      const deployment = await endedJob(server, certificateId, "Deployment")
      expect(deployment).toMatchObject({ status: "Completed", verification_status: "success", target_id: targetId })

      const [version, ...older] = await versionsOf(server, certificateId)
      expect(older).toEqual([])
      expect(await nginx.served()).toBe(version.fingerprint_sha256)
      expect(deployment.verification_fingerprint).toBe(version.fingerprint_sha256)
      expect(await server.get(`/api/v1/certificates/${certificateId}`)).toMatchObject({
        status: "Active",
        expires_at: version.not_after,
      })

      // The chain ends in the local CA, and somebody else's implementation agrees.
      const blocks = certificateBlocks(version.pem_chain).map((der) => parseCertificate(der))
      const caPath = stage.at("ca.pem")
      const leafPath = stage.at("leaf.pem")
      writeFileSync(caPath, blocks.at(-1)?.pem ?? "")
      writeFileSync(leafPath, blocks[0]?.pem ?? "")
      const verify = Bun.spawnSync([openssl ?? "", "verify", "-x509_strict", "-CAfile", caPath, leafPath])
      expect(verify.stdout.toString() + verify.stderr.toString()).toBe(`${leafPath}: OK\n`)

      const deployedKey = readFileSync(nginx.keyPath, "utf8")
      expect(modeOf(nginx.keyPath)).toBe("600")
      expect(keysMatch(readPrivateKey(deployedKey), parseCertificate(readFileSync(nginx.certPath, "utf8")).der)).toBe(
        true,
      )
      expect(modeOf(agent.keyDir)).toBe("700")
      expect(readdirSync(agent.keyDir)).toEqual([`${certificateId}.key`])
      expect(modeOf(join(agent.keyDir, `${certificateId}.key`))).toBe("600")

      const load = nginx.hammer()
      await server.post(`/api/v1/certificates/${certificateId}/renew`)
      const renewal = await endedJob(server, certificateId, "Renewal")
      expect(renewal.status).toBe("Completed")
      const again = await endedJob(server, certificateId, "Deployment", [deployment])
      expect(again).toMatchObject({ status: "Completed", verification_status: "success" })
      const { requests, failures } = await load.stop()
      expect(failures).toEqual([])
      expect(requests).toBeGreaterThan(5)
      const [renewed] = await versionsOf(server, certificateId)
      expect(renewed.fingerprint_sha256).not.toBe(version.fingerprint_sha256)
      expect(await nginx.served()).toBe(renewed.fingerprint_sha256)
      expect((await jobsOf(server, certificateId)).map(({ status }) => status)).toEqual(Array(4).fill("Completed"))
      const renewedKey = readFileSync(nginx.keyPath, "utf8")
      expect(secretPart(renewedKey)).not.toBe(secretPart(deployedKey))

      const { text: metrics } = await server.call("GET", "/api/v1/metrics/prometheus")
      expect(metrics).toContain('certctl_issuance_total{issuer_type="GenericCA",outcome="success"} 2\n')
      expect(metrics).toContain('certctl_issuance_duration_seconds_count{issuer_type="GenericCA"} 2\n')
      expect(metrics).toContain('certctl_deploy_attempts_total{target_type="NGINX",result="success"} 2\n')
      expect(metrics).toContain('certctl_deploy_attempts_total{target_type="NGINX",result="failure"} 0\n')

      for (const path of ["audit?per_page=500", "certificates", "targets", "issuers", "agents", "jobs", "api-keys"]) {
        await server.get(`/api/v1/${path}`)
      }
      expect(await agent.stop()).toBe(0)
      expect(await server.stop()).toBe(0)
      const places = {
        database: await databaseContents(server.dataDir, env.CERTCTL_DATABASE_URL),
        "server's log": server.log(),
        "agent's log": agent.log(),
        answers: server.heard.join("\n"),
      }
      // The search finds what is there.
      for (const text of [places.database, places.answers]) expect(text).toContain("BEGIN CERTIFICATE-----")
      for (const [place, text] of Object.entries(places)) {
        expect([place, /PRIVATE KEY/.test(text)]).toEqual([place, false])
        for (const secret of [secretPart(deployedKey), secretPart(renewedKey), agent.apiKey, server.adminKey]) {
          expect([place, text.includes(secret)]).toEqual([place, false])
        }
      }
      expect(pemBlocks(renewedKey)).toHaveLength(1)
    })
  })
})
