/** The local CA's root is rolled over: what was issued before and after stays valid for whoever trusts either root. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseCertificate } from "../pki/certificate"
import { type Enrolled, estCaCertificates, estEnrol, estEnvironment } from "../testing/est-client"
import { freePort } from "../testing/free-port"
import { onEachDatabase, type Scene } from "../testing/on-each-database"
import { peer } from "../testing/peers"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { executable } from "../testing/stage"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const openssl = peer("openssl", "openssl")
const certtool = peer("certtool", "gnutls-bin")

interface Root {
  readonly key_id: string
  readonly state: string
  readonly cert_pem: string
  readonly new_with_old_pem?: string
  readonly old_with_new_pem?: string
}

const startServer = async ({ stage, env }: Scene, name: string, adminKey?: string) => {
  const pkiPort = await freePort()
  const pkiUrl = `http://127.0.0.1:${pkiPort}`
  const server = await serverProcess(stage, {
    name,
    ...(adminKey === undefined ? {} : { adminKey }),
    env: { ...env, ...estEnvironment, CERTCTL_PKI_HTTP_PORT: String(pkiPort), CERTCTL_PKI_URL: pkiUrl },
  })
  await server.start()
  return { server, pkiUrl }
}

const download = async (url: string): Promise<Buffer> => {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
  return Buffer.from(await answer.arrayBuffer())
}

/** Runs openssl on files of its own. */
const tool = (folder: string) => {
  mkdirSync(folder, { recursive: true })
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(folder, name), content)
    return name
  }
  const run = (...args: string[]): string => {
    const { stdout, stderr } = Bun.spawnSync([openssl ?? "", ...args], { cwd: folder })
    return stdout.toString() + stderr.toString()
  }
  return {
    verify: (leafPem: string, trusted: string, untrusted = "", options: string[] = []): string =>
      run(
        ...["verify", "-x509_strict", ...options, "-CAfile", file("trusted.pem", trusted)],
        ...(untrusted === "" ? [] : ["-untrusted", file("untrusted.pem", untrusted)]),
        file("leaf.pem", leafPem),
      ).trim(),
    gnutls(leafPem: string, trusted: string, chainPem: string): string {
      const files = [
        "--load-ca-certificate",
        file("trusted.pem", trusted),
        "--infile",
        file("leaf.pem", leafPem + chainPem),
      ]
      const { stdout, stderr } = Bun.spawnSync([certtool ?? "", "--verify", ...files], { cwd: folder })
      const text = stdout.toString() + stderr.toString()
      return /Chain verification output: (.*)/.exec(text)?.[1]?.trim() ?? text
    },
    crlPem: (der: Buffer): string => run("crl", "-inform", "DER", "-in", file("list.der", der)),
    async ocsp(url: string, issuerPem: string, leafPem: string, trusted: string): Promise<string> {
      const args = ["ocsp", "-issuer", file("issuer.pem", issuerPem), "-cert", file("leaf.pem", leafPem)]
      // Of its own process, so that it does not keep this one from anything.
      const asked = Bun.spawn(
        [openssl ?? "", ...args, "-CAfile", file("trusted.pem", trusted), "-url", url, "-no_nonce"],
        { cwd: folder, stdout: "pipe", stderr: "pipe" },
      )
      const text = (await new Response(asked.stdout).text()) + (await new Response(asked.stderr).text())
      return text.includes("Response verify OK") ? (/leaf\.pem: (\w+)/.exec(text)?.[1] ?? text) : text
    },
  }
}

