import { afterEach, describe, expect, test } from "bun:test"
import { createHmac, X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readConfig } from "../../config"
import type { Db } from "../../db/db"
import { AppError } from "../../errors"
import { parseCertificate } from "../../pki/certificate"
import { generateKey, spkiOf } from "../../pki/keys"
import { certificateBlocks } from "../../pki/pem"
import { openSealer } from "../../secrets/sealing"
import { type AcmeAnswer, type AcmeClient, acmeClient, acmeKey, signJws } from "../../testing/acme-client"
import { onEachDialect, openBeside } from "../../testing/on-each-dialect"
import { until } from "../../testing/until"
import { wire } from "../../wiring"
import type { WiringOptions } from "../../wiring/options"

const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
const publicUrl = "https://ca.example.test:8443"
const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const serverOn = async (
  db: Db,
  env: Record<string, string> = {},
  { serverId = "srv-test", ...options }: Partial<Pick<WiringOptions, "serverId" | "acmeProofs" | "openIssuer">> = {},
) => {
  const dataDir = mkdtempSync(join(tmpdir(), "certctl-acme-"))
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const time = { now: new Date() }
  const wired = wire({
    config: readConfig({
      CERTCTL_DATA_DIR: dataDir,
      CERTCTL_PUBLIC_URL: publicUrl,
      CERTCTL_ACME_SERVER_ENABLED: "true",
      CERTCTL_ACME_SERVER_DEFAULT_PROFILE_ID: "prof-web",
      CERTCTL_API_KEYS_NAMED: "root:root-key:admin,ops:ops-key",
      CERTCTL_RATE_LIMIT_ENABLED: "false",
      ...env,
    }),
    db,
    sealer,
    clock: { now: () => time.now },
    serverId,
    caFingerprint: "",
    ...options,
  })
  await wired.prepare()
  const send = (url: string, init: RequestInit = {}) => wired.app.request(url, init, { remoteAddress: "198.51.100.7" })
  const api = async (method: string, path: string, body?: object, key = "root-key") => {
    const answer = await send(`${publicUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, text, body: text.startsWith("{") ? JSON.parse(text) : null }
  }
  const profile = async (settings: object = {}) => {
    const made = await api("POST", "/profiles", { id: "prof-web", name: "web", ...settings })
    expect(made.status).toBe(201)
  }
  const client = (path = "/acme/directory", ...key: [ReturnType<typeof acmeKey>?]) =>
    acmeClient(send, publicUrl + path, ...key)
  const audits = async (action: string) => (await wired.services.audit.list({ action }, { page: 1, per_page: 50 })).rows
  const { server } = wired.services.acme
  if (server === null) throw new Error("the ACME server is off")
  return { wired, acme: server, send, api, profile, client, audits, time }
}

type Server = Awaited<ReturnType<typeof serverOn>>

const problem = ({ status, headers, body }: AcmeAnswer) => {
  expect(headers.get("content-type")).toBe("application/problem+json")
  expect(headers.get("replay-nonce")).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(body.status).toBe(status)
  return [status, String(body.type).replace("urn:ietf:params:acme:error:", "")]
}

const registered = async (server: Server, ...how: Parameters<Server["client"]>): Promise<AcmeClient> => {
  const client = server.client(...how)
  const answer = await client.register()
  expect(answer.status).toBe(201)
  return client
}

/** From the order to the PEM chain. */
const issue = async (client: AcmeClient, ...names: string[]) => {
  const order = await client.order(...names)
  expect([order.status, order.body.status]).toEqual([201, "ready"])
  const done = await client.finalize(order)
  expect([done.status, done.body.status]).toEqual([200, "valid"])
  const { status, text, headers } = await client.post(done.body.certificate)
  expect([status, headers.get("content-type")]).toEqual([200, "application/pem-certificate-chain"])
  return { order, url: String(order.headers.get("location")), pem: text, privateKey: done.privateKey }
}

const certIdOf = (pem: string): string => {
  const { aki, serial } = parseCertificate(pem)
  const bytes = Buffer.from(serial, "hex")
  const signed = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes
  return `${Buffer.from(aki ?? "", "hex").toString("base64url")}.${signed.toString("base64url")}`
}

const revocation = (pem: string, reason?: number) => ({
  certificate: certificateBlocks(pem)[0]?.toString("base64url"),
  ...(reason === undefined ? {} : { reason }),
})

onEachDialect("ACME", (openDb, dialect) => {
  test("gives its directory per profile and for the default one, and nonces by HEAD and GET", async () => {
    const server = await serverOn(await openDb(), { CERTCTL_ACME_SERVER_WEBSITE: "https://example.test/" })
    await server.profile()
    for (const path of ["/acme", "/acme/profile/prof-web"]) {
      const { base, ask } = server.client(`${path}/directory`)
      const directory = await ask(`${base}/directory`)
      expect(directory.body).toEqual({
        newNonce: `${base}/new-nonce`,
        newAccount: `${base}/new-account`,
        newOrder: `${base}/new-order`,
        keyChange: `${base}/key-change`,
        revokeCert: `${base}/revoke-cert`,
        renewalInfo: `${base}/renewal-info`,
        meta: { website: "https://example.test/", externalAccountRequired: false },
      })
      const nonces = new Set<string | null>()
      for (const [method, status] of [
        ["HEAD", 200],
        ["GET", 204],
      ] as const) {
        const answer = await ask(`${base}/new-nonce`, { method })
        expect([answer.status, answer.headers.get("cache-control")]).toEqual([status, "no-store"])
        expect(answer.headers.get("link")).toBe(`<${base}/directory>;rel="index"`)
        nonces.add(answer.headers.get("replay-nonce"))
      }
      expect(nonces.size).toBe(2)
    }
    const nowhere = await server.send(`${publicUrl}/acme/profile/none/directory`)
    expect([nowhere.status, nowhere.headers.get("content-type")]).toEqual([404, "application/problem+json"])
    expect((await server.send(`${publicUrl}/acme/new-order`)).status).toBe(405)
  })

  test("without a default profile the short path asks for another one", async () => {
    const server = await serverOn(await openDb(), { CERTCTL_ACME_SERVER_DEFAULT_PROFILE_ID: "" })
    const answer = await server.send(`${publicUrl}/acme/directory`)
    expect([answer.status, (await answer.json()).type]).toEqual([403, "urn:ietf:params:acme:error:userActionRequired"])
  })

  test("an account orders, gets its certificate and a managed one beside it, and renews into the same", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    const client = await registered(server)
    const first = await issue(client, "www.example.com", "Example.COM", "www.example.com")
    const leaf = new X509Certificate(first.pem)
    expect(leaf.subjectAltName).toBe("DNS:www.example.com, DNS:example.com")
    expect(parseCertificate(first.pem).spkiDer).toEqual(spkiOf(first.privateKey))
    const second = await issue(client, "example.com", "www.example.com")
    expect(new X509Certificate(second.pem).serialNumber).not.toBe(leaf.serialNumber)

    const { body } = await server.api("GET", "/certificates")
    expect(body.total).toBe(1)
    expect(body.data[0]).toMatchObject({
      common_name: "example.com",
      source: "ACME",
      status: "Active",
      owner_id: "o-system",
      certificate_profile_id: "prof-web",
    })
    expect(body.data[0].id).toMatch(/^mc-acme-/)
    expect((await server.api("GET", `/certificates/${body.data[0].id}/versions`)).body.total).toBe(2)
    expect((await server.api("POST", `/certificates/${body.data[0].id}/renew`)).status).toBe(400)
    const [created] = await server.audits("acme_account_created")
    expect(created?.actor).toMatch(/^acme:acme-acc-/)
    expect(await server.audits("acme_order_created")).toHaveLength(2)
    expect(await server.audits("acme_order_finalized")).toHaveLength(2)
    const metrics = (await server.api("GET", "/metrics/prometheus")).text
    expect(metrics).toContain('certctl_acme_finalize_total{result="success"} 2\n')
  })

  test("accounts of one name have managed certificates of their own", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    const [one, two] = [await registered(server), await registered(server)]
    const mine = await issue(one, "shared.example.com")
    await issue(two, "shared.example.com")
    expect((await server.api("GET", "/certificates")).body.total).toBe(2)
    expect((await one.post(`${one.base}/revoke-cert`, revocation(mine.pem))).status).toBe(200)
    const { body } = await server.api("GET", "/certificates")
    expect(body.data.map(({ status }: { status: string }) => status).sort()).toEqual(["Active", "Revoked"])
  })

  test("takes ES256, ES384, RS256 and EdDSA, and nothing weaker", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    for (const algorithm of ["ES256", "ES384", "RS256", "EdDSA"] as const) {
      const client = await registered(server, "/acme/directory", acmeKey(algorithm))
      expect((await issue(client, `${algorithm.toLowerCase()}.example.com`)).pem).toContain("BEGIN CERTIFICATE")
    }
    const client = server.client()
    const url = `${client.base}/new-account`
    for (const alg of ["none", "HS256", "ES512", "RS1"]) {
      const odd = await client.post(url, {}, { alg })
      expect(problem(odd)).toEqual([400, "badSignatureAlgorithm"])
      expect(odd.body.algorithms).toEqual(["ES256", "ES384", "RS256", "EdDSA"])
    }
    // An algorithm that is not the key's.
    expect(problem(await client.post(url, {}, { alg: "ES384" }))).toEqual([400, "malformed"])
    expect(problem(await client.post(url, {}, { jwk: { kty: "RSA", n: "AQAB", e: "AQAB" } }))).toEqual([
      400,
      "badPublicKey",
    ])
    expect(problem(await client.post(url, {}, { jwk: { ...client.key.jwk, d: "AAAA" } }))).toEqual([400, "malformed"])
  })

  test("refuses what is not signed as it should be, with the problem that says so", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    const client = await registered(server)
    const url = `${client.base}/new-order`
    const payload = { identifiers: [{ type: "dns", value: "a.example.com" }] }
    const header = async () => ({ nonce: await client.freshNonce(), url, kid: client.account })
    const signed = async (extra: object = {}) => signJws(client.key, { ...(await header()), ...extra }, payload)

    const replayed = await signed()
    expect((await client.send(url, replayed)).status).toBe(201)
    expect(problem(await client.send(url, replayed))).toEqual([400, "badNonce"])
    expect(problem(await client.send(url, await signed({ nonce: "AAAA" })))).toEqual([400, "badNonce"])
    expect(problem(await client.send(url, await signed({ nonce: "not base64url!" })))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, await signed({ nonce: undefined })))).toEqual([400, "badNonce"])

    expect(problem(await client.send(url, signJws(acmeKey(), await header(), payload)))).toEqual([400, "malformed"])
    const changed = { ...(await signed()), payload: Buffer.from("{}").toString("base64url") }
    expect(problem(await client.send(url, changed))).toEqual([400, "malformed"])
    // A forged request has used no nonce up.
    const nonce = await client.freshNonce()
    const forged = { ...(await signed({ nonce })), signature: "AAAA" }
    expect(problem(await client.send(url, forged))).toEqual([400, "malformed"])
    expect((await client.send(url, signJws(client.key, { nonce, url, kid: client.account }, payload))).status).toBe(201)

    expect(problem(await client.send(url, await signed({ url: `${url}/` })))).toEqual([403, "unauthorized"])
    expect(problem(await client.send(url, await signed({ url: url.replace("https", "http") })))).toEqual([
      403,
      "unauthorized",
    ])
    expect(problem(await client.send(url, await signed({ kid: `${client.account}x` })))).toEqual([
      400,
      "accountDoesNotExist",
    ])
    expect(problem(await client.send(url, await signed({ kid: "https://other.test/acct/1" })))).toEqual([
      400,
      "accountDoesNotExist",
    ])
    expect(problem(await client.send(url, await signed({ jwk: client.key.jwk })))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, await signed({ kid: undefined })))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, await signed({ kid: undefined, jwk: client.key.jwk })))).toEqual([
      400,
      "malformed",
    ])
    expect(problem(await client.send(url, await signed({ crit: ["b64"], b64: false })))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, { ...(await signed()), header: {} }))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, { ...(await signed()), signatures: [] }))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, [await signed()]))).toEqual([400, "malformed"])
    expect(problem(await client.send(url, await signed(), "application/json"))).toEqual([415, "malformed"])
    expect(problem(await client.ask(url, { method: "POST", body: "" }))).toEqual([415, "malformed"])

    server.time.now = new Date(server.time.now.getTime() + 6 * minute)
    expect(problem(await client.send(url, await signed()))).toEqual([400, "badNonce"])
  })

  test("a nonce is good for one request, however many come at once, and on every server", async () => {
    const db = await openDb()
    const server = await serverOn(db)
    await server.profile()
    const beside = dialect === "sqlite" ? server : await serverOn(await openBeside(db), {}, { serverId: "srv-beside" })
    const client = await registered(server)
    const url = client.account
    const jws = signJws(client.key, { nonce: await client.freshNonce(), url, kid: url }, undefined)
    const init = { method: "POST", body: JSON.stringify(jws), headers: { "content-type": "application/jose+json" } }
    const answers = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => (await (n % 2 ? server : beside).send(url, init)).status),
    )
    expect(answers.filter((status) => status === 200)).toHaveLength(1)
    expect(answers.filter((status) => status === 400)).toHaveLength(11)
  })

  test("accounts are found again, changed, deactivated and then nobody's", async () => {
    const server = await serverOn(await openDb(), { CERTCTL_ACME_SERVER_TOS_URL: "https://example.test/terms" })
    await server.profile()
    const client = server.client()
    const url = `${client.base}/new-account`
    expect(problem(await client.post(url, { onlyReturnExisting: true }))).toEqual([400, "accountDoesNotExist"])
    expect(problem(await client.post(url, {}))).toEqual([403, "userActionRequired"])
    expect(problem(await client.register({ contact: ["tel:+123"] }))).toEqual([400, "unsupportedContact"])
    expect(problem(await client.register({ contact: ["mailto:a@b.test,c@d.test"] }))).toEqual([400, "invalidContact"])
    expect(problem(await client.register({ contact: "mailto:a@b.test" }))).toEqual([400, "malformed"])
    const made = await client.register({ contact: ["mailto:a@b.test"] })
    expect([made.status, made.body]).toEqual([201, { status: "valid", contact: ["mailto:a@b.test"] }])
    const again = await client.register()
    expect([again.status, again.headers.get("location")]).toEqual([200, made.headers.get("location")])
    expect((await client.post(client.account)).body.contact).toEqual(["mailto:a@b.test"])
    expect((await client.post(client.account, { contact: [] })).body.contact).toEqual([])
    expect(problem(await client.post(client.account, { status: "revoked" }))).toEqual([400, "malformed"])

    const other = await registered(server)
    expect(problem(await other.post(client.account))).toEqual([403, "unauthorized"])
    const order = await client.order("a.example.com")
    expect(problem(await other.post(String(order.headers.get("location"))))).toEqual([403, "unauthorized"])
    expect(problem(await other.post(order.body.authorizations[0]))).toEqual([403, "unauthorized"])

    expect((await client.post(client.account, { status: "deactivated" })).body.status).toBe("deactivated")
    expect(problem(await client.post(client.account))).toEqual([403, "unauthorized"])
    expect(problem(await client.order("b.example.com"))).toEqual([403, "unauthorized"])
    expect(
      problem(await client.post(url, { termsOfServiceAgreed: true }, { kid: undefined, jwk: client.key.jwk })),
    ).toEqual([403, "unauthorized"])
    for (const action of ["created", "updated", "deactivated"]) {
      expect((await server.audits(`acme_account_${action}`)).length).toBeGreaterThan(0)
    }
    const listed = await server.api("GET", "/admin/acme/accounts")
    expect(listed.body.data.map(({ status }: { status: string }) => status)).toEqual(
      expect.arrayContaining(["valid", "deactivated"]),
    )
    expect((await server.api("GET", "/admin/acme/accounts", undefined, "ops-key")).status).toBe(403)
    const id = other.account.split("/").at(-1)
    expect((await server.api("POST", `/admin/acme/accounts/${id}/revoke`)).body.status).toBe("revoked")
    expect((await server.api("POST", `/admin/acme/accounts/${id}/revoke`)).status).toBe(400)
    expect(problem(await other.order("c.example.com"))).toEqual([403, "unauthorized"])
  })

  test("one key has one account, however often it asks at once; another profile has another", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    await server.api("POST", "/profiles", { id: "prof-other", name: "other" })
    const key = acmeKey()
    const answers = await Promise.all(Array.from({ length: 8 }, () => server.client("/acme/directory", key).register()))
    expect(new Set(answers.map(({ headers }) => headers.get("location"))).size).toBe(1)
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 200, 200, 200, 201])
    const elsewhere = await registered(server, "/acme/profile/prof-other/directory", key)
    expect(
      problem(
        await server
          .client("/acme/directory", key)
          .post(`${publicUrl}/acme/new-order`, {}, { kid: elsewhere.account, jwk: undefined }),
      ),
    ).toEqual([400, "accountDoesNotExist"])
  })

  test("an account changes its key; the old one opens nothing, and nobody else's is taken", async () => {
    const server = await serverOn(await openDb(), { CERTCTL_ACME_SERVER_RATE_LIMIT_KEY_CHANGE_PER_HOUR: "2" })
    await server.profile()
    const client = await registered(server)
    const other = await registered(server)
    const taken = await client.changeKey(other.key)
    expect(problem(taken)).toEqual([409, "malformed"])
    expect(taken.headers.get("location")).toBe(other.account)
    const url = `${client.base}/key-change`
    const next = acmeKey("ES384")
    const inner = (payload: object, header: object = {}) => signJws(next, { jwk: next.jwk, url, ...header }, payload)
    const right = { account: client.account, oldKey: client.key.jwk }
    expect(problem(await client.post(url, inner({ ...right, account: other.account })))).toEqual([400, "malformed"])
    expect(problem(await client.post(url, inner({ ...right, oldKey: next.jwk })))).toEqual([400, "malformed"])
    expect(problem(await client.post(url, inner(right, { url: `${url}x` })))).toEqual([400, "malformed"])
    expect(problem(await client.post(url, inner(right, { nonce: "AAAA" })))).toEqual([400, "malformed"])
    expect(problem(await client.post(url, { ...inner(right), signature: "AAAA" }))).toEqual([400, "malformed"])

    const former = client.key
    expect((await client.changeKey(next)).status).toBe(200)
    expect((await client.post(client.account)).body.status).toBe("valid")
    const old = signJws(
      former,
      { nonce: await client.freshNonce(), url: client.account, kid: client.account },
      undefined,
    )
    expect(problem(await client.send(client.account, old))).toEqual([400, "malformed"])
    expect((await client.changeKey(acmeKey())).status).toBe(200)
    const limited = await client.changeKey(acmeKey())
    expect(problem(limited)).toEqual([429, "rateLimited"])
    expect(Number(limited.headers.get("retry-after"))).toBeGreaterThan(0)
    expect(await server.audits("acme_account_key")).toHaveLength(2)
    expect(JSON.stringify(await server.audits("acme_account_key"))).not.toContain("PUBLIC KEY")
  })

  test("orders only what a certificate may have", async () => {
    const server = await serverOn(await openDb())
    await server.profile({ required_san_patterns: ["*.example.com"] })
    const client = await registered(server)
    const url = `${client.base}/new-order`
    const ordered = (...identifiers: object[]) => client.post(url, { identifiers })
    expect(problem(await ordered({ type: "ip", value: "192.0.2.1" }))).toEqual([400, "unsupportedIdentifier"])
    for (const value of [
      "192.0.2.1",
      "a..example.com",
      "a_b.*.example.com",
      "x y.example.com",
      "",
      "a.example.org",
      "ex\u0430mple.example.com",
    ]) {
      expect([value, ...problem(await ordered({ type: "dns", value }))]).toEqual([
        value,
        400,
        value === "" ? "rejectedIdentifier" : "rejectedIdentifier",
      ])
    }
    expect(problem(await ordered())).toEqual([400, "malformed"])
    const many = Array.from({ length: 101 }, (_, n) => ({ type: "dns", value: `n${n}.example.com` }))
    expect(problem(await ordered(...many))).toEqual([400, "malformed"])
    const dated = { identifiers: [{ type: "dns", value: "a.example.com" }], notAfter: "2031-01-01T00:00:00Z" }
    expect(problem(await client.post(url, dated))).toEqual([400, "malformed"])
    expect(problem(await client.post(url, "text"))).toEqual([400, "malformed"])
    await server.api("PUT", "/profiles/prof-web", { requires_approval: true })
    expect(problem(await client.order("a.example.com"))).toEqual([403, "unauthorized"])
    await server.api("PUT", "/profiles/prof-web", { requires_approval: false, enabled: false })
    expect(problem(await client.order("a.example.com"))).toEqual([403, "unauthorized"])
  })

  test("takes a CSR for exactly the names of the order, within the profile's rules", async () => {
    const server = await serverOn(await openDb())
    await server.profile({ allowed_key_algorithms: [{ algorithm: "ECDSA", min_size: 384 }] })
    const client = await registered(server)
    const order = await client.order("a.example.com", "*.example.com")
    const privateKey = await generateKey("ecdsa-p384")
    const refused = async (csr: Parameters<AcmeClient["finalize"]>[1]) =>
      problem(await client.finalize(order, { privateKey, ...csr }))
    expect(await refused({ names: ["a.example.com"] })).toEqual([400, "badCSR"])
    expect(await refused({ names: ["a.example.com", "*.example.com", "b.example.com"] })).toEqual([400, "badCSR"])
    expect(await refused({ commonName: "b.example.com" })).toEqual([400, "badCSR"])
    expect(await refused({ names: ["a.example.com", "*.example.com", "192.0.2.1"] })).toEqual([400, "badCSR"])
    expect(await refused({ privateKey: await generateKey("ecdsa-p256") })).toEqual([400, "badCSR"])
    for (const csr of ["AAAA", "!", "", 7]) {
      expect(problem(await client.post(order.body.finalize, { csr }))[0]).toBe(400)
    }
    // None of it has ended the order.
    const done = await client.finalize(order, { privateKey })
    expect(done.body.status).toBe("valid")
    expect(problem(await client.finalize(order))).toEqual([403, "orderNotReady"])

    const strong = await registered(server, "/acme/directory", acmeKey("ES384"))
    const next = await strong.order("b.example.com")
    expect(problem(await strong.finalize(next, { privateKey: strong.key.privateKey }))).toEqual([400, "badCSR"])
    // A subject with an organisation that nobody has proven.
    const { body } = await server.api("GET", "/certificates")
    expect(body.total).toBe(1)
  })

  test("a finalization that is repeated answers the same, and issues once", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    const client = await registered(server)
    const order = await client.order("a.example.com")
    const { buildCsr } = await import("../../pki/csr")
    const csrPem = buildCsr({
      commonName: "a.example.com",
      sans: ["a.example.com"],
      privateKey: await generateKey("ecdsa-p256"),
    })
    const csr = Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ""), "base64").toString("base64url")
    const nonces = [await client.freshNonce(), await client.freshNonce(), await client.freshNonce()]
    const url = order.body.finalize
    const answers = await Promise.all(
      nonces.map((nonce) => client.send(url, signJws(client.key, { nonce, url, kid: client.account }, { csr }))),
    )
    for (const answer of answers) expect([200, 403]).toContain(answer.status)
    const last = await client.post(url, { csr })
    expect(last.body.status).toBe("valid")
    const { body } = await server.api("GET", "/certificates")
    expect((await server.api("GET", `/certificates/${body.data[0].id}/versions`)).body.total).toBe(1)
  })

  test("revokes for the account, for the certificate's key, and for nobody else", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    const client = await registered(server)
    const other = await registered(server)
    const url = `${client.base}/revoke-cert`
    const first = await issue(client, "a.example.com")
    expect(problem(await other.post(url, revocation(first.pem)))).toEqual([403, "unauthorized"])
    // In this mode the other account's order for the name proves nothing.
    await issue(other, "a.example.com")
    expect(problem(await other.post(url, revocation(first.pem)))).toEqual([403, "unauthorized"])
    expect(problem(await client.post(url, revocation(first.pem, 2)))).toEqual([400, "badRevocationReason"])
    expect(problem(await client.post(url, { certificate: "AAAA" }))).toEqual([400, "malformed"])
    const renewed = await issue(client, "a.example.com")
    // The one that was replaced goes by itself; its successor stays.
    expect((await client.post(url, revocation(first.pem, 4))).status).toBe(200)
    expect(problem(await client.post(url, revocation(first.pem)))).toEqual([400, "alreadyRevoked"])
    const statuses = async () =>
      (await server.api("GET", "/certificates")).body.data.map(({ status }: { status: string }) => status).sort()
    expect(await statuses()).toEqual(["Active", "Active"])

    const byKey = async (privateKey: typeof renewed.privateKey) => {
      const { createPublicKey } = await import("node:crypto")
      const jwk = createPublicKey(privateKey).export({ format: "jwk" })
      const header = { nonce: await client.freshNonce(), url, jwk }
      return client.send(url, signJws({ algorithm: "ES256", privateKey }, header, revocation(renewed.pem, 1)))
    }
    expect(problem(await byKey(acmeKey().privateKey))).toEqual([403, "unauthorized"])
    expect((await byKey(renewed.privateKey)).status).toBe(200)
    expect(await statuses()).toEqual(["Active", "Revoked"])
    expect(problem(await byKey(renewed.privateKey))).toEqual([400, "alreadyRevoked"])
    const [event] = await server.audits("certificate_revoked")
    expect(event?.details).toMatchObject({ reason: "keyCompromise" })
    // A revoked one is followed by a managed certificate of its own.
    await issue(client, "a.example.com")
    expect(await statuses()).toEqual(["Active", "Active", "Revoked"])
  })

  test("tells when to renew, and lets one order replace a certificate once", async () => {
    const server = await serverOn(await openDb())
    await server.profile()
    const client = await registered(server)
    const { pem } = await issue(client, "a.example.com")
    const { notAfter } = parseCertificate(pem)
    const ask = (id: string) => client.ask(`${client.base}/renewal-info/${id}`)
    const info = await ask(certIdOf(pem))
    expect([info.status, info.headers.get("retry-after")]).toEqual([200, "21600"])
    const start = Date.parse(info.body.suggestedWindow.start)
    const end = Date.parse(info.body.suggestedWindow.end)
    expect(Math.round((notAfter.getTime() - start) / day)).toBe(30)
    expect(Math.round((end - start) / day)).toBe(15)
    expect(problem(await ask("AAAA.AAAA"))).toEqual([404, "malformed"])
    for (const odd of ["AAAA", "AAAA.", ".AAAA", "A.A.A", "AAA=.AAAA"])
      expect(problem(await ask(odd))).toEqual([400, "malformed"])

    const replacing = (replaces: string, name = "a.example.com") =>
      client.post(`${client.base}/new-order`, { identifiers: [{ type: "dns", value: name }], replaces })
    expect(problem(await replacing(certIdOf(pem), "b.example.com"))).toEqual([400, "malformed"])
    expect(problem(await replacing("AAAA.AAAA"))).toEqual([400, "malformed"])
    expect((await replacing(certIdOf(pem))).status).toBe(201)
    expect(problem(await replacing(certIdOf(pem)))).toEqual([409, "alreadyReplaced"])
    await client.post(`${client.base}/revoke-cert`, revocation(pem))
    const late = (await ask(certIdOf(pem))).body.suggestedWindow
    expect(Date.parse(late.end)).toBeLessThanOrEqual(server.time.now.getTime())
  })

  test("limits orders per hour and open ones", async () => {
    const server = await serverOn(await openDb(), {
      CERTCTL_ACME_SERVER_RATE_LIMIT_ORDERS_PER_HOUR: "4",
      CERTCTL_ACME_SERVER_RATE_LIMIT_CONCURRENT_ORDERS: "2",
    })
    await server.profile()
    const client = await registered(server)
    await client.order("a.example.com")
    const second = await client.order("b.example.com")
    const third = await client.order("c.example.com")
    expect([...problem(third), third.headers.get("retry-after")]).toEqual([429, "rateLimited", "60"])
    expect((await client.finalize(second)).body.status).toBe("valid")
    await issue(client, "c.example.com")
    await issue(client, "d.example.com")
    const limited = await client.order("e.example.com")
    expect(problem(limited)).toEqual([429, "rateLimited"])
    expect(Number(limited.headers.get("retry-after"))).toBeGreaterThan(3000)
    server.time.now = new Date(server.time.now.getTime() + hour + 1000)
    expect((await client.order("e.example.com")).status).toBe(201)
    const other = await registered(server)
    const race = await Promise.all(
      Array.from({ length: 6 }, (_, n) => n).map(async (n) => {
        const url = `${other.base}/new-order`
        const nonce = (await server.send(`${other.base}/new-nonce`)).headers.get("replay-nonce")
        return (
          await other.send(
            url,
            signJws(
              other.key,
              { nonce, url, kid: other.account },
              { identifiers: [{ type: "dns", value: `r${n}.example.com` }] },
            ),
          )
        ).status
      }),
    )
    expect(race.sort()).toEqual([201, 201, 429, 429, 429, 429])
  })

  test("what expires fails, and is dropped when nobody can have a use for it", async () => {
    const db = await openDb()
    const server = await serverOn(db)
    await server.profile({ acme_auth_mode: "challenge" })
    const client = await registered(server)
    const order = await client.order("a.example.com")
    const url = String(order.headers.get("location"))
    server.time.now = new Date(server.time.now.getTime() + 25 * hour)
    await server.acme.cleanUp.run(AbortSignal.timeout(10_000))
    const ended = await client.post(url)
    expect([ended.body.status, ended.body.error.detail]).toEqual(["invalid", "the order has expired"])
    const authorization = await client.post(order.body.authorizations[0])
    expect(authorization.body.status).toBe("expired")
    server.time.now = new Date(server.time.now.getTime() + 8 * day)
    await server.acme.cleanUp.run(AbortSignal.timeout(10_000))
    expect(problem(await client.post(url))).toEqual([404, "malformed"])
    expect(await db.read.select().from(db.t.acmeNonces)).toHaveLength(1)
    expect(await db.read.select().from(db.t.acmeChallenges)).toHaveLength(0)
  })

  test("an external account's key opens one account, whose certificates are its owner's", async () => {
    const server = await serverOn(await openDb(), { CERTCTL_ACME_SERVER_EAB_REQUIRED: "true" })
    await server.profile()
    await server.api("POST", "/teams", { id: "t-web", name: "web" })
    await server.api("POST", "/owners", { id: "o-web", name: "web", email: "web@example.test", team_id: "t-web" })
    const made = await server.api("POST", "/admin/acme/external-accounts", {
      profile_id: "prof-web",
      owner_id: "o-web",
    })
    expect(made.status).toBe(201)
    const { id: kid, hmac_key } = made.body
    const bind = (client: AcmeClient, header: object = {}, secret = hmac_key, jwk: object = client.key.jwk) => {
      const url = `${client.base}/new-account`
      const text = Buffer.from(JSON.stringify({ alg: "HS256", kid, url, ...header })).toString("base64url")
      const payload = Buffer.from(JSON.stringify(jwk)).toString("base64url")
      const signature = createHmac("sha256", Buffer.from(secret, "base64url"))
        .update(`${text}.${payload}`)
        .digest("base64url")
      return { externalAccountBinding: { protected: text, payload, signature } }
    }
    const client = server.client()
    const wrong = async (binding: object) => problem(await client.register(binding))
    expect(await wrong({})).toEqual([403, "externalAccountRequired"])
    expect(await wrong(bind(client, {}, "AAAA"))).toEqual([403, "unauthorized"])
    expect(await wrong(bind(client, { kid: "acme-eab-none" }))).toEqual([403, "unauthorized"])
    expect(await wrong(bind(client, { url: "https://other.test/" }))).toEqual([400, "malformed"])
    expect(await wrong(bind(client, { alg: "ES256" }))).toEqual([400, "badSignatureAlgorithm"])
    expect(await wrong(bind(client, {}, hmac_key, acmeKey().jwk))).toEqual([400, "malformed"])
    expect((await client.register(bind(client))).status).toBe(201)
    const second = server.client()
    expect(problem(await second.register(bind(second)))).toEqual([403, "unauthorized"])
    await issue(client, "a.example.com")
    const [certificate] = (await server.api("GET", "/certificates")).body.data
    expect([certificate.owner_id, certificate.team_id]).toEqual(["o-web", "t-web"])
    const [listed] = (await server.api("GET", "/admin/acme/external-accounts")).body.data
    expect([listed.id, listed.account_id]).toEqual([kid, client.account.split("/").at(-1)])
    expect(JSON.stringify(listed)).not.toContain(hmac_key)
    expect((await server.api("DELETE", `/admin/acme/external-accounts/${kid}`)).status).toBe(204)
    expect((await server.api("DELETE", `/admin/acme/external-accounts/${kid}`)).status).toBe(404)
    expect((await server.api("POST", "/admin/acme/external-accounts", { profile_id: "prof-none" })).status).toBe(400)
  })
})

/** A web server whose answers a test says. */
const webServer = async (answer: (path: string) => { status?: number; body?: string; location?: string }) => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.headers.host} ${request.url}`)
    const { status = 200, body = "", location } = answer(request.url ?? "")
    response.writeHead(status, location === undefined ? {} : { location })
    response.end(body)
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, "127.0.0.1", resolve)
  await promise
  cleanups.push(() => server.close())
  return { port: (server.address() as AddressInfo).port, asked }
}

