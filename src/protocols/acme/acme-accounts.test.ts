import { afterEach, expect, test } from "bun:test"
import { createHmac } from "node:crypto"
import { type AcmeClient, acmeKey, signJws } from "../../testing/acme-client"
import { acmeServer, endAcmeServers, issue, problem, publicUrl, registered } from "../../testing/acme-server"
import { onEachDialect } from "../../testing/on-each-dialect"

afterEach(endAcmeServers)

onEachDialect("ACME accounts", (openDb) => {
  test("accounts are found again, changed, deactivated and then nobody's", async () => {
    const server = await acmeServer(await openDb(), { CERTCTL_ACME_SERVER_TOS_URL: "https://example.test/terms" })
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
    const server = await acmeServer(await openDb())
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
    const server = await acmeServer(await openDb(), { CERTCTL_ACME_SERVER_RATE_LIMIT_KEY_CHANGE_PER_HOUR: "2" })
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

  test("an external account's key opens one account, whose certificates are its owner's", async () => {
    const server = await acmeServer(await openDb(), { CERTCTL_ACME_SERVER_EAB_REQUIRED: "true" })
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
