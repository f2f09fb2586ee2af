import { afterEach, describe, expect, test } from "bun:test"
import { type KeyObject, X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readConfig } from "../../config"
import type { Db } from "../../db/db"
import { AppError } from "../../errors"
import { createRootAuthority, openAuthority } from "../../pki/authority"
import { parseCertificate } from "../../pki/certificate"
import { buildCsr } from "../../pki/csr"
import { generateKey, spkiOf } from "../../pki/keys"
import { sanOf } from "../../pki/names"
import { openssl } from "../../pki/openssl.process"
import { certificateBlocks, pemBlocks } from "../../pki/pem"
import { openSealer } from "../../secrets/sealing"
import { onEachDialect } from "../../testing/on-each-dialect"
import { wire } from "../../wiring"

const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
const proxy = "192.0.2.1"
const day = 86_400_000

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A CA elsewhere, which a test decides for. */
type Elsewhere = NonNullable<Parameters<typeof wire>[0]["openIssuer"]>

const serverOn = async (db: Db, env: Record<string, string>, openIssuer?: Elsewhere) => {
  const dataDir = mkdtempSync(join(tmpdir(), "certctl-est-"))
  folders.push(dataDir)
  const time = { now: new Date() }
  const wired = wire({
    config: readConfig({
      CERTCTL_DATA_DIR: dataDir,
      CERTCTL_EST_ENABLED: "true",
      CERTCTL_TRUSTED_PROXIES: proxy,
      CERTCTL_API_KEYS_NAMED: "root:root-key:admin,ops:ops-key",
      CERTCTL_RATE_LIMIT_ENABLED: "false",
      ...env,
    }),
    db,
    sealer,
    clock: { now: () => time.now },
    serverId: "srv-test",
    caFingerprint: "",
    ...(openIssuer === undefined ? {} : { openIssuer }),
  })
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
  return { wired, request, api, audits, dataDir, time }
}

type Server = Awaited<ReturnType<typeof serverOn>>

const basic = (password: string) => ({ authorization: `Basic ${Buffer.from(`any:${password}`).toString("base64")}` })

const csrFor = async (commonName = "device-1", sans: string[] = ["device-1.example.com"], key?: KeyObject) =>
  buildCsr({ commonName, sans, privateKey: key ?? (await generateKey("ecdsa-p256")) })

const derOf = (pem: string): Buffer => pemBlocks(pem)[0]?.der ?? Buffer.alloc(0)
const base64Of = (pem: string): string => derOf(pem).toString("base64")

/** The certificates of an answer, as openssl reads them. */
const certificatesIn = async (answer: Response): Promise<string[]> => {
  const der = Buffer.from(await answer.text(), "base64")
  const { ok, text } = openssl(["pkcs7", "-inform", "der", "-in", "a.der", "-print_certs"], { "a.der": der })
  if (!ok) throw new Error(text)
  return certificateBlocks(text).map(
    (block) => `-----BEGIN CERTIFICATE-----\n${block.toString("base64")}\n-----END CERTIFICATE-----\n`,
  )
}

const post = (server: Server, path: string, body: string, headers: Record<string, string> = {}) =>
  server.request(`/.well-known/${path}`, {
    method: "POST",
    body,
    headers: { "content-type": "application/pkcs10", ...headers },
  })

const openRoot = { CERTCTL_EST_ENROLLMENT_PASSWORD: "let me in" }