onEachDialect("ACME challenges", (openDb) => {
  const inChallengeMode = async (db: Db, port: number, allowLoopback = true) => {
    const server = await serverOn(
      db,
      { CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "challenge" },
      { acmeProofs: { port, rules: { allowLoopback }, resolve: async () => ["127.0.0.1"] } },
    )
    await server.profile()
    return server
  }

  const settled = async (client: AcmeClient, url: string) => {
    let answer = await client.post(url)
    await until("the authorization is settled", async () => {
      answer = await client.post(url)
      return answer.body.status !== "pending"
    })
    return answer.body
  }

  const challengeOf = (authorization: AcmeAnswer, type: string) =>
    authorization.body.challenges.find((challenge: { type: string }) => challenge.type === type)

  test("names are proven over HTTP, one after the other, before anything is issued", async () => {
    const files = new Map<string, string>()
    const web = await webServer((path) => ({ body: `${files.get(path) ?? ""}\n` }))
    const server = await inChallengeMode(await openDb(), web.port)
    const client = await registered(server)
    const order = await client.order("a.example.com", "b.example.com")
    expect([order.status, order.body.status]).toEqual([201, "pending"])
    expect(problem(await client.finalize(order))).toEqual([403, "orderNotReady"])
    for (const url of order.body.authorizations) {
      const authorization = await client.post(url)
      expect(authorization.body.challenges.map(({ type }: { type: string }) => type).sort()).toEqual([
        "dns-01",
        "http-01",
        "tls-alpn-01",
      ])
      const challenge = challengeOf(authorization, "http-01")
      expect(challenge.token).toMatch(/^[A-Za-z0-9_-]{43}$/)
      files.set(`/.well-known/acme-challenge/${challenge.token}`, `${challenge.token}.${client.key.thumbprint}`)
      // Reading starts nothing.
      expect((await client.post(challenge.url)).body.status).toBe("pending")
      const answered = await client.post(challenge.url, {})
      expect(["processing", "valid"]).toContain(answered.body.status)
      expect(answered.headers.get("link")).toContain(`<${url}>;rel="up"`)
      const valid = await settled(client, url)
      expect(valid.status).toBe("valid")
      expect(valid.challenges.map(({ type, status }: { type: string; status: string }) => [type, status])).toEqual([
        ["http-01", "valid"],
      ])
    }
    expect(web.asked[0]).toMatch(new RegExp(`^a.example.com:${web.port} /.well-known/acme-challenge/`))
    const ready = await client.post(String(order.headers.get("location")))
    expect(ready.body.status).toBe("ready")
    const done = await client.finalize(order)
    expect(done.body.status).toBe("valid")
    expect(await server.audits("acme_challenge_valid")).toHaveLength(2)
    expect((await server.api("GET", "/metrics/prometheus")).text).toContain(
      'certctl_acme_challenge_validations_total{type="http-01",result="valid"} 2\n',
    )
    // Whoever proves the name may revoke what somebody else was issued for it.
    const other = await registered(server)
    const { text: pem } = await client.post(done.body.certificate)
    const revoke = () => other.post(`${other.base}/revoke-cert`, revocation(pem))
    expect(problem(await revoke())).toEqual([403, "unauthorized"])
    const again = await other.order("a.example.com", "b.example.com")
    for (const url of again.body.authorizations) {
      const challenge = challengeOf(await other.post(url), "http-01")
      files.set(`/.well-known/acme-challenge/${challenge.token}`, `${challenge.token}.${other.key.thumbprint}`)
      await other.post(challenge.url, {})
      await settled(other, url)
    }
    expect((await revoke()).status).toBe(200)
  })

  test("two names proven at one moment make their order ready", async () => {
    const files = new Map<string, string>()
    const web = await webServer((path) => ({ body: files.get(path) ?? "" }))
    const server = await inChallengeMode(await openDb(), web.port)
    const client = await registered(server)
    const order = await client.order(...Array.from({ length: 6 }, (_, n) => `n${n}.example.com`))
    for (const url of order.body.authorizations) {
      const challenge = challengeOf(await client.post(url), "http-01")
      files.set(`/.well-known/acme-challenge/${challenge.token}`, `${challenge.token}.${client.key.thumbprint}`)
      await client.post(challenge.url, {})
    }
    await server.acme.challenges.idle()
    expect((await client.post(String(order.headers.get("location")))).body.status).toBe("ready")
  })

  test("a proof that is not there ends the order, and says why", async () => {
    const cases: [string, Parameters<typeof webServer>[0], string][] = [
      ["another text", () => ({ body: "something else" }), "incorrectResponse"],
      ["a missing file", () => ({ status: 404 }), "incorrectResponse"],
      ["an address of this host behind a redirect", () => ({ status: 302, location: "http://[::1]/" }), "connection"],
      ["a redirect without an end", (path) => ({ status: 302, location: path }), "dns"],
    ]
    const db = await openDb()
    for (const [what, answer, type] of cases) {
      const web = await webServer(answer)
      const server = await serverOn(
        db,
        { CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "challenge" },
        {
          acmeProofs: {
            port: web.port,
            rules: { allowLoopback: !what.startsWith("an address") },
            resolve: async () => ["127.0.0.1"],
          },
        },
      )
      await server.api("POST", "/profiles", { id: "prof-web", name: "web" })
      const client = await registered(server)
      const order = await client.order("a.example.com")
      const challenge = challengeOf(await client.post(order.body.authorizations[0]), "http-01")
      await client.post(challenge.url, {})
      const { status, challenges } = await settled(client, order.body.authorizations[0])
      expect([what, status, challenges[0].status, challenges[0].error.type]).toEqual([
        what,
        "invalid",
        "invalid",
        `urn:ietf:params:acme:error:${type}`,
      ])
      expect(JSON.stringify(challenges)).not.toContain("something else")
      const ended = await client.post(String(order.headers.get("location")))
      expect([ended.body.status, ended.body.error.type]).toEqual(["invalid", `urn:ietf:params:acme:error:${type}`])
      expect(problem(await client.finalize(order))).toEqual([403, "orderNotReady"])
    }
  })

  test("an address of this host is never asked", async () => {
    const web = await webServer(() => ({ body: "x" }))
    const server = await inChallengeMode(await openDb(), web.port, false)
    const client = await registered(server)
    for (const type of ["http-01", "tls-alpn-01"]) {
      const order = await client.order("a.example.com")
      await client.post(challengeOf(await client.post(order.body.authorizations[0]), type).url, {})
      const { challenges } = await settled(client, order.body.authorizations[0])
      expect(challenges[0].error).toMatchObject({ type: "urn:ietf:params:acme:error:connection" })
      expect(challenges[0].error.detail).toContain("loopback")
    }
    expect(web.asked).toEqual([])
  })

  test("a wildcard is proven in DNS only, and an authorization can be given up", async () => {
    const server = await inChallengeMode(await openDb(), 1)
    const client = await registered(server)
    const order = await client.order("*.example.com")
    const [url] = order.body.authorizations
    const authorization = await client.post(url)
    expect(authorization.body).toMatchObject({
      identifier: { type: "dns", value: "example.com" },
      wildcard: true,
      status: "pending",
    })
    expect(authorization.body.challenges.map(({ type }: { type: string }) => type)).toEqual(["dns-01"])
    expect(problem(await client.post(url, { status: "valid" }))).toEqual([400, "malformed"])
    expect((await client.post(url, { status: "deactivated" })).body.status).toBe("deactivated")
    expect((await client.post(String(order.headers.get("location")))).body.status).toBe("invalid")
    const challenge = challengeOf(authorization, "dns-01")
    expect((await client.post(challenge.url, {})).body.status).toBe("pending")
  })

  test("what a dead server was looking at is taken over by another", async () => {
    const files = new Map<string, string>()
    const web = await webServer((path) => ({ body: files.get(path) ?? "" }))
    const db = await openDb()
    const server = await inChallengeMode(db, web.port)
    const client = await registered(server)
    const order = await client.order("a.example.com")
    const challenge = challengeOf(await client.post(order.body.authorizations[0]), "http-01")
    files.set(`/.well-known/acme-challenge/${challenge.token}`, `${challenge.token}.${client.key.thumbprint}`)
    const id = challenge.url.split("/").at(-1)
    const { orderStore } = await import("../../acme/order.store")
    await db.transaction((tx) =>
      orderStore(db).moveChallenge(tx, id, "processing", {
        claimedUntil: new Date(server.time.now.getTime() + minute),
      }),
    )
    await server.acme.challenges.resume()
    await server.acme.challenges.idle()
    expect((await client.post(challenge.url)).body.status).toBe("processing")
    server.time.now = new Date(server.time.now.getTime() + 2 * minute)
    await server.acme.challenges.resume()
    await server.acme.challenges.idle()
    expect((await client.post(challenge.url)).body.status).toBe("valid")
    expect((await client.post(String(order.headers.get("location")))).body.status).toBe("ready")
  })
})

