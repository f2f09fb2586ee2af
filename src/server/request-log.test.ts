import { afterEach, expect, test } from "bun:test"
import { resetSync } from "@logtape/logtape"
import { Hono } from "hono"
import { Registry } from "prom-client"
import * as v from "valibot"
import { configureLogging, logger } from "../logging"
import { assembleApp, bearer } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { type ApiEnv, operation } from "./operation"

const routes = new Hono<ApiEnv>().get(
  "/things/:id",
  operation({ id: "get_thing", summary: "Get", role: "viewer", returns: v.object({ id: v.string() }) }),
  (c) => {
    logger("things").info("looking at a thing")
    if (c.req.param("id") === "broken") throw new Error("wires crossed")
    return c.json({ id: c.req.param("id") })
  },
)

afterEach(resetSync)

onEachDialect("the request log", (openDb) => {
  const open = async () => {
    const lines: string[] = []
    configureLogging({ level: "info", format: "json", write: (line) => void lines.push(line) })
    const registry = new Registry()
    return { lines, registry, ...assembleApp(await openDb(), { routes, registry }) }
  }

  test("has one line per request with its id, which every other line of it carries too", async () => {
    const { app, lines, apiCalls } = await open()
    const answer = await app.request("/api/v1/things/1?token=hunter2", { headers: bearer("root-key") })
    const id = answer.headers.get("x-request-id")
    const parsed = lines.map((line) => JSON.parse(line))
    expect(parsed).toMatchObject([
      { logger: "things", message: "looking at a thing", request_id: id },
      {
        logger: "http",
        message: "GET /api/v1/things/1 200",
        method: "GET",
        path: "/api/v1/things/1",
        status: 200,
        request_id: id,
      },
    ])
    expect(lines.join("")).not.toContain("hunter2")
    expect(lines.join("")).not.toContain("root-key")
    await apiCalls.settled()
  })

  test("keeps probes out, and has the whole of a crash", async () => {
    const { app, lines, apiCalls } = await open()
    await app.request("/health")
    expect(lines).toEqual([])
    const answer = await app.request("/api/v1/things/broken", { headers: bearer("root-key") })
    expect(await answer.text()).not.toContain("wires crossed")
    const crash = lines.map((line) => JSON.parse(line)).find(({ level }) => level === "error")
    expect(crash.error).toMatchObject({ message: "wires crossed" })
    expect(crash.error.stack).toContain("request-log.test.ts")
    expect(crash.request_id).toBe(answer.headers.get("x-request-id"))
    await apiCalls.settled()
  })

  test("metrics count by route, not by path", async () => {
    const { app, registry, apiCalls } = await open()
    for (const id of ["1", "2"]) await app.request(`/api/v1/things/${id}`, { headers: bearer("root-key") })
    await app.request("/api/v1/things/3")
    await app.request("/api/v1/nothing/4", { headers: bearer("root-key") })
    const text = await registry.metrics()
    expect(text).toContain('certctl_http_requests_total{method="GET",route="/api/v1/things/:id",status="200"} 2')
    expect(text).toContain('certctl_http_requests_total{method="GET",route="/api/v1/things/:id",status="401"} 1')
    expect(text).toContain('route="unmatched",status="404"} 1')
    expect(text).toContain("certctl_http_request_duration_seconds_bucket")
    await apiCalls.settled()
  })
})