onEachDialect("EST", (openDb) => {
  test("gives the CA certificates, enrols, and enrols again; each time a version of one managed certificate", async () => {
    const db = await openDb()
    const server = await serverOn(db, openRoot)
    const cacerts = await server.request("/.well-known/est/cacerts")
    expect(cacerts.headers.get("content-type")).toBe("application/pkcs7-mime; smime-type=certs-only")
    expect(cacerts.headers.get("content-transfer-encoding")).toBe("base64")
    const [caPem = ""] = await certificatesIn(cacerts)
    expect(parseCertificate(caPem).isCa).toBe(true)

    const key = await generateKey("ecdsa-p256")
    for (const path of ["simpleenroll", "simplereenroll"]) {
      const answer = await post(
        server,
        `est/${path}`,
        base64Of(await csrFor("device-1", ["device-1.example.com"], key)),
        basic("let me in"),
      )
      expect(answer.status).toBe(200)
      expect(answer.headers.get("content-length")).toMatch(/^\d+$/)
      const [leafPem = ""] = await certificatesIn(answer)
      const leaf = parseCertificate(leafPem)
      expect([leaf.commonName, leaf.sans.map(({ value }) => value)]).toEqual(["device-1", ["device-1.example.com"]])
      expect(new X509Certificate(leafPem).verify(new X509Certificate(caPem).publicKey)).toBe(true)
      expect(leaf.spkiDer).toEqual(spkiOf(key))
    }

    const { body } = await server.api("GET", "/certificates")
    expect(body.total).toBe(1)
    expect(body.data[0]).toMatchObject({
      common_name: "device-1",
      source: "EST",
      status: "Active",
      owner_id: "o-system",
      team_id: "t-system",
      renewal_policy_id: "rp-default",
    })
    expect(body.data[0].name).toMatch(/^est-device-1-[0-9a-f]{8}$/)
    const versions = await server.api("GET", `/certificates/${body.data[0].id}/versions`)
    expect(versions.body.total).toBe(2)
    expect((await server.api("POST", `/certificates/${body.data[0].id}/renew`)).status).toBe(400)
    const [event] = await server.audits("est_simple_enroll")
    expect(event).toMatchObject({
      actor: "est-client",
      actorType: "System",
      resourceType: "certificate",
      resourceId: versions.body.data[1].serial_number,
      details: { common_name: "device-1", sans: ["device-1.example.com"], issuer_id: "iss-local", protocol: "EST" },
    })
    expect(await server.audits("est_simple_reenroll")).toHaveLength(1)
  })

  test("other names, and a revoked certificate, begin a managed certificate of their own", async () => {
    const db = await openDb()
    const server = await serverOn(db, openRoot)
    const enrol = async (commonName: string, sans: string[]) =>
      (await post(server, "est/simpleenroll", base64Of(await csrFor(commonName, sans)), basic("let me in"))).status
    expect(await enrol("a.example.com", ["a.example.com"])).toBe(200)
    expect(await enrol("a.example.com", ["A.example.com"])).toBe(200)
    expect(await enrol("a.example.com", ["b.example.com"])).toBe(200)
    const list = async () => (await server.api("GET", "/certificates?sort=createdAt")).body.data
    expect(await list()).toHaveLength(2)
    const [first] = await list()
    expect((await server.api("POST", `/certificates/${first.id}/revoke`, { reason: "keyCompromise" })).status).toBe(200)
    expect(await enrol("a.example.com", ["a.example.com"])).toBe(200)
    expect((await list()).map((row: { status: string }) => row.status).sort()).toEqual(["Active", "Active", "Revoked"])
  })

  test("reads base64 with line breaks, PEM and DER, and refuses everything else with 400", async () => {
    const db = await openDb()
    const server = await serverOn(db, openRoot)
    const pem = await csrFor()
    const send = async (body: string | Uint8Array) =>
      (
        await server.request("/.well-known/est/simpleenroll", {
          method: "POST",
          body: body as string,
          headers: { "content-type": "application/pkcs10", ...basic("let me in") },
        })
      ).status
    expect(await send(base64Of(pem).replace(/.{64}/g, "$&\r\n"))).toBe(200)
    expect(await send(pem)).toBe(200)
    expect(await send(new Uint8Array(derOf(pem)))).toBe(200)

    const broken = derOf(pem)
    broken[broken.length - 3] = (broken[broken.length - 3] ?? 0) ^ 1
    const noName = base64Of(await csrFor("", ["x.example.com"]))
    for (const bad of [
      "",
      "!!!",
      "AAAA",
      base64Of(pem).slice(0, 100),
      broken.toString("base64"),
      noName,
      "-----BEGIN X-----\nAA==\n-----END X-----\n",
    ]) {
      expect([bad.slice(0, 20), await send(bad)]).toEqual([bad.slice(0, 20), 400])
    }
    expect((await server.api("GET", "/certificates")).body.total).toBe(1)
    const { body } = await server.api("GET", "/admin/est/profiles")
    expect(body.profiles[0].counters).toMatchObject({ success_simpleenroll: 3, csr_signature_mismatch: 1 })
  })

  test("asks for the password, in constant words, and stops guessing", async () => {
    const db = await openDb()
    const server = await serverOn(db, openRoot)
    const body = base64Of(await csrFor())
    const none = await post(server, "est/simpleenroll", body)
    expect([none.status, none.headers.get("www-authenticate")]).toEqual([401, 'Basic realm="est-enrollment"'])
    const wrong = await post(server, "est/simpleenroll", body, basic("let me in!"))
    expect(await wrong.json()).toMatchObject({ message: (await none.json()).message })
    for (let n = 0; n < 8; n++) await post(server, "est/simpleenroll", body, basic("guess"))
    const stopped = await post(server, "est/simpleenroll", body, basic("let me in"))
    expect([stopped.status, Number(stopped.headers.get("retry-after")) > 0]).toEqual([429, true])
    const elsewhere = await server.request(
      "/.well-known/est/simpleenroll",
      { method: "POST", body, headers: basic("let me in") },
      "198.51.100.8",
    )
    expect(elsewhere.status).toBe(200)
    server.time.now = new Date(server.time.now.getTime() + 61 * 60_000)
    expect((await post(server, "est/simpleenroll", body, basic("let me in"))).status).toBe(200)
    const events = await server.audits("est_auth_failed_basic")
    expect(events).toHaveLength(10)
    expect(JSON.stringify(events)).not.toContain("guess")
  })

  test("a profile's rules hold, its usages and lifetime are what is issued, and its attributes are told", async () => {
    const db = await openDb()
    const server = await serverOn(db, {
      ...openRoot,
      CERTCTL_EST_PROFILES: "devices",
      CERTCTL_EST_PROFILE_DEVICES_ISSUER_ID: "iss-local",
      CERTCTL_EST_PROFILE_DEVICES_PROFILE_ID: "prof-devices",
      CERTCTL_EST_PROFILE_DEVICES_ENROLLMENT_PASSWORD: "devices only",
    })
    const made = await server.api("POST", "/profiles", {
      id: "prof-devices",
      name: "devices",
      allowed_ekus: ["clientAuth"],
      max_ttl_seconds: 86_400,
      allowed_key_algorithms: [{ algorithm: "ECDSA", min_size: 256 }],
      required_san_patterns: ["*.devices.example.com"],
      required_csr_attributes: ["1.2.840.113549.1.9.7"],
    })
    expect(made.status).toBe(201)
    const good = await post(
      server,
      "est/devices/simpleenroll",
      base64Of(await csrFor("d1.devices.example.com", ["d1.devices.example.com"])),
      basic("devices only"),
    )
    expect(good.status).toBe(200)
    const leaf = parseCertificate((await certificatesIn(good))[0] ?? "")
    expect(leaf.ekus).toEqual(["clientAuth"])
    expect(leaf.notAfter.getTime()).toBeLessThanOrEqual(server.time.now.getTime() + day)

    const odd = await post(
      server,
      "est/devices/simpleenroll",
      base64Of(await csrFor("evil.example.org", ["evil.example.org"])),
      basic("devices only"),
    )
    expect([odd.status, JSON.stringify(await odd.json())]).toEqual([500, expect.not.stringContaining("pattern")])
    const rsa = await csrFor("d2.devices.example.com", [], await generateKey("rsa-2048"))
    expect((await post(server, "est/devices/simpleenroll", base64Of(rsa), basic("devices only"))).status).toBe(500)
    expect(await server.audits("est_csr_policy_violation")).toHaveLength(2)
    expect((await post(server, "est/devices/simpleenroll", base64Of(rsa), basic("let me in"))).status).toBe(401)

    const attributes = await server.request("/.well-known/est/devices/csrattrs")
    expect(attributes.headers.get("content-type")).toBe("application/csrattrs")
    const { text } = openssl(["asn1parse", "-inform", "der", "-in", "a.der"], {
      "a.der": Buffer.from(await attributes.text(), "base64"),
    })
    expect(text).toContain("TLS Web Client Authentication")
    expect(text).toContain("challengePassword")
    expect((await server.request("/.well-known/est/csrattrs")).status).toBe(204)
    expect((await server.request("/.well-known/est/unknown/cacerts")).status).toBe(404)
    expect((await server.request("/.well-known/est/simpleenroll")).status).toBe(405)
  })

  test("a client certificate opens the other door: only through the proxy, of a trusted CA, for its own names", async () => {
    const db = await openDb()
    const folder = mkdtempSync(join(tmpdir(), "certctl-est-"))
    folders.push(folder)
    const bundle = join(folder, "clients.pem")
    const foreign = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "Device maker",
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + 3650 * day),
    })
    const maker = openAuthority({ certPem: foreign.certPem, chainPem: foreign.certPem, privateKey: foreign.privateKey })
    const clientOf = async (authority: typeof maker, ekus: string[]) =>
      authority.sign({
        spkiDer: spkiOf(await generateKey("ecdsa-p256")),
        subjectCommonName: "device-1",
        sans: [sanOf("device-1.example.com")],
        ekus,
        notBefore: new Date(Date.now() - day),
        notAfter: new Date(Date.now() + day),
      })
    writeFileSync(bundle, foreign.certPem)
    const server = await serverOn(db, {
      ...openRoot,
      CERTCTL_EST_MTLS_ENABLED: "true",
      CERTCTL_EST_MTLS_CLIENT_CA_TRUST_BUNDLE_PATH: bundle,
    })
    const enrol = async (path: string, certDer: Buffer | null, from = proxy, body?: string) => {
      const headers: Record<string, string> =
        certDer === null ? {} : { "client-cert": `:${certDer.toString("base64")}:` }
      const init = {
        method: "POST",
        body: body ?? base64Of(await csrFor()),
        headers: { ...headers, "x-forwarded-for": "203.0.113.9" },
      }
      return server.request(`/.well-known/est-mtls/${path}`, init, from)
    }
    const client = await clientOf(maker, ["clientAuth"])
    const first = await enrol("simpleenroll", client.der)
    expect(first.status).toBe(200)
    expect((await enrol("simpleenroll", client.der, "198.51.100.7")).status).toBe(401)
    expect((await enrol("simpleenroll", null)).status).toBe(401)
    expect((await enrol("simpleenroll", (await clientOf(maker, ["serverAuth"])).der)).status).toBe(401)
    const [caPem = ""] = certificateBlocks(await server.wired.services.issuers.caChainOf("iss-local")).map(
      (der) => parseCertificate(der).pem,
    )
    const issued = parseCertificate((await certificatesIn(first))[0] ?? "")
    // Issued by us, but our CA is not in the bundle.
    expect((await enrol("simplereenroll", issued.der)).status).toBe(401)
    expect(await server.audits("est_auth_failed_mtls")).toHaveLength(4)

    writeFileSync(bundle, foreign.certPem + caPem)
    const reload = (body: object, key?: string) => server.api("POST", "/admin/est/reload-trust", body, key)
    expect((await reload({}, "ops-key")).status).toBe(403)
    expect((await reload({})).body).toMatchObject({ reloaded: true, path_id: "" })
    expect((await reload({ path_id: "none" })).status).toBe(404)
    expect((await enrol("simplereenroll", issued.der)).status).toBe(200)
    // Somebody else's name, a certificate of another CA, and a revoked one prove nothing.
    const other = base64Of(await csrFor("device-2", ["device-2.example.com"]))
    expect((await enrol("simplereenroll", issued.der, proxy, other)).status).toBe(500)
    expect((await enrol("simplereenroll", client.der)).status).toBe(500)
    const { body } = await server.api("GET", "/certificates")
    await server.api("POST", `/certificates/${body.data[0].id}/revoke`)
    expect((await enrol("simplereenroll", issued.der)).status).toBe(500)

    writeFileSync(bundle, "nothing here")
    expect((await reload({})).status).toBe(500)
    expect((await enrol("simpleenroll", client.der)).status).toBe(200)
    const { body: shown } = await server.api("GET", "/admin/est/profiles")
    expect(shown.profiles[0]).toMatchObject({
      mtls_enabled: true,
      basic_auth_configured: true,
      trust_anchor_path: bundle,
    })
    expect(shown.profiles[0].trust_anchors).toHaveLength(2)
  })

  test("limits enrolments per client and day where that is configured", async () => {
    const db = await openDb()
    const server = await serverOn(db, { ...openRoot, CERTCTL_EST_RATE_LIMIT_PER_PRINCIPAL_24H: "2" })
    const enrol = async (commonName: string) =>
      (await post(server, "est/simpleenroll", base64Of(await csrFor(commonName)), basic("let me in"))).status
    expect([await enrol("a"), await enrol("a"), await enrol("a"), await enrol("b")]).toEqual([200, 200, 429, 200])
    expect(await server.audits("est_rate_limited")).toHaveLength(1)
    server.time.now = new Date(server.time.now.getTime() + day + 1000)
    expect(await enrol("a")).toBe(200)
  })

  test("a profile that needs an approval, or is disabled, enrols nobody", async () => {
    const db = await openDb()
    const server = await serverOn(db, { ...openRoot, CERTCTL_EST_PROFILE_ID: "prof-strict" })
    await server.api("POST", "/profiles", { id: "prof-strict", name: "strict", requires_approval: true })
    const status = async () =>
      (await post(server, "est/simpleenroll", base64Of(await csrFor()), basic("let me in"))).status
    expect(await status()).toBe(500)
    await server.api("PUT", "/profiles/prof-strict", { requires_approval: false, enabled: false })
    expect(await status()).toBe(500)
    await server.api("PUT", "/profiles/prof-strict", { enabled: true })
    expect(await status()).toBe(200)
  })

  test("a CA that fails is a failure on record; one that decides later is asked for again with the same CSR", async () => {
    const ca = { state: "fails" as "fails" | "waits" | "signs" }
    const root = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "Elsewhere",
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + 3650 * day),
    })
    const authority = openAuthority({ ...root, chainPem: root.certPem })
    const key = await generateKey("ecdsa-p256")
    const signed = async () => {
      const { certPem } = await authority.sign({
        spkiDer: spkiOf(key),
        subjectCommonName: "device-1",
        sans: [sanOf("device-1.example.com")],
        ekus: ["clientAuth"],
        notBefore: new Date(Date.now() - 60_000),
        notAfter: new Date(Date.now() + 30 * day),
      })
      return { certPem, chainPem: root.certPem }
    }
    const server = await serverOn(await openDb(), openRoot, async () => ({
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
        async caChain() {
          return root.certPem
        },
        async revoke() {},
        async testConnection() {},
      },
    }))
    const body = base64Of(await csrFor("device-1", ["device-1.example.com"], key))
    const enrol = () => post(server, "est/simpleenroll", body, basic("let me in"))
    const failed = await enrol()
    expect([failed.status, await failed.text()]).toEqual([500, expect.not.stringContaining("secret-host-name")])
    const [event] = await server.audits("est_simple_enroll_failed")
    expect(event?.details).toMatchObject({ common_name: "device-1" })

    ca.state = "waits"
    server.time.now = new Date(server.time.now.getTime() + 600_000)
    for (let n = 0; n < 2; n++) {
      const later = await enrol()
      expect([later.status, later.headers.get("retry-after"), await later.text()]).toEqual([202, "60", ""])
    }

    ca.state = "signs"
    server.time.now = new Date(server.time.now.getTime() + 3_600_000)
    for (let n = 0; n < 3; n++) await server.wired.services.processor.process(new AbortController().signal)
    const done = await enrol()
    expect(done.status).toBe(200)
    expect(parseCertificate((await certificatesIn(done))[0] ?? "").spkiDer).toEqual(spkiOf(key))
    const { body: list } = await server.api("GET", "/certificates")
    expect(list.total).toBe(1)
    expect((await server.api("GET", `/certificates/${list.data[0].id}/versions`)).body.total).toBe(1)
  })

  test("is not there while it is off", async () => {
    const db = await openDb()
    const server = await serverOn(db, { CERTCTL_EST_ENABLED: "false" })
    expect((await server.request("/.well-known/est/cacerts")).status).toBe(404)
    expect((await post(server, "est/simpleenroll", base64Of(await csrFor()))).status).toBe(404)
  })

  test("concurrent enrolments of one device share its managed certificate", async () => {
    const db = await openDb()
    const server = await serverOn(db, openRoot)
    const statuses = await Promise.all(
      Array.from(
        { length: 8 },
        async () => (await post(server, "est/simpleenroll", base64Of(await csrFor()), basic("let me in"))).status,
      ),
    )
    expect(new Set(statuses)).toEqual(new Set([200]))
    const { body } = await server.api("GET", "/certificates")
    expect(body.total).toBe(1)
    expect((await server.api("GET", `/certificates/${body.data[0].id}/versions`)).body.total).toBe(8)
  })
})

