/** SCEP with the clients that people have: strongSwan's `pki` and micromdm's `scepclient` enrol and renew. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, readPrivateKey } from "../pki/keys"
import { openssl } from "../pki/openssl.process"
import { peer } from "../testing/peers"
import { runner } from "../testing/runner"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { executable, openStage, type Stage } from "../testing/stage"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const pki = peer("pki", "strongswan-pki")
const scepclient = peer("scepclient", "scep")

let stage: Stage | undefined
afterEach(() => stage?.end())

/** Plain HTTP, as between a proxy that ends TLS and the server: neither client can be told which CA to trust for TLS. */
const scepServer = async (env: Record<string, string> = {}): Promise<{ server: ServerProcess; here: Stage }> => {
  const here = openStage()
  stage = here
  const server = await serverProcess(here, {
    env: {
      CERTCTL_SERVER_TLS: "off",
      CERTCTL_SCEP_ENABLED: "true",
      CERTCTL_SCEP_CHALLENGE_PASSWORD: "for every device",
      ...env,
    },
  })
  await server.start()
  return { server, here }
}

const versionsOf = async (server: ServerProcess) => {
  const { data } = await server.get("/api/v1/certificates")
  expect(data).toHaveLength(1)
  expect(data[0]).toMatchObject({ source: "SCEP", status: "Active" })
  return { certificate: data[0], versions: (await server.get(`/api/v1/certificates/${data[0].id}/versions`)).data }
}

describe.skipIf(pki === null)("strongSwan's pki", () => {
  test("finds RA and CA, enrols with a password for it alone, and renews, also after the server was killed", async () => {
    const { server, here } = await scepServer()
    const run = runner(here)
    const program = pki ?? ""
    const url = `${server.url}/scep`
    const at = (name: string) => here.at(name)
    await run([program, "--scepca", "--url", url, "--caout", at("ca.pem"), "--raout", at("ra.pem"), "--outform", "pem"])
    const ra = parseCertificate(readFileSync(at("ra.pem"), "utf8"))
    expect(ra.commonName).toStartWith("SCEP RA for ")

    const keyTo = async (name: string): Promise<string> => {
      const pem = await run([program, "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem"])
      writeFileSync(at(name), pem, { mode: 0o600 })
      return pem
    }
    const request = (key: string, more: string[]): [string, ...string[]] => [
      program,
      "--scep",
      ...["--url", url, "--in", at(key), "--outform", "pem"],
      ...["--dn", "C=CH, O=Acme, CN=device-1.example.com", "--san", "device-1.example.com"],
      ...["--cacert-enc", at("ra.pem"), "--cacert-sig", at("ra.pem"), "--cacert", at("ca.pem")],
      ...more,
    ]
    const challenge = await run([executable, "scep", "challenge", "--ttl", "10m"], {
      CERTCTL_SERVER_URL: server.url,
      CERTCTL_API_KEY: server.adminKey,
    })
    const firstKey = await keyTo("first.key")
    const first = await run(request("first.key", ["--password", challenge.trim()]))
    writeFileSync(at("first.pem"), first)
    expect(keysMatch(readPrivateKey(firstKey), parseCertificate(first).der)).toBe(true)
    expect(parseCertificate(first).subjectDn).toBe("CN=device-1.example.com,O=Acme,C=CH")
    const files = { "ca.pem": readFileSync(at("ca.pem")), "leaf.pem": first }
    expect(openssl(["verify", "-CAfile", "ca.pem", "leaf.pem"], files)).toMatchObject({ ok: true })
    const again = await run(request("first.key", ["--password", challenge.trim()]), {}, 1)
    expect(again).toContain("badRequest")

    const secondKey = await keyTo("second.key")
    const proof = (name: string) => ["--cert", at(`${name}.pem`), "--key", at(`${name}.key`)]
    const second = await run(request("second.key", proof("first")))
    writeFileSync(at("second.pem"), second)
    expect(keysMatch(readPrivateKey(secondKey), parseCertificate(second).der)).toBe(true)

    // The client remembers the RA; the server must too.
    await server.kill()
    await server.start()
    await keyTo("third.key")
    const third = await run(request("third.key", [...proof("second"), "--digest", "sha512"]))
    const { versions } = await versionsOf(server)
    expect(versions.map((version: { serial_number: string }) => version.serial_number).sort()).toEqual(
      [first, second, third].map((pem) => parseCertificate(pem).serial).sort(),
    )

    const { certificate } = await versionsOf(server)
    await server.post(`/api/v1/certificates/${certificate.id}/revoke`, { reason: "keyCompromise" })
    expect(await run(request("second.key", proof("second")), {}, 1)).toContain("badCertId")
    const old = await run(request("first.key", ["--password", "for every device", "--cipher", "des3"]), {}, 1)
    expect(old).toContain("badAlg")
  })
})

describe.skipIf(scepclient === null)("micromdm's scepclient", () => {
  const options = async (server: ServerProcess, here: Stage): Promise<[string, ...string[]]> => {
    // It wants to be told which of the certificates it encrypts to.
    const answer = await fetch(`${server.url}/scep?operation=GetCACert`)
    const list = Buffer.from(await answer.arrayBuffer())
    const { text } = openssl(["pkcs7", "-inform", "DER", "-in", "list", "-print_certs"], { list })
    const ra = createHash("sha256").update(parseCertificate(text).der).digest("hex")
    return [
      scepclient ?? "",
      ...["-server-url", `${server.url}/scep`, "-ca-fingerprint", ra, "-cn", "mdm-1", "-challenge", "for every device"],
      ...["-private-key", here.at("client.key"), "-certificate", here.at("client.pem")],
    ]
  }

  test("enrols and renews where old algorithms are allowed", async () => {
    const { server, here } = await scepServer({ CERTCTL_SCEP_ALLOW_LEGACY: "true" })
    const run = runner(here)
    const argv = await options(server, here)
    const issued: string[] = []
    for (let n = 0; n < 2; n++) {
      await run(argv)
      const certificate = parseCertificate(readFileSync(here.at("client.pem"), "utf8"))
      expect(certificate.commonName).toBe("mdm-1")
      expect(keysMatch(readPrivateKey(readFileSync(here.at("client.key"), "utf8")), certificate.der)).toBe(true)
      issued.push(certificate.serial)
    }
    const { versions } = await versionsOf(server)
    expect(versions.map((version: { serial_number: string }) => version.serial_number).sort()).toEqual(issued.sort())
    const { data } = await server.get("/api/v1/audit?action=scep_renewalreq")
    expect(data).toHaveLength(1)
  })

  test("is told that its algorithms are not accepted where they are not", async () => {
    const { server, here } = await scepServer()
    expect(await runner(here)(await options(server, here), {}, 1)).toContain("badAlg")
    expect((await server.get("/api/v1/certificates")).total).toBe(0)
  })
})
