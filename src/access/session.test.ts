import { expect, test } from "bun:test"
import { Hono } from "hono"
import * as v from "valibot"
import { AppError } from "../errors"
import { type ApiEnv, operation } from "../server/operation"
import { assembleApp, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { secretHash } from "./secrets"
import { sessionCookie } from "./session-cookie"

const routes = new Hono<ApiEnv>().post(
  "/things",
  operation({ id: "create_thing", summary: "Create", role: "operator", returns: v.object({ by: v.string() }) }),
  (c) => c.json({ by: c.get("actor").name }),
)

const pages = new Hono<ApiEnv>()
  .get("/login", (c) => c.text("sign in"))
  .post("/login", (c) => c.text("signing in"))
  .get("/", (c) => c.text(`hello ${c.get("actor").name}`))
  .post("/certificates/:id/renew", (c) => c.text("renewed"))

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return "none"
  } catch (error) {
    return error instanceof AppError ? error.code : String(error)
  }
}

test("the cookie is bound to the host, hidden from scripts and from other sites", async () => {
  const set = async (secure: boolean) => {
    const app = new Hono<ApiEnv>().get("/", (c) => {
      sessionCookie(secure).set(c, "value")
      return c.text("")
    })
    return (await app.request("/")).headers.get("set-cookie")
  }
  expect(await set(true)).toBe("__Host-certctl=value; Path=/; HttpOnly; Secure; SameSite=Strict")
  expect(await set(false)).toBe("certctl=value; Path=/; HttpOnly; SameSite=Strict")
})

