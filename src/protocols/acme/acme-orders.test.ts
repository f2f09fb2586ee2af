import { afterEach, expect, test } from "bun:test"
import { createPublicKey, X509Certificate } from "node:crypto"
import { parseCertificate } from "../../pki/certificate"
import { buildCsr } from "../../pki/csr"
import { generateKey, spkiOf } from "../../pki/keys"
import { type AcmeClient, acmeKey, signJws } from "../../testing/acme-client"
import { acmeServer, certIdOf, endAcmeServers, issue, problem, registered, revocation } from "../../testing/acme-server"
import { outsideCa } from "../../testing/lifecycle-world"
import { onEachDialect } from "../../testing/on-each-dialect"
import { until } from "../../testing/until"

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

afterEach(endAcmeServers)

onEachDialect("ACME orders", (openDb) => {
  test("an account orders, gets its certificate and a managed one beside it, and renews into the same", async () => {
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb())
    await server.profile()
    const [one, two] = [await registered(server), await registered(server)]
    const mine = await issue(one, "shared.example.com")
    await issue(two, "shared.example.com")
    expect((await server.api("GET", "/certificates")).body.total).toBe(2)
    expect((await one.post(`${one.base}/revoke-cert`, revocation(mine.pem))).status).toBe(200)
    const { body } = await server.api("GET", "/certificates")
    expect(body.data.map(({ status }: { status: string }) => status).sort()).toEqual(["Active", "Revoked"])
  })

  test("orders only what a certificate may have", async () => {
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb())
    await server.profile()
    const client = await registered(server)
    const order = await client.order("a.example.com")
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
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb(), {
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

  test("waits for a CA that decides later; the same CSR in another order is another request", async () => {
    const db = await openDb()
    const time = { now: new Date() }
    const ca = outsideCa(() => time.now, 90 * day)
    const openIssuer = async () => ({ type: "GenericCA", inProcess: false, connector: ca.connector(() => false) })
    const server = await acmeServer(db, {}, { openIssuer })
    await server.profile()
    const client = await registered(server)
    const pass = (ms: number) => {
      server.time.now = new Date(server.time.now.getTime() + ms)
      time.now = server.time.now
    }
    const privateKey = await generateKey("rsa-2048")
    ca.be("order")
    const order = await client.order("a.example.com")
    const waiting = await client.finalize(order, { privateKey })
    expect([waiting.status, waiting.body.status, waiting.headers.get("retry-after")]).toEqual([200, "processing", "3"])
    const url = String(order.headers.get("location"))
    const settled = async () => {
      await until("the order is settled", async () => {
        pass(minute)
        await server.wired.services.processor.process(AbortSignal.timeout(10_000))
        return (await client.post(url)).body.status !== "processing"
      })
      return (await client.post(url)).body
    }
    expect((await settled()).status).toBe("valid")
    // The same key makes the same request: it is a new order all the same.
    const again = await client.order("a.example.com")
    const done = await client.finalize(again, { privateKey })
    expect(done.body.status).toBe("valid")
    expect(done.body.certificate).not.toBe((await client.post(url)).body.certificate)
    const { body } = await server.api("GET", "/certificates")
    expect([body.total, body.data[0].status]).toEqual([1, "Active"])
    expect((await server.api("GET", `/certificates/${body.data[0].id}/versions`)).body.total).toBe(2)

    ca.be("fail")
    const failing = await client.finalize(await client.order("b.example.com"))
    expect([failing.body.status, failing.body.error]).toEqual([
      "invalid",
      {
        type: "urn:ietf:params:acme:error:serverInternal",
        detail: "the issuer did not issue the certificate",
        status: 500,
      },
    ])
    const [event] = await server.audits("acme_order_failed")
    expect(event?.details.reason).toContain("out of order")
  })

  test("what expires fails, and is dropped when nobody can have a use for it", async () => {
    const db = await openDb()
    const server = await acmeServer(db)
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
})
