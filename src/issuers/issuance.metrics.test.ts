import { expect, test } from "bun:test"
import { Registry } from "prom-client"
import type { Issuer, OrderStatus } from "../connectors/issuers/contract"
import { AppError } from "../errors"
import { type ErrorClass, errorClassOf, issuanceMetrics } from "./issuance.metrics"

const caused = (code: string) => Object.assign(new Error("failed"), { code })

const classified: [unknown, ErrorClass][] = [
  [new AppError("upstream", "no answer within 30 seconds"), "timeout"],
  [new DOMException("The operation timed out.", "TimeoutError"), "timeout"],
  [new AppError("upstream", "the CA did not answer", { cause: caused("ETIMEDOUT") }), "timeout"],
  [new AppError("upstream", "HTTP 504: gateway"), "timeout"],
  [new AppError("unauthenticated", "bad token"), "auth"],
  [new AppError("upstream", "HTTP 403: permission denied"), "auth"],
  [new AppError("rate_limited", "too many new orders"), "rate_limited"],
  [new AppError("upstream", "HTTP 429"), "rate_limited"],
  [new AppError("validation", "the profile allows no such key"), "validation"],
  [new AppError("upstream", "the CA answered HTTP 503"), "upstream_5xx"],
  [new AppError("upstream", "status: 422 unprocessable"), "upstream_4xx"],
  [new AppError("upstream", "the CA cannot be reached", { cause: caused("ECONNREFUSED") }), "network"],
  [new AppError("upstream", "x", { cause: new Error("y", { cause: caused("ENOTFOUND") }) }), "network"],
  [new Error("getaddrinfo failed"), "network"],
  [new AppError("upstream", "the order 4711 was refused"), "other"],
  ["text", "other"],
]

for (const [error, expected] of classified) {
  test(`${error} counts as ${expected}`, () => {
    expect(errorClassOf(error)).toBe(expected)
  })
}

const request = {
  csrPem: "",
  commonName: "",
  sans: [],
  ekus: [],
  maxTtlSeconds: 0,
  mustStaple: false,
  idempotencyKey: "once",
}

test("every decision of an issuer is counted once, and its answers are timed", async () => {
  const registry = new Registry()
  const { metered } = issuanceMetrics(registry)
  let answer: () => Promise<Awaited<ReturnType<Issuer["issue"]>>> = async () => ({ certPem: "", chainPem: "" })
  let order: OrderStatus = { state: "pending" }
  const issuer = metered<Issuer>("GenericCA", {
    issue: () => answer(),
    async revoke() {},
    async testConnection() {},
    orderStatus: async () => order,
  })
  const value = async (series: string) => {
    const line = (await registry.metrics()).split("\n").find((text) => text.startsWith(`${series} `))
    return line === undefined ? null : Number(line.slice(series.length + 1))
  }
  const total = (outcome: string) => value(`certctl_issuance_total{issuer_type="GenericCA",outcome="${outcome}"}`)
  const failures = (kind: string) =>
    value(`certctl_issuance_failures_total{issuer_type="GenericCA",error_class="${kind}"}`)

  // Before anything has happened, too: what is listed has a value.
  expect([await total("success"), await total("failure"), await failures("network")]).toEqual([0, 0, 0])
  expect(await value('certctl_issuance_duration_seconds_bucket{le="120",issuer_type="GenericCA"}')).toBe(0)

  await issuer.issue(request)
  answer = async () => {
    throw new AppError("upstream", "HTTP 503")
  }
  await expect(issuer.issue(request)).rejects.toThrow("HTTP 503")
  expect([await total("success"), await total("failure"), await failures("upstream_5xx")]).toEqual([1, 1, 1])
  expect(await value('certctl_issuance_duration_seconds_count{issuer_type="GenericCA"}')).toBe(2)

  answer = async () => ({ orderId: "o-1" })
  await issuer.issue(request)
  await issuer.orderStatus?.("o-1")
  expect([await total("success"), await total("failure")]).toEqual([1, 1])
  order = { state: "completed", certPem: "", chainPem: "" }
  await issuer.orderStatus?.("o-1")
  order = { state: "failed", message: "refused" }
  await issuer.orderStatus?.("o-2")
  expect([await total("success"), await total("failure"), await failures("other")]).toEqual([2, 2, 1])
})