describe.skipIf(openssl === null)("a roll-over of the root", () => {
  onEachDatabase("of the local CA", (open) => {
    test("leaves old and new certificates valid for whoever trusts either root", async () => {
      const scene = await open()
      const { server, pkiUrl } = await startServer(scene, "first")
      // Where the database allows it the second half is another server's.
      const isShared = scene.env.CERTCTL_DATABASE_URL !== undefined
      const other = isShared ? await startServer(scene, "second", server.adminKey) : { server, pkiUrl }
      const { verify, gnutls, crlPem, ocsp } = tool(scene.stage.at("openssl"))
      const rootsOf = async (at: ServerProcess): Promise<Root[]> =>
        (await at.get("/api/v1/issuers/iss-local/roots")).data
      const rollOver = async (body: object = {}): Promise<Root[]> =>
        (await server.post("/api/v1/issuers/iss-local/roots", body)).data
      const device = (n: number, at = server): Promise<Enrolled> =>
        estEnrol(at, { commonName: `device-${n}.example`, sans: [`device-${n}.example`] })

      const before = await device(1)
      // Used once, so that what it keeps in memory is of the time before.
      await device(2, other.server)
      expect(await server.stop()).toBe(0)
      await server.start()
      const [first] = await rootsOf(server)
      expect(first).toMatchObject({ state: "active", cert_pem: before.chainPem })

      const [second, former, ...none] = await rollOver()
      expect(none).toEqual([])
      if (first === undefined || second === undefined || former === undefined) throw new Error("a root is missing")
      expect(second.state).toBe("active")
      expect(former).toMatchObject({ key_id: first.key_id, state: "former" })
      const after = await device(3, other.server)
      expect(parseCertificate(after.leafPem).aki).toBe(second.key_id)
      expect(after.chainPem).toBe((second.new_with_old_pem ?? "") + first.cert_pem)

      expect(await server.stop()).toBe(0)
      await server.start()
      expect(await rootsOf(other.server)).toEqual([second, former])
      const ok = "leaf.pem: OK"
      const strict = ["-crl_check_all"]
      const lists = async (url: string) => {
        const urls = [first, second].map(({ key_id }) => `${url}/.well-known/pki/crl/iss-local?ca=${key_id}`)
        return (await Promise.all(urls.map(download))).map(crlPem).join("")
      }
      const checked = async ({ leafPem, chainPem }: Enrolled, trusted: Root): Promise<string> =>
        verify(leafPem, trusted.cert_pem + (await lists(pkiUrl)), chainPem, strict)
      for (const url of new Set([pkiUrl, other.pkiUrl])) {
        const all = await lists(url)
        // Nothing but what a TLS server sends, nothing but the one root.
        expect(verify(before.leafPem, first.cert_pem + all, before.chainPem, strict)).toBe(ok)
        expect(verify(after.leafPem, first.cert_pem + all, after.chainPem, strict)).toBe(ok)
        expect(verify(after.leafPem, second.cert_pem + all, after.chainPem, strict)).toBe(ok)
        expect(verify(after.leafPem, second.cert_pem)).toBe(ok)
        // Whoever has only the new root accepts the old ones by the certificate the new root made for the former.
        expect(verify(before.leafPem, second.cert_pem + all, second.old_with_new_pem, strict)).toBe(ok)
      }
      if (certtool !== null) {
        const trusted = "Verified. The certificate is trusted."
        for (const root of [first, second]) expect(gnutls(after.leafPem, root.cert_pem, after.chainPem)).toBe(trusted)
        expect(gnutls(before.leafPem, second.cert_pem, second.old_with_new_pem ?? "")).toBe(trusted)
      }
      // Without the certificate in between there is no way from one root to the other.
      expect(verify(after.leafPem, first.cert_pem)).toContain("unable to get local issuer certificate")
      expect(verify(before.leafPem, second.cert_pem)).toContain("unable to get local issuer certificate")

      for (const root of [first, second]) {
        const der = await download(`${other.pkiUrl}/.well-known/pki/ca/iss-local?ca=${root.key_id}`)
        expect(parseCertificate(der).pem).toBe(root.cert_pem)
      }
      expect(await estCaCertificates(other.server)).toEqual([
        second.cert_pem,
        first.cert_pem,
        second.new_with_old_pem ?? "",
        second.old_with_new_pem ?? "",
      ])

      const ocspUrl = `${other.pkiUrl}/.well-known/pki/ocsp/iss-local`
      expect(await ocsp(ocspUrl, first.cert_pem, before.leafPem, first.cert_pem)).toBe("good")
      expect(await ocsp(ocspUrl, second.cert_pem, after.leafPem, second.cert_pem)).toBe("good")
      for (const [{ serial }, reason] of [
        [before, "keyCompromise"],
        [after, "superseded"],
      ] as const) {
        const found = await server.get(`/api/v1/certificates?q=${serial}`)
        expect(found.total).toBe(1)
        await server.post(`/api/v1/certificates/${found.data[0].id}/revoke`, { reason })
      }
      expect(await checked(before, first)).toContain("certificate revoked")
      expect(await checked(after, second)).toContain("certificate revoked")
      expect(await checked(after, first)).toContain("certificate revoked")
      expect(await ocsp(ocspUrl, first.cert_pem, before.leafPem, first.cert_pem)).toBe("revoked")
      expect(await ocsp(ocspUrl, second.cert_pem, after.leafPem, second.cert_pem)).toBe("revoked")

      // Twice over, with another kind of key: each generation of clients is led to the newest.
      const issuers = (...args: string[]): string => {
        const environment = {
          CERTCTL_SERVER_URL: other.server.url,
          CERTCTL_API_KEY: other.server.adminKey,
          CERTCTL_SERVER_CA_BUNDLE_PATH: join(other.server.dataDir, "tls/ca.pem"),
        }
        const { stdout, stderr } = Bun.spawnSync([executable, "issuers", ...args], { env: environment })
        return stdout.toString() + stderr.toString()
      }
      expect(issuers("roll-over", "iss-local", "--key-type", "rsa-2048")).toContain(`${second.key_id}  former`)
      const [third] = await rootsOf(server)
      const newest = await device(4, other.server)
      for (const trusted of [first, second, third]) {
        expect(verify(newest.leafPem, trusted?.cert_pem ?? "", newest.chainPem)).toBe(ok)
      }
      expect(issuers("retire-root", "iss-local", first.key_id)).toContain(`${first.key_id}  retired`)
      expect(issuers("roots", "iss-local").match(/active|former|retired/g)).toEqual(["active", "former", "retired"])
      const last = await device(5, other.server)
      expect(verify(last.leafPem, second.cert_pem, last.chainPem)).toBe(ok)
      expect(verify(last.leafPem, first.cert_pem, last.chainPem)).toContain("error")
      // It still tells of revocations.
      expect(await checked(before, first)).toContain("certificate revoked")
      expect(await ocsp(ocspUrl, first.cert_pem, before.leafPem, first.cert_pem)).toBe("revoked")
      expect(await server.stop()).toBe(0)
    })
  })
})