describe("ACME configuration", () => {
  const refusal = (env: Record<string, string>): string => {
    try {
      readConfig({ CERTCTL_DATA_DIR: "/tmp/none", CERTCTL_ACME_SERVER_ENABLED: "true", ...env })
      return "accepted"
    } catch (error) {
      if (error instanceof AppError) return error.message
      throw error
    }
  }
  const cases: [string, Record<string, string>, string][] = [
    ["an unknown mode", { CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "none" }, "trust_authenticated, challenge"],
    ["a resolver by name", { CERTCTL_ACME_SERVER_DNS01_RESOLVER: "dns.example" }, "an IP address and a port"],
    ["terms that are no URL", { CERTCTL_ACME_SERVER_TOS_URL: "terms" }, "http or https URL"],
    ["a negative limit", { CERTCTL_ACME_SERVER_RATE_LIMIT_ORDERS_PER_HOUR: "-1" }, "at least 0"],
    ["no validation at once", { CERTCTL_ACME_SERVER_HTTP01_CONCURRENCY: "0" }, "at least 1"],
  ]
  for (const [what, env, words] of cases) {
    test(`${what} is refused at the start`, () => expect(refusal(env)).toContain(words))
  }
  test("issuing to everybody is warned of", () => {
    const warned = (env: Record<string, string>) =>
      readConfig({ CERTCTL_DATA_DIR: "/tmp/none", CERTCTL_ACME_SERVER_ENABLED: "true", ...env }).warnings.some((line) =>
        line.includes("whoever reaches it"),
      )
    expect(warned({})).toBe(true)
    expect(warned({ CERTCTL_ACME_SERVER_EAB_REQUIRED: "true" })).toBe(false)
    expect(warned({ CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "challenge" })).toBe(false)
  })
})
