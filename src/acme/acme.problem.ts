/** What an ACME client is told when something fails (RFC 8555 section 6.7, RFC 9773 section 5): its types and their statuses. */
import type { StoredProblem } from "../db/tables/acme.tables"
import { AppError, type ErrorCode } from "../errors"

const prefix = "urn:ietf:params:acme:error:"

const codes = {
  accountDoesNotExist: "validation",
  alreadyReplaced: "conflict",
  alreadyRevoked: "validation",
  badCSR: "validation",
  badNonce: "validation",
  badPublicKey: "validation",
  badRevocationReason: "validation",
  badSignatureAlgorithm: "validation",
  externalAccountRequired: "forbidden",
  invalidContact: "validation",
  malformed: "validation",
  orderNotReady: "forbidden",
  rateLimited: "rate_limited",
  rejectedIdentifier: "validation",
  serverInternal: "internal",
  unauthorized: "forbidden",
  unsupportedContact: "validation",
  unsupportedIdentifier: "validation",
  userActionRequired: "forbidden",
} as const satisfies Record<string, ErrorCode>

export type AcmeProblemType = keyof typeof codes
/** What a validation may end with; never an answer of its own. */
export type ValidationProblemType = "connection" | "dns" | "incorrectResponse" | "tls"

interface ProblemExtras {
  /** Where the type's own status does not fit. */
  readonly code?: ErrorCode
  /** Further members of the document. */
  readonly members?: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

interface ProblemBody extends Readonly<Record<string, unknown>> {
  readonly acme: {
    readonly members: Readonly<Record<string, unknown>>
    readonly headers: Readonly<Record<string, string>>
  }
}

/** An error that the client is told as `type`. `detail` is fit for strangers. */
export const acmeProblem = (type: AcmeProblemType, detail: string, extras: ProblemExtras = {}): AppError => {
  const { code = codes[type], members = {}, headers = {}, cause } = extras
  const body: ProblemBody = { acme: { members: { type: prefix + type, ...members }, headers } }
  return new AppError(code, detail, { body, ...(cause === undefined ? {} : { cause }) })
}

export interface ProblemDocument {
  readonly status: number
  /** `application/problem+json`. */
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>
}

const typeOfCode: Readonly<Partial<Record<ErrorCode, AcmeProblemType>>> = {
  validation: "malformed",
  bad_reference: "malformed",
  invalid_state: "malformed",
  not_found: "malformed",
  conflict: "malformed",
  unsupported_media_type: "malformed",
  too_large: "malformed",
  forbidden: "unauthorized",
  unauthenticated: "unauthorized",
  rate_limited: "rateLimited",
}

const isOurs = (body: AppError["body"]): body is ProblemBody => body !== undefined && "acme" in body

/** Any thrown value as the client sees it; what nobody foresaw is told in general words. */
export const problemDocument = (error: unknown): ProblemDocument => {
  if (!(error instanceof AppError)) return problemDocument(acmeProblem("serverInternal", "internal error"))
  if (isOurs(error.body)) {
    const { members, headers } = error.body.acme
    return { status: error.status, body: { ...members, detail: error.message, status: error.status }, headers }
  }
  const type = typeOfCode[error.code] ?? "serverInternal"
  const isTold = error.status < 500 || error.code === "unavailable"
  const retryAfter = error.body?.retry_after
  const wait = retryAfter === undefined && error.code === "unavailable" ? 5 : retryAfter
  return {
    status: error.status,
    body: { type: prefix + type, detail: isTold ? error.message : "internal error", status: error.status },
    headers: wait === undefined ? {} : { "retry-after": String(wait) },
  }
}

/** As it stands in an order or a challenge that failed. */
export const storedProblem = (type: AcmeProblemType | ValidationProblemType, detail: string): StoredProblem => ({
  type: prefix + type,
  detail,
  status: type in codes ? acmeProblem(type as AcmeProblemType, "").status : 400,
})

/** The last part of a problem's type, for counters. */
export const problemName = ({ body }: ProblemDocument): string => String(body.type).slice(prefix.length)
