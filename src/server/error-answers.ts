/**
 * How failures look in JSON. From a handler: `{error, message, request_id}`, `error` being the status phrase. Before any handler
 * (401, 413, 429) and after a crash: `{error, request_id}`. Internals stay in the log.
 */
import { STATUS_CODES } from "node:http"
import type { Context } from "hono"
import { AppError } from "../errors"
import { logger } from "../logging"
import type { ApiEnv } from "./operation"

const log = logger("http")

export const phraseOf = (status: number): string => STATUS_CODES[status] ?? "Error"

interface ErrorBody extends Readonly<Record<string, unknown>> {
  readonly error: string
  readonly message?: string
}

/** RFC 8555 section 6.7: ACME clients read problem documents, also where it was none of their handlers that refused. */
const acmeProblemOf = (status: number, { error, message = error, request_id }: ErrorBody) => {
  const name = status === 429 ? "rateLimited" : status >= 500 ? "serverInternal" : "malformed"
  return { type: `urn:ietf:params:acme:error:${name}`, detail: message, status, request_id }
}

const json = (
  c: Context<ApiEnv>,
  status: number,
  body: ErrorBody,
  headers: Readonly<Record<string, string>> = {},
): Response =>
  c.req.path.startsWith("/acme/")
    ? Response.json(acmeProblemOf(status, body), {
        status,
        headers: { ...headers, "content-type": "application/problem+json" },
      })
    : Response.json(body, { status, headers })

/** An answer given before a handler ran. */
export const bareError = (
  c: Context<ApiEnv>,
  status: number,
  error: string,
  headers?: Readonly<Record<string, string>>,
): Response => json(c, status, { error, request_id: c.get("requestId") }, headers)

/** An answer in the shape of a handler's error. */
export const errorAnswer = (
  c: Context<ApiEnv>,
  status: number,
  message: string,
  extra: { body?: Readonly<Record<string, unknown>>; headers?: Readonly<Record<string, string>> } = {},
): Response =>
  json(c, status, { error: phraseOf(status), message, request_id: c.get("requestId"), ...extra.body }, extra.headers)

/** RFC 9110 section 15.5.2: every 401 has one. */
export const challenge = { "www-authenticate": 'Bearer realm="certctl"' }

export interface Problem {
  readonly status: number
  /** Fit for the caller. */
  readonly message: string
  readonly body?: Readonly<Record<string, unknown>>
  /** Not an AppError: nobody foresaw it. */
  readonly isCrash: boolean
}

/** Translates what was thrown, and logs whole what the caller must not see. */
export const problemOf = (error: unknown): Problem => {
  if (error instanceof AppError && error.code !== "internal") {
    if (error.status >= 500)
      log.warn("answered {status}: {problem}", { status: error.status, problem: error.message, error })
    return { status: error.status, message: error.message, body: error.body, isCrash: false }
  }
  log.error("request failed", { error })
  return { status: 500, message: "internal error", isCrash: !(error instanceof AppError) }
}

export const problemAnswer = (c: Context<ApiEnv>, problem: Problem): Response =>
  problem.isCrash
    ? bareError(c, problem.status, phraseOf(problem.status))
    : errorAnswer(c, problem.status, problem.message, {
        body: problem.body,
        headers:
          problem.status === 429
            ? { "retry-after": String(problem.body?.retry_after ?? 1) }
            : problem.status === 401
              ? challenge
              : {},
      })
