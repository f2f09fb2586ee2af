/** Counts what ACME clients ask for. In memory: a server that starts begins at 0, which is what counters may do. */
import { Counter, type Registry } from "prom-client"
import { challengeTypes } from "../db/tables/acme.tables"
import type { ChallengeType } from "./challenge.service"

export const acmeOperations = [
  "directory",
  "new_nonce",
  "new_account",
  "account",
  "new_order",
  "order",
  "authorization",
  "challenge",
  "finalize",
  "certificate",
  "key_change",
  "revoke_cert",
  "renewal_info",
] as const
export type AcmeOperation = (typeof acmeOperations)[number]

export const acmeMetrics = (registry: Registry) => {
  const counters = new Map(
    acmeOperations.map((operation) => [
      operation,
      new Counter({
        name: `certctl_acme_${operation}_total`,
        help: `ACME requests: ${operation.replaceAll("_", " ")}`,
        labelNames: ["result"],
        registers: [registry],
      }),
    ]),
  )
  const validations = new Counter({
    name: "certctl_acme_challenge_validations_total",
    help: "Names that ACME clients proved, or failed to",
    labelNames: ["type", "result"],
    registers: [registry],
  })
  // From the start: a rate over a series that appears later misses its first event.
  for (const counter of counters.values()) counter.inc({ result: "success" }, 0)
  for (const type of challengeTypes) for (const result of ["valid", "invalid"]) validations.inc({ type, result }, 0)

  return {
    /** `result`: `success`, or the last part of the problem's type. */
    answered: (operation: AcmeOperation, result: string): void => counters.get(operation)?.inc({ result }),
    validated: (type: ChallengeType, result: "valid" | "invalid"): void => validations.inc({ type, result }),
  }
}

export type AcmeMetrics = ReturnType<typeof acmeMetrics>