onEachDialect("sessions", (openDb) => {
  const open = async (mode: "api-key" | "none" = "api-key") =>
    assembleApp(await openDb(), {
      mode,
      routes,
      console: { app: pages, problemPage: (c, { status, message }) => c.html(`<h1>${message}</h1>`, status as 404) },
    })
  const site = "https://certctl.example:8443"
  const withCookie = (token: string, more: Record<string, string> = {}) => ({
    cookie: `__Host-certctl=${token}`,
    ...more,
  })

  test("a session has the rights of the key that opened it, and only its hash is stored", async () => {
    const db = await openDb()
    const { sessions } = assembleApp(db)
    const { token, actor } = await sessions.signIn("ops-key", "192.0.2.1")
    expect(actor).toMatchObject({ name: "ops", role: "operator" })
    expect((await sessions.find(token))?.actor).toEqual(actor)
    const rows = await db.read.select().from(db.t.sessions)
    expect(rows[0]?.idHash).toBe(secretHash(token))
    expect(JSON.stringify(rows)).not.toContain(token)
  })

  test("ends after an idle hour, after twelve hours, and when signed out", async () => {
    const { sessions, clock } = await open()
    const idle = await sessions.signIn("ops-key", "192.0.2.1")
    clock.advance(3_599_000)
    expect(await sessions.find(idle.token)).not.toBeNull()
    clock.advance(3_601_000)
    expect(await sessions.find(idle.token)).toBeNull()
    const busy = await sessions.signIn("ops-key", "192.0.2.1")
    for (let hour = 0; hour < 23; hour += 1) {
      clock.advance(1_800_000)
      expect(await sessions.find(busy.token)).not.toBeNull()
    }
    clock.advance(1_800_000)
    expect(await sessions.find(busy.token)).toBeNull()
    const short = await sessions.signIn("ops-key", "192.0.2.1")
    await sessions.signOut(short.session.idHash, short.actor)
    expect(await sessions.find(short.token)).toBeNull()
  })

  test("what the server asks by itself does not keep an idle session alive", async () => {
    const { sessions, clock } = await open()
    const { token } = await sessions.signIn("ops-key", "192.0.2.1")
    clock.advance(1_800_000)
    expect(await sessions.find(token, false)).not.toBeNull()
    clock.advance(1_800_001)
    expect(await sessions.find(token)).toBeNull()
  })

  test("sweeping removes dead sessions and keeps live ones", async () => {
    const db = await openDb()
    const { sessions, clock } = assembleApp(db)
    await sessions.signIn("ops-key", "192.0.2.1")
    clock.advance(7_200_000)
    const { token } = await sessions.signIn("root-key", "192.0.2.1")
    await sessions.sweep()
    expect(await db.read.select().from(db.t.sessions)).toHaveLength(1)
    expect(await sessions.find(token)).not.toBeNull()
  })

  test("ten failures from one address close the form there for ten minutes", async () => {
    const { sessions, clock } = await open()
    for (let n = 0; n < 10; n += 1) expect(await codeOf(sessions.signIn("wrong", "192.0.2.1"))).toBe("unauthenticated")
    expect(await codeOf(sessions.signIn("ops-key", "192.0.2.1"))).toBe("rate_limited")
    expect(await codeOf(sessions.signIn("ops-key", "192.0.2.2"))).toBe("none")
    clock.advance(600_001)
    expect(await codeOf(sessions.signIn("ops-key", "192.0.2.1"))).toBe("none")
  })

  test("an agent's key does not open the console", async () => {
    const { sessions } = assembleApp(await openDb(), { agents: { [secretHash("agent-key")]: "agent-1" } })
    expect(await codeOf(sessions.signIn("agent-key", "192.0.2.1"))).toBe("unauthenticated")
  })

  test("pages send a visitor without a session to sign in, and remember where to", async () => {
    const { app, sessions } = await open()
    const answer = await app.request("/certificates?status=Active")
    expect([answer.status, answer.headers.get("location")]).toEqual([
      303,
      `/login?next=${encodeURIComponent("/certificates?status=Active")}`,
    ])
    expect(await (await app.request("/login")).text()).toBe("sign in")
    const { token } = await sessions.signIn("ops-key", "192.0.2.1")
    expect(await (await app.request("/", { headers: withCookie(token) })).text()).toBe("hello ops")
    const missing = await app.request("/nowhere", { headers: withCookie(token) })
    expect([missing.status, await missing.text()]).toEqual([404, "<h1>There is no such page</h1>"])
  })

  test("without authentication pages are open to everybody", async () => {
    const { app } = await open("none")
    expect(await (await app.request("/")).text()).toBe("hello ")
  })

  test("a cookie changes something only from the console's own origin", async () => {
    const { app, sessions } = await open()
    const { token } = await sessions.signIn("ops-key", "192.0.2.1")
    const table: [string, Record<string, string>, number][] = [
      ["the public URL's origin", { origin: site }, 200],
      ["the host that was asked", { origin: "https://10.0.0.5:8443", host: "10.0.0.5:8443" }, 200],
      ["same-origin by Sec-Fetch-Site", { "sec-fetch-site": "same-origin" }, 200],
      ["another origin", { origin: "https://evil.example" }, 403],
      ["another port", { origin: "https://certctl.example:9999" }, 403],
      ["an opaque origin", { origin: "null" }, 403],
      ["same-site only", { "sec-fetch-site": "same-site" }, 403],
      ["cross-site", { "sec-fetch-site": "cross-site", origin: site }, 403],
      ["no hint at all", {}, 403],
    ]
    for (const [name, headers, status] of table) {
      for (const path of ["/api/v1/things", "/certificates/mc-1/renew"]) {
        const answer = await app.request(path, { method: "POST", headers: withCookie(token, headers) })
        expect(`${name} ${path} ${answer.status}`).toBe(`${name} ${path} ${status}`)
      }
    }
    const read = await app.request("/api/v1/auth/check", {
      headers: withCookie(token, { "sec-fetch-site": "same-origin" }),
    })
    expect(await read.json()).toMatchObject({ user: "ops" })
  })

  test("the sign-in form takes nothing from another site", async () => {
    const { app } = await open()
    const post = (origin: string) => app.request("/login", { method: "POST", headers: { origin } })
    expect((await post("https://evil.example")).status).toBe(403)
    expect((await post(site)).status).toBe(200)
  })

  test("an expired session answers island calls with 401 and form posts with the way back", async () => {
    const { app } = await open()
    const call = await app.request("/api/v1/things", { method: "POST", headers: withCookie("gone", { origin: site }) })
    expect([call.status, (await call.json()).error]).toEqual([401, "Session expired"])
    const form = await app.request("/certificates/mc-1/renew", {
      method: "POST",
      headers: withCookie("gone", { origin: site, referer: `${site}/certificates/mc-1?tab=versions` }),
    })
    expect(form.headers.get("location")).toBe(`/login?next=${encodeURIComponent("/certificates/mc-1?tab=versions")}`)
  })

  test("a Bearer key wins over a cookie", async () => {
    const { app, sessions, keys } = await open()
    const { token } = await sessions.signIn("root-key", "192.0.2.1")
    const { key } = await keys.create({ name: "eyes", role: "viewer" }, tester)
    const answer = await app.request("/api/v1/things", {
      method: "POST",
      headers: withCookie(token, { origin: site, authorization: `Bearer ${key}` }),
    })
    expect(answer.status).toBe(403)
  })

  test("signing in and out is in the audit trail, by the key's name and without any secret", async () => {
    const db = await openDb()
    const { sessions, audit } = assembleApp(db)
    const { token, session, actor } = await sessions.signIn("ops-key", "192.0.2.1")
    await sessions.signOut(session.idHash, actor)
    await sessions.signOut(session.idHash, actor)
    const { rows } = await audit.list({ resourceType: "session" }, { page: 1, per_page: 10 })
    expect(rows.map(({ action }) => action)).toEqual(["signed_out", "signed_in"])
    for (const row of rows) expect(row).toMatchObject({ actor: "ops", resourceId: session.idHash.slice(0, 16) })
    expect(rows[1]?.details).toEqual({ client_address: "192.0.2.1" })
    for (const secret of [token, session.idHash, "ops-key"]) expect(JSON.stringify(rows)).not.toContain(secret)
  })

  test("failed sign-ins are in the audit trail with their address and never what was typed, and cannot fill it", async () => {
    const db = await openDb()
    const { sessions, audit, clock } = assembleApp(db)
    const failures = async () =>
      (await audit.list({ action: "sign_in_failed" }, { page: 1, per_page: 500 })).rows.toReversed()
    for (let n = 0; n < 12; n += 1) await codeOf(sessions.signIn("hunter2", "192.0.2.1"))
    // Attempts that are not looked at are no events.
    expect(await failures()).toHaveLength(10)
    expect((await failures()).map(({ details }) => details)).toEqual([
      ...Array.from({ length: 9 }, () => ({ client_address: "192.0.2.1" })),
      { client_address: "192.0.2.1", locked: true },
    ])
    expect(JSON.stringify(await failures())).not.toContain("hunter2")
    // Somebody with a whole network.
    for (let n = 0; n < 200; n += 1)
      expect(await codeOf(sessions.signIn("wrong", `2001:db8::${n}`))).toBe("unauthenticated")
    expect(await failures()).toHaveLength(30)
    clock.advance(60_000)
    await codeOf(sessions.signIn("wrong", "192.0.2.9"))
    await codeOf(sessions.signIn("wrong", "192.0.2.9"))
    const written = await failures()
    expect(written).toHaveLength(31)
    expect(written.at(-1)).toMatchObject({
      actor: "anonymous",
      details: { client_address: "192.0.2.9", unwritten: 180 },
    })
  })
})
