/** SCEP with a client made of openssl, which can also do what no proper one does: every answer of RFC 8894 section 3.2.1.4. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { parseCertificate } from "../pki/certificate"
import { type OpensslScepMessage, opensslScepClient } from "../testing/openssl-scep-client"
import { peer } from "../testing/peers"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const openssl = peer("openssl", "openssl")
const password = "for every device"
const name = "device-1.devices.example"
const ecKey = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]

describe.skipIf(openssl === null)("a client made of openssl", () => {
  let stage: Stage
  let server: ServerProcess
  let client: ReturnType<typeof opensslScepClient>
  /** A CSR with the password. */
  let good: string
  beforeEach(async () => {
    stage = openStage()
    server = await serverProcess(stage, {
      env: {
        CERTCTL_SERVER_TLS: "off",
        CERTCTL_SCEP_ENABLED: "true",
        CERTCTL_SCEP_CHALLENGE_PASSWORD: password,
        CERTCTL_SCEP_PROFILE_ID: "prof-devices",
      },
    })
    await server.start()
    const profile = { id: "prof-devices", name: "devices", required_san_patterns: ["*.devices.example"] }
    await server.post("/api/v1/profiles", profile)
    client = opensslScepClient(stage, openssl ?? "", `${server.url}/scep`)
    await client.fetchCertificates()
    await client.key("device")
    good = await client.csr("device", name, password)
  })
  afterEach(() => stage.end())

  const total = async (): Promise<number> => (await server.get("/api/v1/certificates")).total
  const audits = async (action: string): Promise<{ details: Record<string, unknown> }[]> =>
    (await server.get(`/api/v1/audit?action=${action}&per_page=100`)).data

  test("has a certificate issued and renews it, by either message, as long as it is current", async () => {
    expect(await client.capabilities()).toContain("Renewal")
    const reply = await client.send({ signer: "device", content: good, transactionId: "first-1" })
    expect(reply).toMatchObject({ pkiStatus: "0", failInfo: null, transactionId: "first-1" })
    expect(reply.recipientNonce).toBe(client.nonce)
    const first = await client.open(reply, "device", "first")
    expect(
      await client.ssl("verify", "-x509_strict", "-CAfile", client.at("ca.pem"), client.at("first.pem")),
    ).toContain("OK")
    expect(await client.ssl("pkey", "-in", client.at("device.key"), "-pubout")).toBe(
      await client.ssl("x509", "-in", client.at("first.pem"), "-noout", "-pubkey"),
    )

    // Signed with the certificate that is replaced, no password, a new key: RenewalReq (17), or PKCSReq (19) as before the RFC.
    const seen = [first]
    let signer = "first"
    await client.ssl("pkey", "-in", client.at("device.key"), "-out", client.at("first.key"))
    for (const messageType of [17, 19]) {
      const next = `renewed-${messageType}`
      await client.key(next)
      const renewal = await client.send({ signer, messageType, content: await client.csr(next, name) })
      expect([renewal.pkiStatus, renewal.failInfo]).toEqual(["0", null])
      seen.push(await client.open(renewal, signer, next))
      signer = next
    }
    expect(await total()).toBe(1)
    const { data } = await server.get("/api/v1/certificates")
    const { data: versions } = await server.get(`/api/v1/certificates/${data[0].id}/versions`)
    expect(versions.map((version: { serial_number: string }) => version.serial_number).sort()).toEqual(
      seen.map((pem) => parseCertificate(pem).serial).sort(),
    )
    expect([(await audits("scep_pkcsreq")).length, (await audits("scep_renewalreq")).length]).toEqual([1, 2])

    // Another name is no renewal, and a revoked certificate proves nothing.
    const other = await client.csr(signer, "device-2.devices.example")
    expect(await client.send({ signer, messageType: 19, content: other })).toMatchObject({ failInfo: "2" })
    expect(await client.send({ signer, messageType: 17, content: other })).toMatchObject({ failInfo: "2" })
    await server.post(`/api/v1/certificates/${data[0].id}/revoke`, { reason: "keyCompromise" })
    const same = await client.csr(signer, name)
    expect(await client.send({ signer, messageType: 19, content: same })).toMatchObject({ failInfo: "2" })
    expect(await client.send({ signer, messageType: 17, content: same })).toMatchObject({ failInfo: "4" })
    expect(await total()).toBe(1)
  })

  test("is told every failInfo, on record, and nothing is issued", async () => {
    await client.key("other")
    await client.key("curve", ecKey)
    const rubbish = client.at("rubbish")
    writeFileSync(rubbish, "no CSR")
    const proper = { signer: "device", content: good }
    const csr = (challenge?: string, commonName = name) => client.csr("device", commonName, challenge)
    const cases: readonly (readonly [what: string, failInfo: string, message: OpensslScepMessage])[] = [
      ["signed with SHA-1", "0", { ...proper, digest: "sha1" }],
      ["triple DES", "0", { ...proper, cipher: "des3" }],
      ["single DES", "0", { ...proper, cipher: "des" }],
      // Nothing can be encrypted to such a key (RFC 8894 section 3.1 would use the password).
      ["a key for signing only", "0", { signer: "curve", content: await client.csr("curve", name, password) }],
      ["the signature of another key", "1", { ...proper, signingKey: "other.key" }],
      ["encrypted to somebody else", "1", { ...proper, recipient: "other.pem" }],
      ["no CSR inside", "1", { ...proper, content: rubbish }],
      ["a CSR for another key", "1", { ...proper, content: await client.csr("other", name, password) }],
      ["a wrong password", "2", { ...proper, content: await csr("a guess") }],
      ["no password", "2", { ...proper, content: await csr() }],
      ["a name that the profile forbids", "2", { ...proper, content: await csr(password, "odd.example.org") }],
      ["no sender nonce", "2", { ...proper, hasSenderNonce: false }],
      ["GetCert", "2", { ...proper, messageType: 21 }],
      ["GetCRL", "2", { ...proper, messageType: 22 }],
      ["a type that is none", "2", { ...proper, messageType: 99 }],
      ["a clock that is two days slow", "3", { ...proper, signingTime: new Date(Date.now() - 2 * 86_400_000) }],
      ["CertPoll", "4", { ...proper, messageType: 20 }],
      ["a renewal with a certificate that is not ours", "4", { ...proper, messageType: 17 }],
    ]
    for (const [what, failInfo, message] of cases) {
      const { content, ...reply } = await client.send({ ...message, transactionId: `try-${what.replaceAll(" ", "-")}` })
      expect([what, reply.pkiStatus, reply.failInfo]).toEqual([what, "2", failInfo])
      expect(reply.transactionId).toBe(`try-${what.replaceAll(" ", "-")}`)
      expect(reply.recipientNonce).toBe(message.hasSenderNonce === false ? null : client.nonce)
      expect(await Bun.file(content).text()).toBe("")
    }
    expect(await total()).toBe(0)
    const names = ["badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId"]
    const events = [...(await audits("scep_pkcsreq")), ...(await audits("scep_renewalreq"))]
    expect(events.map(({ details }) => details.fail_info).sort()).toEqual(
      cases.map(([, failInfo]) => names[Number(failInfo)]).sort(),
    )
    expect(JSON.stringify(events)).not.toContain(password)

    const reply = await client.send({ ...proper, signingTime: new Date(), digest: "sha512", cipher: "aes256" })
    expect([reply.pkiStatus, await total()]).toEqual(["0", 1])
  })
})
