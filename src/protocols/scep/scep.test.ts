import { afterEach, expect, test } from "bun:test"
import { type KeyObject, X509Certificate } from "node:crypto"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { readConfig } from "../../config"
import type { Db } from "../../db/db"
import { AppError } from "../../errors"
import { createRootAuthority, openAuthority } from "../../pki/authority"
import { parseCertificate } from "../../pki/certificate"
import { certsOnly } from "../../pki/certs-only"
import { readEnvelopedData, writeEnvelopedData } from "../../pki/cms-enveloped-data"
import { readSignedData } from "../../pki/cms-signed-data"
import { generateKey, privateKeyPem, spkiOf } from "../../pki/keys"
import { sanOf } from "../../pki/names"
import { oids } from "../../pki/oids"
import { openssl } from "../../pki/openssl.process"
import { pemBlocks } from "../../pki/pem"
import { damaged, sharedKey } from "../../pki/random.arbitrary"
import { openSealer } from "../../secrets/sealing"
import { onEachDialect } from "../../testing/on-each-dialect"
import {
  certificatesOf,
  csrWithChallenge,
  readReply,
  type ScepMessageParts,
  scepMessage,
  selfSigned,
} from "../../testing/scep-client"
import { wire } from "../../wiring"

const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
const proxy = "192.0.2.1"
const day = 86_400_000
const device = await sharedKey("rsa-2048")

const folders: string[] = []
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "certctl-scep-"))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

/** A CA elsewhere, which a test decides for. */
type Elsewhere = NonNullable<Parameters<typeof wire>[0]["openIssuer"]>

const wiredOn = (
  db: Db,
  time: { now: Date },
  env: Record<string, string>,
  serverId = "srv-test",
  openIssuer?: Elsewhere,
) =>
  wire({
    config: readConfig({
      CERTCTL_DATA_DIR: folder(),
      CERTCTL_SCEP_ENABLED: "true",
      CERTCTL_TRUSTED_PROXIES: proxy,
      CERTCTL_API_KEYS_NAMED: "root:root-key:admin,ops:ops-key",
      CERTCTL_RATE_LIMIT_ENABLED: "false",
      ...env,
    }),
    db,
    sealer,
    clock: { now: () => time.now },
    serverId,
    caFingerprint: "",
    ...(openIssuer === undefined ? {} : { openIssuer }),
  })

const open = { CERTCTL_SCEP_CHALLENGE_PASSWORD: "let me in" }

