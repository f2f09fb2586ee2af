import { expect, test } from "bun:test"
import { Hono } from "hono"
import * as v from "valibot"
import { secretHash } from "../access/secrets"
import { AppError } from "../errors"
import { type Assembly, asOps, asRoot, assembleApp, bearer } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { type ApiEnv, input, operation } from "./operation"

const ok = v.object({ ok: v.string() })

const routes = new Hono<ApiEnv>()
  .get("/things/:id", operation({ id: "get_thing", summary: "Get", role: "viewer", returns: ok }), (c) =>
    c.json({ ok: c.req.param("id") }),
  )
  .get("/things/special", operation({ id: "special", summary: "Special", role: "viewer", returns: ok }), (c) =>
    c.json({ ok: "literal" }),
  )
  .post(
    "/things",
    operation({ id: "create_thing", summary: "Create", role: "operator", returns: ok, status: 201 }),
    input("json", v.object({ name: v.pipe(v.string(), v.minLength(1)) })),
    (c) => c.json({ ok: c.req.valid("json").name }, 201),
  )
  .post(
    "/things/optional",
    operation({ id: "optional_thing", summary: "Body optional", role: "operator", returns: ok }),
    input("json", v.object({ reason: v.optional(v.string(), "none") })),
    (c) => c.json({ ok: c.req.valid("json").reason }),
  )
  .delete("/things/:id", operation({ id: "delete_thing", summary: "Delete", role: "admin" }), (c) => c.body(null, 204))
  .put(
    "/issuers/:id",
    operation({ id: "put_issuer", summary: "Put", role: "admin", returns: ok, openWithoutAuthentication: true }),
    (c) => c.json({ ok: "put" }),
  )
  .post(
    "/agents",
    operation({ id: "register", summary: "Register", role: "operator", returns: ok, status: 201 }),
    (c) => c.json({ ok: c.get("actor").joinTokenId ?? c.get("actor").name }, 201),
  )
  .get("/agents/:id/work", operation({ id: "work", summary: "Work", role: "agent", returns: ok }), (c) =>
    c.json({ ok: c.req.param("id") }),
  )
  .post("/jobs/:id/verify", operation({ id: "verify", summary: "Verify", role: "agent", returns: ok }), (c) =>
    c.json({ ok: c.get("actor").name }),
  )
  .get("/crash", operation({ id: "crash", summary: "Crash", role: "viewer", returns: ok }), () => {
    throw new TypeError("hunter2 is the password")
  })
  .get("/odd-crash", operation({ id: "odd_crash", summary: "Crash", role: "viewer", returns: ok }), () => {
    throw "hunter2"
  })
  .get(
    "/failure/:code",
    operation({ id: "failure", summary: "Fail", role: "viewer", returns: ok, errors: { 409: "Used", 500: "Refused" } }),
    (c) => {
      switch (c.req.param("code")) {
        case "409":
          throw new AppError("conflict", "still in use", {
            body: { error: "blocked_by_dependencies", active_targets: 2 },
          })
        case "internal":
          throw new AppError("internal", "hunter2")
        default:
          throw new AppError("upstream", "the CA refused: bad CSR")
      }
    },
  )
  .get("/leak", operation({ id: "leak", summary: "Leak", role: "viewer", returns: ok }), (c) =>
    c.json({ ok: "", secret: "hunter2" }),
  )

