import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as v from "valibot"
import type { AppError } from "../errors"
import { answerIn, apiError } from "./api-answer"
import { type ApiRequest, httpTransport, isConnectionLost, pathOf, type TransportOptions } from "./http-transport"
import { serverUrl } from "./server-url"

let server: ReturnType<typeof Bun.serve>
const answers = new Map<string, (request: Request) => Response | Promise<Response>>()

beforeAll(() => {
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => answers.get(new URL(request.url).pathname)?.(request) ?? new Response("?", { status: 404 }),
  })
})
afterAll(() => server.stop(true))

const send = (path: string, options: Partial<TransportOptions> = {}, request: Partial<ApiRequest> = {}) =>
  httpTransport({
    server: `http://127.0.0.1:${server.port}`,
    apiKey: "key",
    trust: { kind: "system" },
    userAgent: "test/1",
    ...options,
  })({ method: "GET", path, ...request })

const failureOf = async (call: Promise<unknown>): Promise<AppError> => {
  const error = await call.catch((reason: AppError) => reason)
  expect(error).toBeInstanceOf(Error)
  return error as AppError
}

describe("the transport", () => {
  test("sends key, content type and query with every call, GET included", async () => {
    answers.set("/echo", (request) =>
      Response.json({
        key: request.headers.get("authorization"),
        type: request.headers.get("content-type"),
        agent: request.headers.get("user-agent"),
        query: new URL(request.url).search,
      }),
    )
    const { text } = await send("/echo", {}, { query: { wait: "25", holding: "", left: undefined } })
    expect(JSON.parse(text)).toEqual({
      key: "Bearer key",
      type: "application/json",
      agent: "test/1",
      query: "?wait=25&holding=",
    })
  })

  test("gives up on a server that does not answer", async () => {
    answers.set("/slow", async (request) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      request.signal.addEventListener("abort", () => resolve())
      await promise
      return new Response()
    })
    const error = await failureOf(send("/slow", { timeoutMs: 50 }))
    expect(error.code).toBe("unavailable")
    expect(error.message).toContain("no answer within 0.05 s")
    const stop = new AbortController()
    const waiting = send("/slow", {}, { signal: stop.signal })
    stop.abort()
    expect((await failureOf(waiting)).message).toContain("cancelled")
  })

  test("gives up on an answer that does not end", async () => {
    answers.set(
      "/endless",
      () =>
        new Response(
          new ReadableStream({
            pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
          }),
        ),
    )
    expect((await failureOf(send("/endless", { maxBodyBytes: 1_000_000 }))).message).toContain(
      "larger than 1000000 bytes",
    )
  })

  test("carries the key to no other host", async () => {
    answers.set("/moved", () => Response.redirect("http://elsewhere.example/", 302))
    const response = await send("/moved")
    expect(response.status).toBe(302)
    expect(() => answerIn(response, 200, v.unknown())).toThrow("the server answered with a redirect")
  })

  test("says what it could not reach", async () => {
    const error = await failureOf(send("/x", { server: "http://127.0.0.1:1" }))
    expect(error.message).toStartWith("GET http://127.0.0.1:1/x: ")
    expect(error.message).not.toContain("key")
  })

  test("tells a server that is away from one that is slow", async () => {
    expect(isConnectionLost(await failureOf(send("/x", { server: "http://127.0.0.1:1" })))).toBe(true)
    answers.set("/stuck", () => new Promise(() => undefined))
    expect(isConnectionLost(await failureOf(send("/stuck", { timeoutMs: 20 })))).toBe(false)
    answers.set("/busy", () => new Response("", { status: 503 }))
    const answer = await send("/busy")
    expect(isConnectionLost(await failureOf(Promise.reject(apiError(answer))))).toBe(false)
  })

  test("reads Retry-After in seconds only", async () => {
    answers.set("/later", () => new Response("", { status: 429, headers: { "retry-after": "7" } }))
    expect((await send("/later")).retryAfterMs).toBe(7000)
    answers.set(
      "/later",
      () => new Response("", { status: 429, headers: { "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT" } }),
    )
    expect((await send("/later")).retryAfterMs).toBeNull()
  })
})

describe("an error body", () => {
  const answer = (status: number, text: string) => ({ status, statusText: "Status", text, retryAfterMs: null })
  const errorIn = (status: number, text: string): AppError => {
    try {
      answerIn(answer(status, text), 200, v.unknown())
    } catch (error) {
      return error as AppError
    }
    throw new Error("no error")
  }

  test("speaks by message, then error, then status", () => {
    expect(errorIn(404, '{"error":"Not Found","message":"Certificate not found"}').message).toBe(
      "Certificate not found",
    )
    expect(errorIn(401, '{"error":"Invalid API key"}').message).toBe("Invalid API key")
    expect(errorIn(502, "<html>").message).toBe("HTTP 502 Status")
  })

  test("gives the code of its status and whether a retry can help", () => {
    const cases = [400, 401, 403, 404, 409, 410, 429, 500, 501, 503].map((status) => {
      const { code, retryable } = errorIn(status, "{}")
      return [status, code, retryable]
    })
    expect(cases).toEqual([
      [400, "validation", false],
      [401, "unauthenticated", false],
      [403, "forbidden", false],
      [404, "not_found", false],
      [409, "conflict", false],
      [410, "gone", false],
      [429, "rate_limited", true],
      [500, "internal", false],
      [501, "not_supported", false],
      [503, "unavailable", true],
    ])
  })

  test("keeps extra keys", () => {
    const text = '{"error":"blocked_by_dependencies","message":"x","counts":{"active_targets":1}}'
    expect(errorIn(409, text).body).toMatchObject({ counts: { active_targets: 1 } })
  })

  test("is none: a page of somebody else's with status 200 is refused", () => {
    expect(() => answerIn(answer(200, "<html>"), 200, v.object({ a: v.string() }))).toThrow("is this a certctl server?")
  })
})

describe("the server's URL", () => {
  test("loses its trailing slash and keeps a path", () => {
    expect(serverUrl("https://certctl.example:8443/", false)).toBe("https://certctl.example:8443")
    expect(serverUrl("https://certctl.example/base/", false)).toBe("https://certctl.example/base")
  })
  for (const url of ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "http://127.9.9.9"]) {
    test(`may be plain HTTP to this machine: ${url}`, () => expect(serverUrl(url, false)).toBe(url))
  }
  for (const url of [
    "http://certctl.example",
    "http://127.0.0.1.example",
    "http://localhost.example",
    "http://10.0.0.1",
  ]) {
    test(`may not be plain HTTP elsewhere: ${url}`, () => {
      expect(() => serverUrl(url, false)).toThrow("must begin with https://")
      expect(serverUrl(url, true)).toBe(url)
    })
  }
  for (const url of ["", "certctl", "ftp://x", "https://u:p@x", "https://x?a=b", "https://x#y"]) {
    test(`is refused: ${JSON.stringify(url)}`, () => expect(() => serverUrl(url, true)).toThrow("CERTCTL_SERVER_URL"))
  }
})

test("an id stays one segment of a path", () => {
  expect(pathOf("api", "a/b?c#d")).toBe("/api/a%2Fb%3Fc%23d")
  for (const id of ["", ".", ".."]) expect(() => pathOf("api", id)).toThrow("is no id")
})
