/** Counts and times what issuers are asked for. In memory: a server that starts begins at 0, which is what counters may do. */
import { Counter, Histogram, type Registry } from "prom-client"
import { issuerDefinitions } from "../connectors/issuers/catalog"
import type { Issuer, OrderStatus } from "../connectors/issuers/contract"
import { AppError, messageOf } from "../errors"

const errorClasses = [
  "timeout",
  "auth",
  "rate_limited",
  "validation",
  "upstream_5xx",
  "upstream_4xx",
  "network",
  "other",
] as const
export type ErrorClass = (typeof errorClasses)[number]

const codeClass: Readonly<Partial<Record<AppError["code"], ErrorClass>>> = {
  validation: "validation",
  bad_reference: "validation",
  unprocessable: "validation",
  not_supported: "validation",
  unauthenticated: "auth",
  forbidden: "auth",
  rate_limited: "rate_limited",
}

const networkCodes =
  /\b(ECONN\w+|ENOTFOUND|EAI_\w+|EHOSTUNREACH|ENETUNREACH|EPIPE|ENOENT|ConnectionRefused|ConnectionClosed)\b/
const httpStatus = /\b(?:HTTP|status)[ :]+(\d{3})\b/i

const byStatus = (status: number): ErrorClass => {
  if (status === 401 || status === 403) return "auth"
  if (status === 429) return "rate_limited"
  if (status === 408 || status === 504) return "timeout"
  return status >= 500 ? "upstream_5xx" : "upstream_4xx"
}

const namesAndCodes = (error: unknown): string =>
  error instanceof Error
    ? `${error.name} ${"code" in error ? String(error.code) : ""} ${namesAndCodes(error.cause)}`
    : ""

/** What kind of failure it was; first match wins, in the order of the list. */
export const errorClassOf = (error: unknown): ErrorClass => {
  const text = messageOf(error)
  const kind = namesAndCodes(error)
  if (/TimeoutError|ETIMEDOUT/.test(kind) || /timed? ?out|no answer within/i.test(text)) return "timeout"
  const known = error instanceof AppError ? codeClass[error.code] : undefined
  if (known !== undefined) return known
  const status = httpStatus.exec(text)?.[1]
  if (status !== undefined && Number(status) >= 400) return byStatus(Number(status))
  if (networkCodes.test(kind) || /connection (refused|reset|closed)|unable to connect|getaddrinfo/i.test(text))
    return "network"
  return "other"
}

export const issuanceMetrics = (registry: Registry) => {
  const issued = new Counter({
    name: "certctl_issuance_total",
    help: "Requests that issuers have decided",
    labelNames: ["issuer_type", "outcome"],
    registers: [registry],
  })
  const failures = new Counter({
    name: "certctl_issuance_failures_total",
    help: "Requests that failed, by what kind of failure it was",
    labelNames: ["issuer_type", "error_class"],
    registers: [registry],
  })
  const duration = new Histogram({
    name: "certctl_issuance_duration_seconds",
    help: "How long issuers took to answer a request for a certificate; orders that they decide later are left out",
    labelNames: ["issuer_type"],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
    registers: [registry],
  })
  // All labels from the start: a rate over a series that appears later misses its first event.
  for (const { type } of issuerDefinitions) {
    for (const outcome of ["success", "failure"]) issued.inc({ issuer_type: type, outcome }, 0)
    for (const error_class of errorClasses) failures.inc({ issuer_type: type, error_class }, 0)
    duration.zero({ issuer_type: type })
  }
  const succeeded = (type: string) => issued.inc({ issuer_type: type, outcome: "success" })
  const failed = (type: string, error: unknown) => {
    issued.inc({ issuer_type: type, outcome: "failure" })
    failures.inc({ issuer_type: type, error_class: errorClassOf(error) })
  }

  return {
    /** The connector, counting. */
    metered<C extends Issuer>(type: string, connector: C): C {
      const { issue, orderStatus } = connector
      return {
        ...connector,
        async issue(request) {
          const startedAt = performance.now()
          try {
            const result = await issue.call(connector, request)
            if ("certPem" in result) {
              duration.observe({ issuer_type: type }, (performance.now() - startedAt) / 1000)
              succeeded(type)
            }
            return result
          } catch (error) {
            duration.observe({ issuer_type: type }, (performance.now() - startedAt) / 1000)
            failed(type, error)
            throw error
          }
        },
        ...(orderStatus === undefined
          ? {}
          : {
              async orderStatus(orderId: string): Promise<OrderStatus> {
                // That it could not be asked says nothing about the order.
                const status = await orderStatus.call(connector, orderId)
                if (status.state === "completed") succeeded(type)
                if (status.state === "failed")
                  failed(type, new AppError("upstream", status.message ?? "the CA refused the order"))
                return status
              },
            }),
      }
    },
  }
}