onEachDialect("the application", (openDb) => {
  const open = async (options: Assembly = {}) => assembleApp(await openDb(), { routes, ...options })
  const agents = { [secretHash("agent-key")]: "agent-1" }

  test("answers probes without a key and without a rate limit", async () => {
    const { app } = await open({
      rateLimits: { address: { perSecond: 1, burst: 1 }, caller: { perSecond: 1, burst: 1 } },
    })
    for (let n = 0; n < 5; n += 1) {
      const health = await app.request("/health")
      expect([health.status, await health.json()]).toEqual([200, { status: "healthy" }])
    }
    const ready = await app.request("/ready")
    expect([ready.status, await ready.json()]).toEqual([200, { status: "ready", db: "reachable" }])
  })

  test("readiness says 503 when the database is gone, health stays 200", async () => {
    const { app } = await open({ ping: () => Promise.reject(new Error("password=hunter2")) })
    const ready = await app.request("/ready")
    expect(ready.status).toBe(503)
    expect(await ready.json()).toEqual({ status: "db_unavailable", error: "the database does not answer" })
    expect((await app.request("/health")).status).toBe(200)
    const without = assembleApp(await openDb(), { ping: null })
    expect(await (await without.app.request("/ready")).json()).toEqual({ status: "ready", db: "not_configured" })
  })

  test("tells about authentication and the build without a key", async () => {
    const { app } = await open()
    expect(await (await app.request("/api/v1/auth/info")).json()).toEqual({ auth_type: "api-key", required: true })
    expect(await (await app.request("/api/v1/version")).json()).toEqual({
      version: "1.2.3",
      commit: "abc",
      modified: false,
      build_time: "",
      go_version: "bun",
    })
    const check = await app.request("/api/v1/auth/check", asRoot)
    expect(await check.json()).toEqual({ status: "authenticated", user: "root", admin: true })
    expect(await (await app.request("/api/v1/auth/check", asOps)).json()).toMatchObject({ user: "ops", admin: false })
  })

  const badCredentials: [string, Record<string, string>][] = [
    ["no header", {}],
    ["an unknown key", bearer("nobody")],
    ["a lower-case scheme", { authorization: "bearer root-key" }],
    ["two blanks", { authorization: "Bearer  root-key" }],
    ["another scheme", { authorization: "Basic cm9vdDpyb290" }],
    ["an empty key", { authorization: "Bearer " }],
  ]
  for (const [name, headers] of badCredentials) {
    test(`refuses ${name} with 401, also on unknown paths`, async () => {
      const { app } = await open()
      for (const path of ["/api/v1/things/1", "/api/v1/no-such-thing", "/api/v1/crl"]) {
        const answer = await app.request(path, { headers })
        expect(answer.status).toBe(401)
        expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="certctl"')
        const body = await answer.json()
        expect(Object.keys(body).sort()).toEqual(["error", "request_id"])
      }
    })
  }

  test("unknown paths are 404 in shape A once authenticated, and a trailing slash is another path", async () => {
    const { app } = await open()
    for (const path of ["/api/v1/no-such-thing", "/api/v1/things/1/", "/api/v1/ocsp/iss-local/01", "/api/v2/things"]) {
      const answer = await app.request(path, asRoot)
      expect(answer.status).toBe(404)
      const body = await answer.json()
      expect(body).toEqual({ error: "Not Found", message: expect.any(String), request_id: expect.any(String) })
      expect(answer.headers.get("x-request-id")).toBe(body.request_id)
    }
  })

  test("a wrong method is 405 with Allow", async () => {
    const { app } = await open()
    const answer = await app.request("/api/v1/things/1", { method: "POST", ...asRoot })
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "DELETE, GET, HEAD"])
    expect(await answer.json()).toMatchObject({ error: "Method Not Allowed" })
    expect((await app.request("/health", { method: "POST" })).headers.get("allow")).toBe("GET, HEAD")
    const head = await app.request("/api/v1/things", { method: "HEAD", ...asRoot })
    expect([head.status, head.headers.get("allow")]).toEqual([405, "POST"])
  })

  test("HEAD answers like GET without a body", async () => {
    const { app } = await open()
    const answer = await app.request("/api/v1/things/1", { method: "HEAD", ...asRoot })
    expect([answer.status, await answer.text()]).toEqual([200, ""])
    expect(answer.headers.get("content-type")).toStartWith("application/json")
  })

  test("a literal path wins over a parameter, however the routes are written", async () => {
    const { app } = await open()
    expect(await (await app.request("/api/v1/things/special", asRoot)).json()).toEqual({ ok: "literal" })
    expect(await (await app.request("/api/v1/things/specia", asRoot)).json()).toEqual({ ok: "specia" })
  })

  test("reads JSON whatever the content type says, and takes an empty body where nothing is required", async () => {
    const { app } = await open()
    const post = (path: string, body: string | undefined, type?: string) =>
      app.request(path, {
        method: "POST",
        body,
        headers: { ...bearer("ops-key"), ...(type === undefined ? {} : { "content-type": type }) },
      })
    for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded", undefined]) {
      const answer = await post("/api/v1/things", '{"name":"a","extra":1}', type)
      expect([answer.status, await answer.json()]).toEqual([201, { ok: "a" }])
    }
    expect(await (await post("/api/v1/things/optional", undefined)).json()).toEqual({ ok: "none" })
    expect(await (await post("/api/v1/things/optional", "")).json()).toEqual({ ok: "none" })
    const bad: [string, string][] = [
      ['{"name": hunter2', "request body must be valid JSON"],
      ["{}", "name is required"],
      ["", "name is required"],
      [" \r\n\t", "name is required"],
      ["\v", "request body must be valid JSON"],
      ["null", "request body must be an object"],
      ['{"name":7}', "name must be a string"],
    ]
    for (const [body, message] of bad) {
      const answer = await post("/api/v1/things", body, "application/json")
      expect(answer.status).toBe(400)
      expect(await answer.json()).toEqual({ error: "Bad Request", message, request_id: expect.any(String) })
    }
  })

  test("a crash answers in general words", async () => {
    const { app } = await open()
    for (const path of ["/api/v1/crash", "/api/v1/odd-crash"]) {
      const answer = await app.request(path, asRoot)
      expect(answer.status).toBe(500)
      expect(answer.headers.get("x-frame-options")).toBe("DENY")
      expect(await answer.json()).toEqual({
        error: "Internal Server Error",
        request_id: answer.headers.get("x-request-id"),
      })
    }
    const internal = await (await app.request("/api/v1/failure/internal", asRoot)).json()
    expect(internal).toMatchObject({ error: "Internal Server Error", message: "internal error" })
    const upstream = await (await app.request("/api/v1/failure/upstream", asRoot)).json()
    expect(upstream.message).toBe("the CA refused: bad CSR")
  })

  test("an error may bring its own keys", async () => {
    const { app } = await open()
    const answer = await app.request("/api/v1/failure/409", asRoot)
    expect(answer.status).toBe(409)
    expect(await answer.json()).toMatchObject({
      error: "blocked_by_dependencies",
      message: "still in use",
      active_targets: 2,
    })
  })

  test("tests notice an answer that its schema does not allow", async () => {
    const { app } = await open()
    const answer = await app.request("/api/v1/leak", asRoot)
    expect(await answer.text()).toContain("keys that its schema does not list")
  })

  test("the request id is the server's own, on every answer", async () => {
    const { app } = await open()
    const ids = new Set<string | null>()
    for (const path of ["/health", "/api/v1/things/1", "/nowhere", "/api/v1/version"]) {
      const answer = await app.request(path, { headers: { "x-request-id": "mine" } })
      expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/)
      ids.add(answer.headers.get("x-request-id"))
    }
    expect(ids.size).toBe(4)
  })

  test("security headers stand on every answer", async () => {
    const { app } = await open({ maxBodyBytes: 10 })
    const answers = [
      await app.request("/health"),
      await app.request("/api/v1/things/1"),
      await app.request("/api/v1/things/1", asRoot),
      await app.request("/nowhere", asRoot),
      await app.request("/api/v1/things", { method: "POST", body: "x".repeat(11) }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 200, 303, 413])
    for (const { headers } of answers) {
      expect(headers.get("strict-transport-security")).toBe("max-age=31536000; includeSubDomains")
      expect(headers.get("x-content-type-options")).toBe("nosniff")
      expect(headers.get("referrer-policy")).toBe("no-referrer-when-downgrade")
      expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'")
      expect(headers.get("content-security-policy")).not.toContain("unsafe-inline")
    }
    expect(answers[2]?.headers.get("cache-control")).toBe("no-store")
  })

  test("roles: who may call what", async () => {
    const { app, keys } = await open({ agents })
    const { key: viewer } = await keys.create(
      { name: "eyes", role: "viewer" },
      { name: "t", type: "User", role: "admin" },
    )
    const calls: [string, string, Record<string, number>][] = [
      ["GET", "/api/v1/things/1", { viewer: 200, operator: 200, admin: 200, agent: 403 }],
      ["POST", "/api/v1/things", { viewer: 403, operator: 201, admin: 201, agent: 403 }],
      ["DELETE", "/api/v1/things/1", { viewer: 403, operator: 403, admin: 204, agent: 403 }],
      ["PUT", "/api/v1/issuers/1", { viewer: 403, operator: 403, admin: 200, agent: 403 }],
      ["GET", "/api/v1/agents/agent-1/work", { viewer: 403, operator: 200, admin: 200, agent: 200 }],
      ["GET", "/api/v1/agents/agent-2/work", { viewer: 403, operator: 200, admin: 200, agent: 403 }],
      ["POST", "/api/v1/jobs/job-1/verify", { viewer: 403, operator: 200, admin: 200, agent: 200 }],
      ["GET", "/api/v1/audit", { viewer: 200, operator: 200, admin: 200, agent: 403 }],
      ["GET", "/api/v1/api-keys", { viewer: 403, operator: 403, admin: 200, agent: 403 }],
      ["GET", "/api/v1/auth/check", { viewer: 200, operator: 200, admin: 200, agent: 403 }],
    ]
    const keyOf: Record<string, string> = { viewer, operator: "ops-key", admin: "root-key", agent: "agent-key" }
    for (const [method, path, expected] of calls) {
      for (const [role, status] of Object.entries(expected)) {
        const body = method === "POST" ? '{"name":"a"}' : undefined
        const answer = await app.request(path, { method, body, headers: bearer(keyOf[role] ?? "") })
        expect(`${role} ${method} ${path} ${answer.status}`).toBe(`${role} ${method} ${path} ${status}`)
        if (status === 403) expect(await answer.json()).toMatchObject({ error: "Forbidden" })
      }
    }
  })

  test("without authentication all but the admin routes are open, issuers included", async () => {
    const { app } = await open({ mode: "none" })
    expect(await (await app.request("/api/v1/auth/info")).json()).toEqual({ auth_type: "none", required: false })
    expect(await (await app.request("/api/v1/auth/check")).json()).toMatchObject({ user: "", admin: false })
    expect((await app.request("/api/v1/things", { method: "POST", body: '{"name":"a"}' })).status).toBe(201)
    expect((await app.request("/api/v1/issuers/1", { method: "PUT" })).status).toBe(200)
    expect((await app.request("/api/v1/things/1", { method: "DELETE" })).status).toBe(403)
    expect((await app.request("/api/v1/api-keys")).status).toBe(403)
    const foreign = { method: "POST", body: '{"name":"a"}', headers: { origin: "https://evil.example" } }
    expect((await app.request("/api/v1/things", foreign)).status).toBe(403)
  })

  test("a registration token opens the registration and nothing else", async () => {
    const check = async (token: string) =>
      token === "join" ? ({ name: "join-token", type: "System", role: "operator", joinTokenId: "jt-1" } as const) : null
    const { app } = await open({ registration: { exclusive: false, check } })
    const register = (key?: string) =>
      app.request("/api/v1/agents", { method: "POST", headers: key === undefined ? {} : bearer(key) })
    expect(await (await register("join")).json()).toEqual({ ok: "jt-1" })
    expect(await (await register("ops-key")).json()).toEqual({ ok: "ops" })
    for (const key of ["used-up", undefined]) {
      const answer = await register(key)
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({ error: "invalid_or_missing_bootstrap_token" })
    }
    expect((await app.request("/api/v1/things/1", { headers: bearer("join") })).status).toBe(401)
    const exclusive = await open({ registration: { exclusive: true, check } })
    const refused = await exclusive.app.request("/api/v1/agents", { method: "POST", ...asRoot })
    expect(refused.status).toBe(401)
  })

  test("paths that only begin like open ones are not open", async () => {
    const { app } = await open()
    for (const path of ["/api/v1/version/x", "/api/v1/auth/information", "/api/v1/auth/info/"]) {
      expect((await app.request(path)).status).toBe(401)
    }
    for (const path of ["/scepx", "/healthz"]) expect((await app.request(path)).status).toBe(303)
    for (const path of ["/scep/x", "/.well-known/pki/crl/x", "/.well-known/est/cacerts", "/acme/directory"]) {
      expect((await app.request(path)).status).toBe(404)
    }
  })
})
