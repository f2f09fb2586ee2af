/**
 * The one error class of the code base. Throw it where the fact is known; each wire format translates it once
 * (API error body, agent exit, job failure). Anything else that reaches an edge is a bug and is answered in general words.
 */

interface CodeFacts {
  /** HTTP status of the API answer. */
  readonly status: number
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean
}

const codes = {
  /** A field is missing or has the wrong form. The message names the field. */
  validation: { status: 400, retryable: false },
  /** The object exists but is in a state that does not allow the action. */
  invalid_state: { status: 400, retryable: false },
  /** The input refers to a row that does not exist. */
  bad_reference: { status: 400, retryable: false },
  unauthenticated: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  /** A duplicate, a lost race, or a row that others still refer to. */
  conflict: { status: 409, retryable: false },
  /** The agent was retired. */
  gone: { status: 410, retryable: false },
  too_large: { status: 413, retryable: false },
  unsupported_media_type: { status: 415, retryable: false },
  unprocessable: { status: 422, retryable: false },
  rate_limited: { status: 429, retryable: true },
  internal: { status: 500, retryable: false },
  /** A CA or another outside system refused or failed. The message is fit for the caller. */
  upstream: { status: 500, retryable: true },
  not_supported: { status: 501, retryable: false },
  unavailable: { status: 503, retryable: true },
} as const satisfies Record<string, CodeFacts>

export type ErrorCode = keyof typeof codes

export interface ErrorOptions {
  cause?: unknown
  /** Extra keys of the JSON answer, for the few answers whose shape has more than the three standard keys. */
  body?: Readonly<Record<string, unknown>>
}

export class AppError extends Error {
  readonly code: ErrorCode
  readonly body: Readonly<Record<string, unknown>> | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = "AppError"
    this.code = code
    this.body = options.body
  }

  get status(): number {
    return codes[this.code].status
  }

  get retryable(): boolean {
    return codes[this.code].retryable
  }
}

/** The words of an unknown thrown value, for logs and job errors. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