describe("EST configuration", () => {
  const refusal = (env: Record<string, string>): string => {
    try {
      readConfig({ CERTCTL_DATA_DIR: "/tmp/none", CERTCTL_EST_ENABLED: "true", ...env })
      return "accepted"
    } catch (error) {
      if (error instanceof AppError) return error.message
      throw error
    }
  }
  const password = { CERTCTL_EST_ENROLLMENT_PASSWORD: "x" }
  const cases: [string, Record<string, string>, string][] = [
    ["an open root path", {}, "open to everybody"],
    [
      "an open profile",
      { ...password, CERTCTL_EST_PROFILES: "a", CERTCTL_EST_PROFILE_A_ISSUER_ID: "iss-local" },
      "open to everybody",
    ],
    [
      "a profile without issuer",
      { ...password, CERTCTL_EST_PROFILES: "a" },
      "CERTCTL_EST_PROFILE_A_ISSUER_ID must be set",
    ],
    ["a bad path label", { ...password, CERTCTL_EST_PROFILES: "-a" }, "letters, digits"],
    ["channel binding", { ...password, CERTCTL_EST_CHANNEL_BINDING_REQUIRED: "true" }, "cannot be offered"],
    ["key generation", { ...password, CERTCTL_EST_SERVERKEYGEN_ENABLED: "true" }, "cannot be offered"],
    ["an unknown mode", { ...password, CERTCTL_EST_ALLOWED_AUTH_MODES: "magic" }, "basic and mtls"],
    ["mtls listed while off", { ...password, CERTCTL_EST_ALLOWED_AUTH_MODES: "mtls" }, "MTLS_ENABLED is off"],
    ["mtls without bundle", { ...password, CERTCTL_EST_MTLS_ENABLED: "true" }, "TRUST_BUNDLE_PATH must be set"],
    ["a negative limit", { ...password, CERTCTL_EST_RATE_LIMIT_PER_PRINCIPAL_24H: "-1" }, "at least 0"],
  ]
  for (const [what, env, words] of cases)
    test(`${what} is refused at the start`, () => expect(refusal(env)).toContain(words))
  test("two profiles on one path are refused", () => {
    const twice = {
      CERTCTL_EST_PROFILES: "a-b,a_b",
      CERTCTL_EST_PROFILE_A_B_ISSUER_ID: "i",
      CERTCTL_EST_PROFILE_A_B_ENROLLMENT_PASSWORD: "y",
    }
    expect(refusal({ ...password, ...twice })).toContain("two profiles")
  })
  test("anonymous enrolment has to be allowed by name", () => {
    expect(refusal({ CERTCTL_EST_ALLOW_ANONYMOUS: "true" })).toBe("accepted")
  })
})