const serverOn = async (db: Db, env: Record<string, string> = open, openIssuer?: Elsewhere) => {
  const time = { now: new Date() }
  const wired = wiredOn(db, time, env, "srv-test", openIssuer)
  await wired.prepare()
  const request = (path: string, init: RequestInit = {}, remoteAddress = "198.51.100.7") =>
    wired.app.request(path, init, { remoteAddress })
  const api = async (method: string, path: string, body?: object, key = "root-key") => {
    const answer = await request(`/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: text === "" ? null : JSON.parse(text) }
  }
  const audits = async (action: string) => (await wired.services.audit.list({ action }, { page: 1, per_page: 50 })).rows
  const raDer = async (path = "/scep"): Promise<Buffer> => {
    const list = Buffer.from(await (await request(`${path}?operation=GetCACert`)).arrayBuffer())
    return readSignedData(list).certificates[0] ?? Buffer.alloc(0)
  }
  const post = (body: Buffer | string, path = "/scep", remoteAddress?: string) =>
    request(`${path}?operation=PKIOperation`, { method: "POST", body: body as BodyInit }, remoteAddress)
  /** Sends a message that is proper but for what is said, and reads the answer. */
  const send = async (
    parts: Partial<ScepMessageParts> & { challenge?: string; commonName?: string; path?: string; from?: string } = {},
  ) => {
    const { challenge = "let me in", commonName = "device-1", path = "/scep", from, key = device } = parts
    const message = scepMessage({
      content: csrWithChallenge(key, commonName, { challenge, sans: ["device-1.example.com"] }),
      certificateDer: await selfSigned(key, "whoever", time.now),
      raDer: await raDer(path),
      ...parts,
      key,
    })
    const answer = await post(message, path, from)
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/x-pki-message"])
    return readReply(Buffer.from(await answer.arrayBuffer()))
  }
  return { wired, request, api, audits, raDer, post, send, time }
}

type Server = Awaited<ReturnType<typeof serverOn>>

const enrolled = async (server: Server, parts: Parameters<Server["send"]>[0] = {}) => {
  const reply = await server.send(parts)
  expect([reply.status, reply.text]).toEqual(["0", null])
  const { ders } = certificatesOf(reply, parts.key ?? device)
  return parseCertificate(ders[0] ?? Buffer.alloc(0))
}

onEachDialect("SCEP", (openDb) => {
  test("tells what it can and its certificates: the RA first, signed by the CA", async () => {
    const server = await serverOn(await openDb())
    const caps = await server.request("/scep?operation=GetCACaps")
    expect(caps.headers.get("content-type")).toContain("text/plain")
    expect((await caps.text()).split("\n").filter((line) => line !== "")).toEqual([
      "POSTPKIOperation",
      "SHA-256",
      "AES",
      "SCEPStandard",
      "SHA-384",
      "SHA-512",
      "Renewal",
    ])
    const answer = await server.request("/scep/pkiclient.exe?operation=GetCACert&message=x")
    expect(answer.headers.get("content-type")).toBe("application/x-x509-ca-ra-cert")
    const [ra, ca] = readSignedData(Buffer.from(await answer.arrayBuffer())).certificates.map((der) =>
      parseCertificate(der),
    )
    expect(ra?.keyUsage).toEqual(["digitalSignature", "keyEncipherment"])
    expect(ra?.ekus).toEqual([oids.registrationAuthority])
    expect([ra?.isCa, ra?.keyAlgorithm, ca?.isCa]).toEqual([false, "RSA", true])
    expect(new X509Certificate(ra?.pem ?? "").verify(new X509Certificate(ca?.pem ?? "").publicKey)).toBe(true)
    for (const path of ["/scep", "/scep?operation=GetNextCACert"]) {
      expect((await server.request(path)).status).toBe(400)
    }
    expect((await server.request("/scep?operation=GetCACaps", { method: "POST", body: "x" })).status).toBe(400)
    expect((await server.request("/scep?operation=PKIOperation", { method: "PUT", body: "x" })).status).toBe(405)
    expect((await server.request("/scep/unknown?operation=GetCACaps")).status).toBe(404)
    expect((await server.request("/scep-mtls?operation=GetCACaps")).status).toBe(404)
  })

  test("enrols with the password; the certificate is managed, its client alone reads the answer", async () => {
    const server = await serverOn(await openDb())
    const senderNonce = Buffer.from("0123456789abcdef")
    const reply = await server.send({ transactionId: "tx-1", senderNonce })
    expect(reply).toMatchObject({ status: "0", failInfo: null, transactionId: "tx-1" })
    expect(reply.recipientNonce).toEqual(senderNonce)
    expect(reply.senderNonce).toHaveLength(16)
    expect(reply.signerDer).toEqual(await server.raDer())
    const { cipher, ders } = certificatesOf(reply, device)
    expect([cipher, ders.length]).toEqual(["aes-256-cbc", 2])
    const leaf = parseCertificate(ders[0] ?? Buffer.alloc(0))
    expect([leaf.commonName, leaf.sans.map(({ value }) => value)]).toEqual(["device-1", ["device-1.example.com"]])
    expect(leaf.spkiDer).toEqual(spkiOf(device))
    const { body } = await server.api("GET", "/certificates")
    expect(body.data).toMatchObject([
      { common_name: "device-1", source: "SCEP", status: "Active", owner_id: "o-system" },
    ])
    expect(body.data[0].name).toMatch(/^scep-device-1-[0-9a-f]{8}$/)
    const [event] = await server.audits("scep_pkcsreq")
    expect(event).toMatchObject({
      actor: "scep-client",
      actorType: "System",
      resourceId: leaf.serial,
      details: { result: "success", common_name: "device-1", transaction_id: "tx-1", protocol: "SCEP" },
    })
    expect(JSON.stringify(await server.audits("scep_pkcsreq"))).not.toContain("let me in")
    // The same by GET, where a careless client has not escaped its plus signs.
    const message = scepMessage({
      content: csrWithChallenge(device, "device-1", { challenge: "let me in" }),
      key: device,
      certificateDer: await selfSigned(device, "x", server.time.now),
      raDer: await server.raDer(),
      byKeyIdentifier: true,
      unsorted: true,
    }).toString("base64")
    for (const text of [message, encodeURIComponent(message)]) {
      const answer = await server.request(`/scep?operation=PKIOperation&message=${text}`)
      expect(readReply(Buffer.from(await answer.arrayBuffer())).status).toBe("0")
    }
  })

  test("reads BER, which Java and a streaming openssl write", async () => {
    const server = await serverOn(await openDb())
    const ra = parseCertificate(await server.raDer())
    const csr = csrWithChallenge(device, "device-1", { challenge: "let me in" })
    const args = ["cms", "-encrypt", "-binary", "-stream", "-aes256", "-in", "csr", "-outform", "PEM", "ra.pem"]
    const { text } = openssl(args, { csr, "ra.pem": ra.pem })
    const envelope = pemBlocks(text)[0]?.der ?? Buffer.alloc(0)
    expect(envelope.subarray(0, 2).toString("hex")).toBe("3080")
    expect((await server.send({ envelope })).status).toBe("0")
    const message = scepMessage({
      content: csr,
      envelope,
      key: device,
      certificateDer: await selfSigned(device, "x", server.time.now),
      raDer: ra.der,
    })
    // Tag and length of a message of this size take four bytes.
    const streamed = Buffer.concat([Buffer.from([0x30, 0x80]), message.subarray(4), Buffer.from([0, 0])])
    expect(readReply(Buffer.from(await (await server.post(streamed)).arrayBuffer())).status).toBe("0")
  })

  test("renews with the certificate that is replaced, for its names alone, as long as it is current", async () => {
    const server = await serverOn(await openDb())
    const first = await enrolled(server)
    const next = await sharedKey("rsa-3072")
    const renewal = {
      messageType: "17",
      certificateDer: first.der,
      content: csrWithChallenge(next, "device-1", { sans: ["device-1.example.com"] }),
    }
    const second = await enrolled(server, renewal)
    expect([second.subjectDn, second.spkiDer]).toEqual([first.subjectDn, spkiOf(next)])
    const { body } = await server.api("GET", "/certificates")
    expect(body.total).toBe(1)
    expect((await server.api("GET", `/certificates/${body.data[0].id}/versions`)).body.total).toBe(2)
    expect(await server.audits("scep_renewalreq")).toHaveLength(1)

    const refusal = async (parts: Parameters<Server["send"]>[0]) => (await server.send(parts)).failInfo
    const other = csrWithChallenge(device, "device-2", { sans: ["device-1.example.com"] })
    const wider = csrWithChallenge(device, "device-1", { sans: ["device-1.example.com", "evil.example.com"] })
    expect(await refusal({ ...renewal, content: other })).toBe("2")
    expect(await refusal({ ...renewal, content: wider })).toBe("2")
    expect(await refusal({ ...renewal, certificateDer: await selfSigned(device, "device-1", server.time.now) })).toBe(
      "4",
    )
    expect((await server.api("POST", `/certificates/${body.data[0].id}/revoke`, { reason: "superseded" })).status).toBe(
      200,
    )
    expect(await refusal(renewal)).toBe("4")
    const [event] = await server.audits("scep_renewalreq")
    expect(event?.details).toMatchObject({ result: "failure", fail_info: "badCertId", transaction_id: "a-transaction" })
  })

  test("who has a certificate already may sign the first message with it, and then still needs the password", async () => {
    const server = await serverOn(await openDb())
    const first = await enrolled(server)
    const next = await sharedKey("rsa-3072")
    const signedWith = (challenge: string) => ({
      certificateDer: first.der,
      content: csrWithChallenge(next, "device-9", { challenge }),
    })
    expect((await enrolled(server, signedWith("let me in"))).spkiDer).toEqual(spkiOf(next))
    expect((await server.send(signedWith(""))).failInfo).toBe("2")
  })

  test("a CA that fails gets a password back; one that decides later keeps it for the same CSR", async () => {
    const ca = { state: "fails" as "fails" | "waits" | "signs" }
    const root = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "Elsewhere",
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + 3650 * day),
    })
    const authority = openAuthority({ ...root, chainPem: root.certPem })
    const signed = async () => ({
      certPem: (
        await authority.sign({
          spkiDer: spkiOf(device),
          subjectCommonName: "device-1",
          sans: [sanOf("device-1.example.com")],
          ekus: ["clientAuth"],
          notBefore: new Date(Date.now() - 60_000),
          notAfter: new Date(Date.now() + 30 * day),
        })
      ).certPem,
      chainPem: root.certPem,
    })
    const server = await serverOn(await openDb(), open, async () => ({
      type: "Elsewhere",
      inProcess: false,
      connector: {
        async issue() {
          if (ca.state === "fails") throw new AppError("upstream", "the CA is down: secret-host-name")
          return ca.state === "waits" ? { orderId: "order-1" } : signed()
        },
        async orderStatus() {
          return ca.state === "signs" ? { state: "completed", ...(await signed()) } : { state: "pending" }
        },
        async revoke() {},
        async testConnection() {},
      },
    }))
    const { challenge } = (await server.api("POST", "/scep/challenges", {})).body
    const failed = await server.send({ challenge })
    expect([failed.failInfo, failed.text]).toEqual(["2", "the certificate was not issued"])

    ca.state = "waits"
    server.time.now = new Date(server.time.now.getTime() + 600_000)
    const message = async (commonName: string) =>
      scepMessage({
        content: csrWithChallenge(device, commonName, { challenge, sans: ["device-1.example.com"] }),
        key: device,
        certificateDer: await selfSigned(device, "x", server.time.now),
        raDer: await server.raDer(),
      })
    const answerTo = async (commonName: string) => {
      const answer = await server.post(await message(commonName))
      return answer.status === 200 ? readReply(Buffer.from(await answer.arrayBuffer())) : answer.status
    }
    expect(await answerTo("device-1")).toBe(503)
    expect(await answerTo("device-2")).toMatchObject({ failInfo: "2" })
    expect(await answerTo("device-1")).toBe(503)

    ca.state = "signs"
    server.time.now = new Date(server.time.now.getTime() + 3_600_000)
    const stop = new AbortController()
    for (let n = 0; n < 3; n++) await server.wired.services.processor.process(stop.signal)
    expect(await answerTo("device-1")).toMatchObject({ status: "0" })
    expect(await answerTo("device-1")).toMatchObject({ failInfo: "2" })
    const { body } = await server.api("GET", "/admin/scep/profiles")
    expect(body.profiles[0].counters).toMatchObject({ issuer_error: 3, success_pkcsreq: 1, auth_failed_challenge: 2 })
  })

  test("a certificate that has expired, or of another profile, renews nothing", async () => {
    const server = await serverOn(await openDb(), {
      ...open,
      CERTCTL_SCEP_PROFILES: "devices",
      CERTCTL_SCEP_PROFILE_DEVICES_ISSUER_ID: "iss-local",
      CERTCTL_SCEP_PROFILE_DEVICES_PROFILE_ID: "prof-devices",
      CERTCTL_SCEP_PROFILE_DEVICES_CHALLENGE_PASSWORD: "devices only",
    })
    const made = await server.api("POST", "/profiles", {
      id: "prof-devices",
      name: "devices",
      allowed_ekus: ["clientAuth"],
      max_ttl_seconds: 86_400,
      required_san_patterns: [".*example.com", "device-1"],
    })
    expect(made.status).toBe(201)
    const leaf = await enrolled(server, { path: "/scep/devices", challenge: "devices only" })
    expect(leaf.ekus).toEqual(["clientAuth"])
    expect((await server.send({ path: "/scep/devices" })).failInfo).toBe("2")
    expect((await server.send({ path: "/scep/devices", challenge: "devices only", commonName: "evil" })).failInfo).toBe(
      "2",
    )
    const [event] = await server.audits("scep_pkcsreq")
    expect(JSON.stringify(event?.details)).toContain("evil")
    const renewal = { messageType: "17", certificateDer: leaf.der }
    expect((await server.send({ ...renewal, path: "/scep" })).failInfo).toBe("4")
    expect((await server.send({ ...renewal, path: "/scep/devices" })).status).toBe("0")
    server.time.now = new Date(server.time.now.getTime() + 2 * day)
    expect((await server.send({ ...renewal, path: "/scep/devices" })).failInfo).toBe("4")
    const { body } = await server.api("GET", "/admin/scep/profiles")
    expect(body.profiles.map((row: { path_id: string }) => row.path_id)).toEqual(["", "devices"])
    expect(body.profiles[1]).toMatchObject({ profile_id: "prof-devices", challenge_password_set: true })
    expect(body.profiles[1].counters).toMatchObject({
      success_pkcsreq: 1,
      success_renewalreq: 1,
      auth_failed_challenge: 1,
      csr_policy_violation: 1,
      bad_certificate: 1,
    })
    expect(JSON.stringify(body)).not.toContain("devices only")
  })

  test("every refusal is an answer that says what was wrong", async () => {
    const server = await serverOn(await openDb())
    const refusal = async (parts: Parameters<Server["send"]>[0]) => {
      const { status, failInfo, envelope } = await server.send(parts)
      return [status, failInfo, envelope]
    }
    const failed = (failInfo: string) => ["2", failInfo, Buffer.alloc(0)]
    expect(await refusal({ hash: "sha1" })).toEqual(failed("0"))
    expect(await refusal({ cipher: "des-ede3-cbc" })).toEqual(failed("0"))
    expect(await refusal({ cipher: "des-cbc" })).toEqual(failed("0"))
    const ec = await sharedKey("ecdsa-p256")
    expect(await refusal({ key: ec })).toEqual(failed("0"))
    // Signed by another key than the certificate's; the envelope is for somebody else; it holds no CSR.
    const other = await sharedKey("rsa-3072")
    expect(await refusal({ key: other, certificateDer: await selfSigned(device, "x", server.time.now) })).toEqual(
      failed("1"),
    )
    expect(await refusal({ raDer: await selfSigned(other, "no RA", server.time.now) })).toEqual(failed("1"))
    expect(await refusal({ content: Buffer.from("no CSR") })).toEqual(failed("1"))
    expect(await refusal({ envelope: Buffer.from("no envelope") })).toEqual(failed("1"))
    expect(await refusal({ content: csrWithChallenge(other, "x", { challenge: "let me in" }) })).toEqual(failed("1"))
    expect(await refusal({ challenge: "wrong" })).toEqual(failed("2"))
    expect(await refusal({ challenge: "" })).toEqual(failed("2"))
    expect(await refusal({ content: csrWithChallenge(device, "device-1") })).toEqual(failed("2"))
    expect(await refusal({ commonName: "" })).toEqual(failed("2"))
    expect(await refusal({ messageType: "22" })).toEqual(failed("2"))
    expect(await refusal({ messageType: "99" })).toEqual(failed("2"))
    expect(await refusal({ senderNonce: null })).toEqual(failed("2"))
    expect(await refusal({ signingTime: new Date(server.time.now.getTime() - 2 * day) })).toEqual(failed("3"))
    expect(await refusal({ signingTime: new Date(server.time.now.getTime() - 600_000) })).toEqual([
      "0",
      null,
      expect.anything(),
    ])
    expect(await refusal({ messageType: "20" })).toEqual(failed("4"))
    expect((await server.api("GET", "/certificates")).body.total).toBe(1)
    const events = await server.audits("scep_pkcsreq")
    expect(events.filter(({ details }) => details.result === "failure")).toHaveLength(18)

    for (const body of ["", "!!!", "AAAA", Buffer.from([0x30, 0x80]), Buffer.from("30020500", "hex"), certsOnly([])]) {
      expect((await server.post(body)).status).toBe(400)
    }
    expect((await server.request("/scep?operation=PKIOperation")).status).toBe(400)
  })

  test("a message that was damaged on its way is refused, never a fault of the server", async () => {
    const server = await serverOn(await openDb())
    const message = scepMessage({
      content: csrWithChallenge(device, "device-1", { challenge: "let me in" }),
      key: device,
      certificateDer: await selfSigned(device, "x", server.time.now),
      raDer: await server.raDer(),
    })
    await fc.assert(
      fc.asyncProperty(damaged(message), async (bytes) => {
        const answer = await server.post(bytes)
        if (answer.status !== 200) expect(answer.status).toBe(400)
        else if (!bytes.equals(message)) {
          // What no signature covers, such as a version number, may be anything.
          expect(["0", "2"]).toContain(readReply(Buffer.from(await answer.arrayBuffer())).status)
        }
      }),
      { numRuns: 40 },
    )
  })

  test("no failure of opening an envelope can be told from another", async () => {
    const server = await serverOn(await openDb())
    const envelope = async () => {
      const csr = csrWithChallenge(device, "device-1", { challenge: "let me in" })
      return writeEnvelopedData(csr, await server.raDer(), "aes-128-cbc")
    }
    const answers = new Set<string>()
    const tell = async (envelope: Buffer) => {
      const { status, failInfo, text } = await server.send({ envelope })
      answers.add(JSON.stringify([status, failInfo, text]))
    }
    for (const at of [0, 100, 255]) {
      const broken = await envelope()
      const key = readEnvelopedData(broken).recipients[0]?.encryptedKey ?? Buffer.alloc(0)
      broken[broken.indexOf(key) + at] = (broken[broken.indexOf(key) + at] ?? 0) ^ 1
      await tell(broken)
    }
    for (const at of [1, 17, 40, 200]) {
      const broken = await envelope()
      broken[broken.length - at] = (broken[broken.length - at] ?? 0) ^ 1
      await tell(broken)
    }
    expect([...answers]).toEqual([
      JSON.stringify(["2", "1", "the request could not be decrypted, or holds no valid CSR"]),
    ])
  })

  test("old algorithms are taken where they are switched on, and answered in kind", async () => {
    const server = await serverOn(await openDb(), {
      ...open,
      CERTCTL_SCEP_ALLOW_3DES: "true",
      CERTCTL_SCEP_ALLOW_LEGACY: "true",
    })
    const caps = await (await server.request("/scep?operation=GetCACaps")).text()
    expect(caps).toContain("DES3\nSHA-1\n")
    const cipherOf = async (parts: Parameters<Server["send"]>[0]) =>
      certificatesOf(await server.send(parts), device).cipher
    expect(await cipherOf({ hash: "sha1", cipher: "des-cbc" })).toBe("des-cbc")
    expect(await cipherOf({ hash: "sha384", cipher: "des-ede3-cbc" })).toBe("des-ede3-cbc")
    expect(await cipherOf({ hash: "sha512", cipher: "aes-192-cbc" })).toBe("aes-256-cbc")
  })

  test("a password made for one enrolment lets one client in, at its path, in its time", async () => {
    const db = await openDb()
    const server = await serverOn(db, {
      ...open,
      CERTCTL_SCEP_PROFILES: "devices",
      CERTCTL_SCEP_PROFILE_DEVICES_ISSUER_ID: "iss-local",
      CERTCTL_SCEP_PROFILE_DEVICES_CHALLENGE_PASSWORD: "devices only",
    })
    const make = async (body: object) => (await server.api("POST", "/scep/challenges", body, "ops-key")).body.challenge
    const made = await server.api("POST", "/scep/challenges", { profile: "devices", ttl_seconds: 600 }, "ops-key")
    expect([made.status, made.body.profile]).toEqual([201, "devices"])
    expect(Date.parse(made.body.expires_at) - server.time.now.getTime()).toBe(600_000)
    const path = "/scep/devices"
    const { challenge } = made.body
    expect((await server.send({ challenge })).failInfo).toBe("2")
    const both = await Promise.all([server.send({ challenge, path }), server.send({ challenge, path })])
    expect(both.map(({ status }) => status).sort()).toEqual(["0", "2"])
    expect((await server.send({ challenge, path })).failInfo).toBe("2")
    const [{ hash = "" } = {}] = await db.read.select().from(db.t.scepChallenges)
    expect(hash).toMatch(/^[0-9a-f]{64}$/)

    // Nothing was issued: the device may come again with it.
    const again = await make({})
    expect((await server.send({ content: csrWithChallenge(device, "no name!", { challenge: again }) })).failInfo).toBe(
      "2",
    )
    expect((await server.send({ challenge: again })).status).toBe("0")

    const late = await make({ ttl_seconds: 60 })
    server.time.now = new Date(server.time.now.getTime() + 61_000)
    expect((await server.send({ challenge: late })).failInfo).toBe("2")
    expect((await server.api("POST", "/scep/challenges", { profile: "nobody" })).status).toBe(404)
    expect((await server.api("POST", "/scep/challenges", { ttl_seconds: 0 })).status).toBe(400)
    expect(JSON.stringify(await server.audits("scep_challenge_created"))).not.toContain(challenge)
  })

  test("guessing passwords ends, and so do too many enrolments of one device", async () => {
    const server = await serverOn(await openDb(), { ...open, CERTCTL_SCEP_RATE_LIMIT_PER_PRINCIPAL_24H: "2" })
    for (let n = 0; n < 10; n++) await server.send({ challenge: `guess ${n}` })
    const proper = scepMessage({
      content: csrWithChallenge(device, "device-1", { challenge: "let me in" }),
      key: device,
      certificateDer: await selfSigned(device, "x", server.time.now),
      raDer: await server.raDer(),
    })
    const stopped = await server.post(proper)
    expect([stopped.status, Number(stopped.headers.get("retry-after")) > 0]).toEqual([429, true])
    const status = async () => (await server.post(proper, "/scep", "198.51.100.8")).status
    expect([await status(), await status(), await status()]).toEqual([200, 200, 429])
    server.time.now = new Date(server.time.now.getTime() + 61 * 60_000)
    expect((await server.send({})).status).toBe("0")
  })

  test("a bare CSR is answered with a bare list: signed around or not, in base64 or not", async () => {
    const server = await serverOn(await openDb())
    const csr = csrWithChallenge(device, "minimal-1", { challenge: "let me in" })
    for (const body of [csr, csr.toString("base64"), `${csr.toString("base64").replace(/.{64}/g, "$&\r\n")}\r\n`]) {
      const answer = await server.post(body)
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/x-pki-message"])
      const { certificates } = readSignedData(Buffer.from(await answer.arrayBuffer()))
      expect(parseCertificate(certificates[0] ?? Buffer.alloc(0)).commonName).toBe("minimal-1")
    }
    const [event] = await server.audits("scep_pkcsreq")
    expect(event?.details).toMatchObject({ transaction_id: "minimal-1" })
    const wrong = await server.post(csrWithChallenge(device, "minimal-1", { challenge: "wrong" }))
    expect(wrong.status).toBe(403)
    expect((await server.post(csrWithChallenge(device, "not a name!", { challenge: "let me in" }))).status).toBe(500)
    const broken = Buffer.from(csr)
    broken[broken.length - 3] = (broken[broken.length - 3] ?? 0) ^ 1
    expect((await server.post(broken)).status).toBe(400)
  })

  test("at the other door a client certificate is asked for, from the proxy alone, besides the password", async () => {
    const bundle = join(folder(), "clients.pem")
    const maker = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "Device maker",
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + 3650 * day),
    })
    writeFileSync(bundle, maker.certPem)
    const client = await openAuthority({ ...maker, chainPem: maker.certPem }).sign({
      spkiDer: spkiOf(await generateKey("ecdsa-p256")),
      subjectCommonName: "device-1",
      sans: [sanOf("device-1.example.com")],
      ekus: ["clientAuth"],
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + day),
    })
    const server = await serverOn(await openDb(), {
      ...open,
      CERTCTL_SCEP_MTLS_ENABLED: "true",
      CERTCTL_SCEP_MTLS_CLIENT_CA_TRUST_BUNDLE_PATH: bundle,
    })
    const message = async (challenge: string) =>
      scepMessage({
        content: csrWithChallenge(device, "device-1", { challenge }),
        key: device,
        certificateDer: await selfSigned(device, "x", server.time.now),
        raDer: await server.raDer("/scep-mtls"),
      })
    const send = async (header: string | null, from: string, challenge = "let me in") => {
      const headers = { "x-forwarded-for": "203.0.113.9", ...(header === null ? {} : { "client-cert": header }) }
      const init = { method: "POST", body: (await message(challenge)) as BodyInit, headers }
      return server.request("/scep-mtls?operation=PKIOperation", init, from)
    }
    const presented = `:${client.der.toString("base64")}:`
    const good = await send(presented, proxy)
    expect(readReply(Buffer.from(await good.arrayBuffer())).status).toBe("0")
    const wrong = await send(presented, proxy, "wrong")
    expect(readReply(Buffer.from(await wrong.arrayBuffer())).failInfo).toBe("2")
    expect((await send(presented, "198.51.100.7")).status).toBe(401)
    expect((await send(null, proxy)).status).toBe(401)
    expect(await server.audits("scep_auth_failed_mtls")).toHaveLength(2)
    expect((await server.api("POST", "/admin/scep/reload-trust", {})).status).toBe(200)
    writeFileSync(bundle, "rubbish")
    expect((await server.api("POST", "/admin/scep/reload-trust", {})).status).toBe(500)
    expect((await send(presented, proxy)).status).toBe(200)
    expect((await server.api("POST", "/admin/scep/reload-trust", { path_id: "none" })).status).toBe(404)
    expect((await server.api("GET", "/admin/scep/profiles", undefined, "ops-key")).status).toBe(403)
  })

  test("several servers have one RA; it is replaced in time, and the former one still opens messages", async () => {
    const db = await openDb()
    const server = await serverOn(db)
    const others = [1, 2, 3].map((n) => wiredOn(db, server.time, open, `srv-${n}`))
    const tell = async () =>
      Promise.all(
        others.map(async ({ app }) => {
          const answer = await app.request("/scep?operation=GetCACert", {}, { remoteAddress: "198.51.100.7" })
          const list = readSignedData(Buffer.from(await answer.arrayBuffer()))
          return parseCertificate(list.certificates[0] ?? Buffer.alloc(0)).serial
        }),
      )
    const first = await server.raDer()
    expect(new Set(await tell())).toEqual(new Set([parseCertificate(first).serial]))
    // All at once on a database that has none.
    await db.transaction(async (tx) => {
      await tx.delete(db.t.scepRegistrationAuthorities)
    })
    const made = new Set(await tell())
    expect([made.size, made.has(parseCertificate(first).serial)]).toEqual([1, false])

    const before = await server.raDer()
    server.time.now = new Date(server.time.now.getTime() + 310 * day)
    const serials = new Set([...(await tell()), ...(await tell())])
    expect(serials.size).toBe(1)
    expect(made.isDisjointFrom(serials)).toBe(true)
    const reply = await server.send({ raDer: before })
    expect([reply.status, reply.signerDer]).toEqual(["0", before])
    expect(await server.audits("scep_ra_created")).toHaveLength(2)
    expect(await server.audits("scep_ra_rotated")).toHaveLength(1)
    const rows = await db.read.select().from(db.t.scepRegistrationAuthorities)
    expect(rows.map(({ state }) => state).sort()).toEqual(["current", "former"])
    expect(rows.every(({ encryptedKey }) => !encryptedKey.includes("PRIVATE KEY"))).toBe(true)

    server.time.now = new Date(server.time.now.getTime() + 60 * day)
    expect((await server.send({ raDer: before })).failInfo).toBe("1")
  })

  test("an RA pair of the operator's is used as it is, and looked at before the server starts", async () => {
    const at = folder()
    const [certPath, keyPath] = [join(at, "ra.pem"), join(at, "ra.key")]
    const pair = async (key: KeyObject, now = new Date()) => {
      const der = await selfSigned(key, "Our RA", now)
      writeFileSync(certPath, parseCertificate(der).pem)
      writeFileSync(keyPath, privateKeyPem(key), { mode: 0o600 })
      chmodSync(keyPath, 0o600)
      return der
    }
    const env = { ...open, CERTCTL_SCEP_RA_CERT_PATH: certPath, CERTCTL_SCEP_RA_KEY_PATH: keyPath }
    const own = await sharedKey("rsa-3072")
    const der = await pair(own)
    const db = await openDb()
    const server = await serverOn(db, env)
    expect(await server.raDer()).toEqual(der)
    expect((await server.send()).status).toBe("0")
    expect(await db.read.select().from(db.t.scepRegistrationAuthorities)).toHaveLength(0)

    const start = () => wiredOn(db, server.time, env)
    chmodSync(keyPath, 0o640)
    expect(start).toThrow("may be read by others")
    chmodSync(keyPath, 0o600)
    writeFileSync(keyPath, privateKeyPem(device))
    expect(start).toThrow("does not belong to")
    await pair(await sharedKey("ecdsa-p256"))
    expect(start).toThrow("must have an RSA key")
    await pair(own, new Date(Date.now() - 3 * day))
    expect(start).toThrow("expired")
    writeFileSync(certPath, "rubbish")
    expect(start).toThrow("no CERTIFICATE block")
    rmSync(certPath)
    expect(start).toThrow("cannot read")
  })
})

test("the configuration refuses what would be open or could not work", () => {
  const read = (env: Record<string, string>) => () =>
    readConfig({ CERTCTL_DATA_DIR: "/nowhere", CERTCTL_SCEP_ENABLED: "true", ...env })
  expect(read({})).toThrow("CERTCTL_SCEP_CHALLENGE_PASSWORD must be set")
  expect(read({ ...open, CERTCTL_SCEP_RA_CERT_PATH: "/x" })).toThrow("must be set together")
  expect(read({ ...open, CERTCTL_SCEP_MTLS_ENABLED: "true" })).toThrow("TRUST_BUNDLE_PATH must be set")
  expect(read({ ...open, CERTCTL_SCEP_PROFILES: "a b" })).toThrow("CERTCTL_SCEP_PROFILES")
  expect(read({ ...open, CERTCTL_SCEP_PROFILES: "dev" })).toThrow("CERTCTL_SCEP_PROFILE_DEV_ISSUER_ID must be set")
  const dev = { CERTCTL_SCEP_PROFILES: "dev", CERTCTL_SCEP_PROFILE_DEV_ISSUER_ID: "iss-local" }
  expect(read(dev)).toThrow("CERTCTL_SCEP_PROFILE_DEV_CHALLENGE_PASSWORD must be set")
  const named = { ...dev, CERTCTL_SCEP_PROFILE_DEV_CHALLENGE_PASSWORD: "p" }
  expect(read(named)().scep.profiles.map(({ pathId }) => pathId)).toEqual(["dev"])
  expect(read({ ...named, ...open })().scep.profiles.map(({ pathId }) => pathId)).toEqual(["", "dev"])
  expect(read({ ...named, CERTCTL_SCEP_PROFILES: "dev,DEV" })).toThrow("two profiles")
  expect(readConfig({ CERTCTL_DATA_DIR: "/nowhere" }).scep.profiles).toEqual([])
})
