import { afterEach, expect, test } from "bun:test"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { orderStore } from "../../acme/order.store"
import type { Db } from "../../db/db"
import type { AcmeAnswer, AcmeClient } from "../../testing/acme-client"
import { acmeServer, endAcmeServers, problem, registered, revocation } from "../../testing/acme-server"
import { onEachDialect } from "../../testing/on-each-dialect"
import { until } from "../../testing/until"

const minute = 60_000
const cleanups: (() => unknown)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})
afterEach(endAcmeServers)

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
    const server = await acmeServer(
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
      const server = await acmeServer(
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

  test("an order from before names had to be proven is not finished", async () => {
    const server = await inChallengeMode(await openDb(), 1)
    await server.api("PUT", "/profiles/prof-web", { acme_auth_mode: "trust_authenticated" })
    const client = await registered(server)
    const order = await client.order("a.example.com")
    expect(order.body.status).toBe("ready")
    const changed = await server.api("PUT", "/profiles/prof-web", { acme_auth_mode: "" })
    expect([changed.status, "acme_auth_mode" in changed.body]).toEqual([200, false])
    expect(problem(await client.finalize(order))).toEqual([403, "unauthorized"])
    expect((await client.order("a.example.com")).body.status).toBe("pending")
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
