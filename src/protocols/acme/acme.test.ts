import { afterEach, expect, test } from "bun:test"
import { acmeKey, signJws } from "../../testing/acme-client"
import { acmeServer, endAcmeServers, issue, problem, publicUrl, registered } from "../../testing/acme-server"
import { onEachDialect, openBeside } from "../../testing/on-each-dialect"

const minute = 60_000

afterEach(endAcmeServers)

onEachDialect("ACME requests", (openDb, dialect) => {
  test("gives its directory per profile and for the default one, and nonces by HEAD and GET", async () => {
    const server = await acmeServer(await openDb(), { CERTCTL_ACME_SERVER_WEBSITE: "https://example.test/" })
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
    const wrongMethod = await server.send(`${publicUrl}/acme/new-order`)
    expect([wrongMethod.status, wrongMethod.headers.get("allow")]).toEqual([405, "POST"])
    expect((await wrongMethod.json()).type).toBe("urn:ietf:params:acme:error:malformed")
  })

  test("without a default profile the short path asks for another one", async () => {
    const server = await acmeServer(await openDb(), { CERTCTL_ACME_SERVER_DEFAULT_PROFILE_ID: "" })
    const answer = await server.send(`${publicUrl}/acme/directory`)
    expect([answer.status, (await answer.json()).type]).toEqual([403, "urn:ietf:params:acme:error:userActionRequired"])
  })

  test("takes ES256, ES384, RS256 and EdDSA, and nothing weaker", async () => {
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb())
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
    const withNul = await signed({ kid: `${client.base}/account/\u0000` })
    expect(problem(await client.send(url, withNul))).toEqual([400, "malformed"])
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
    const server = await acmeServer(db)
    await server.profile()
    const beside =
      dialect === "sqlite" ? server : await acmeServer(await openBeside(db), {}, { serverId: "srv-beside" })
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

  test("answers a problem too where a request gets no further than its address or its size", async () => {
    const server = await acmeServer(await openDb(), {
      CERTCTL_RATE_LIMIT_ENABLED: "true",
      CERTCTL_RATE_LIMIT_BURST: "3",
      CERTCTL_RATE_LIMIT_RPS: "0.001",
      CERTCTL_MAX_BODY_SIZE: "100",
    })
    const told = async (init: RequestInit = {}) => {
      const answer = await server.send(`${publicUrl}/acme/new-order`, init)
      expect(answer.headers.get("content-type")).toBe("application/problem+json")
      return [answer.status, (await answer.json()).type.split(":").at(-1)]
    }
    expect(await told({ method: "POST", body: "x".repeat(200) })).toEqual([413, "malformed"])
    for (let left = 5; (await told())[0] !== 429 && left > 0; left -= 1) await Promise.resolve()
    expect(await told({ method: "POST", body: "" })).toEqual([429, "rateLimited"])
  })
})
