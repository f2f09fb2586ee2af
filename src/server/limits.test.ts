import { expect, test } from "bun:test"
import { Hono } from "hono"
import * as v from "valibot"
import { secretHash } from "../access/secrets"
import { proxyList } from "../config"
import { type Assembly, asOps, asRoot, assembleApp, bearer } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { type ApiEnv, input, operation } from "./operation"

const ok = v.object({ ok: v.string() })

const routes = new Hono<ApiEnv>()
  .get("/things/:id", operation({ id: "get_thing", summary: "Get", role: "viewer", returns: ok }), (c) =>
    c.json({ ok: c.req.param("id") }),
  )
  .post(
    "/things",
    operation({ id: "create_thing", summary: "Create", role: "operator", returns: ok, status: 201 }),
    input("json", v.object({ name: v.optional(v.string(), "none") })),
    (c) => c.json({ ok: c.req.valid("json").name }, 201),
  )
  .get("/agents/:id/work", operation({ id: "work", summary: "Work", role: "agent", returns: ok }), (c) =>
    c.json({ ok: c.req.param("id") }),
  )

onEachDialect("limits and cross-origin rules", (openDb) => {
  const open = async (options: Assembly = {}) => assembleApp(await openDb(), { routes, ...options })
  const agents = { [secretHash("agent-key")]: "agent-1" }

  test("a body over the limit is refused before anybody is authenticated, announced or not", async () => {
    const { app } = await open({ maxBodyBytes: 1000 })
    const chunked = (size: number) =>
      new ReadableStream({
        start(controller) {
          for (let sent = 0; sent < size; sent += 100) controller.enqueue(new Uint8Array(100).fill(32))
          controller.close()
        },
      })
    const announced = await app.request("/api/v1/things", {
      method: "POST",
      body: "x".repeat(1001),
      headers: { "content-length": "1001" },
    })
    const streamed = await app.request("/api/v1/things", { method: "POST", body: chunked(1100) })
    for (const answer of [announced, streamed]) {
      expect(answer.status).toBe(413)
      expect(await answer.json()).toEqual({ error: expect.any(String), request_id: expect.any(String) })
    }
    const fits = await app.request("/api/v1/things", { method: "POST", body: chunked(1000), ...asOps })
    expect([fits.status, await fits.json()]).toEqual([201, { ok: "none" }])
  })

  test("the rate limit is per key name, else per address, ten times for agents", async () => {
    const { app, clock } = await open({
      agents,
      rateLimits: { address: { perSecond: 1, burst: 2 }, caller: { perSecond: 1, burst: 3 } },
    })
    const statuses = async (count: number, path: string, headers: Record<string, string>) => {
      const seen: number[] = []
      for (let n = 0; n < count; n += 1) seen.push((await app.request(path, { headers })).status)
      return seen
    }
    expect(await statuses(3, "/api/v1/things/1", bearer("wrong"))).toEqual([401, 401, 429])
    // The address is exhausted, the keys behind it are not.
    expect(await statuses(4, "/api/v1/things/1", bearer("root-key"))).toEqual([200, 200, 200, 429])
    expect(await statuses(4, "/api/v1/things/1", bearer("ops-key"))).toEqual([200, 200, 200, 429])
    const agent = await statuses(31, "/api/v1/agents/agent-1/work", bearer("agent-key"))
    expect(agent.filter((status) => status === 200)).toHaveLength(30)
    const refused = await app.request("/api/v1/things/1", asRoot)
    expect(refused.headers.get("retry-after")).toBe("1")
    expect([...refused.headers.keys()].some((name) => name.startsWith("x-ratelimit"))).toBe(false)
    expect(await refused.json()).toEqual({ error: "Rate limit exceeded", request_id: expect.any(String) })
    clock.advance(1000)
    expect(await statuses(2, "/api/v1/things/1", bearer("root-key"))).toEqual([200, 429])
  })

  test("addresses behind a trusted proxy have buckets of their own", async () => {
    const { app } = await open({
      trustedProxies: proxyList(["10.0.0.0/8"]),
      rateLimits: { address: { perSecond: 1, burst: 1 }, caller: { perSecond: 1, burst: 1 } },
    })
    const status = async (peer: string, forwarded: string) =>
      (await app.request("/api/v1/version", { headers: { "x-forwarded-for": forwarded } }, { remoteAddress: peer }))
        .status
    expect(await status("10.0.0.1", "198.51.100.1")).toBe(200)
    expect(await status("10.0.0.1", "198.51.100.2")).toBe(200)
    expect(await status("10.0.0.1", "198.51.100.2")).toBe(429)
    expect(await status("192.0.2.9", "203.0.113.1")).toBe(200)
    expect(await status("192.0.2.9", "203.0.113.2")).toBe(429)
  })

  const corsHeaders = (headers: Headers) =>
    Object.fromEntries([...headers].filter(([name]) => name.startsWith("access-control-") || name === "vary"))

  test("without configured origins there are no CORS headers, and OPTIONS is 204", async () => {
    const { app } = await open()
    const origin = { origin: "https://a.example" }
    const preflight = await app.request("/api/v1/things", { method: "OPTIONS", headers: origin })
    expect([preflight.status, corsHeaders(preflight.headers)]).toEqual([204, {}])
    const answer = await app.request("/api/v1/things/1", { headers: { ...origin, ...bearer("root-key") } })
    expect(corsHeaders(answer.headers)).toEqual({})
    for (const path of ["/health", "/ready", "/api/v1/auth/info", "/api/v1/version"]) {
      const open = await app.request(path, { headers: origin })
      expect(corsHeaders(open.headers)).toEqual({ "access-control-allow-origin": "*" })
    }
  })

  test("configured origins are matched exactly", async () => {
    const { app } = await open({ corsOrigins: ["https://a.example"] })
    const request = (origin: string, method: string) =>
      app.request("/api/v1/things/1", { method, headers: { origin, ...(method === "GET" ? bearer("root-key") : {}) } })
    const preflight = await request("https://a.example", "OPTIONS")
    expect(preflight.status).toBe(204)
    expect(corsHeaders(preflight.headers)).toEqual({
      "access-control-allow-origin": "https://a.example",
      "access-control-allow-methods": "GET, POST, PUT, DELETE, PATCH, OPTIONS",
      "access-control-allow-headers": "Content-Type, Authorization, X-Request-ID",
      "access-control-max-age": "86400",
      vary: "Origin",
    })
    expect(corsHeaders((await request("https://a.example", "GET")).headers)).toEqual({
      "access-control-allow-origin": "https://a.example",
      vary: "Origin",
    })
    for (const origin of ["https://a.example.evil", "http://a.example", "null"]) {
      expect(corsHeaders((await request(origin, "GET")).headers)).toEqual({ vary: "Origin" })
    }
    const refused = await app.request("/api/v1/things/1", { headers: { origin: "https://a.example" } })
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([401, "https://a.example"])
  })

  test("a star allows all origins", async () => {
    const { app } = await open({ corsOrigins: ["*"] })
    const answer = await app.request("/api/v1/things/1", {
      headers: { origin: "https://b.example", ...bearer("root-key") },
    })
    expect(corsHeaders(answer.headers)).toEqual({ "access-control-allow-origin": "*" })
  })

  test("holds over a real socket too", async () => {
    const { app } = await open({ maxBodyBytes: 5000 })
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request, server) => app.fetch(request, { remoteAddress: server.requestIP(request)?.address ?? null }),
    })
    try {
      const post = (body: BodyInit) => fetch(new URL("/api/v1/things", server.url), { method: "POST", body, ...asOps })
      const streamOf = (text: string) =>
        new ReadableStream({
          async start(controller) {
            for (const part of text.match(/.{1,50}/gs) ?? []) {
              controller.enqueue(new TextEncoder().encode(part))
              await new Promise((resolve) => setImmediate(resolve))
            }
            controller.close()
          },
        })
      expect((await post(streamOf(JSON.stringify({ name: "n".repeat(300) })))).status).toBe(201)
      expect((await post(streamOf(JSON.stringify({ name: "n".repeat(6000) })))).status).toBe(413)
      expect((await post(JSON.stringify({ name: "n".repeat(6000) }))).status).toBe(413)
      expect((await fetch(new URL("/api/v1/things/1", server.url), { method: "HEAD", ...asOps })).status).toBe(200)
    } finally {
      await server.stop(true)
    }
  })
})
