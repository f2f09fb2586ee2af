/** Proving that a name is the client's (RFC 8555 section 8, RFC 8737): what every kind of proof has in common. */
import { createHash } from "node:crypto"
import { AppError } from "../errors"
import { storedProblem, type ValidationProblemType } from "./acme.problem"

export interface Proof {
  /** Without `*.`. */
  readonly name: string
  readonly token: string
  /** The token and the thumbprint of the account's key (RFC 8555 section 8.1). */
  readonly keyAuthorization: string
  /** Ends everything. */
  readonly signal: AbortSignal
}

/** Resolves when the proof is there. @throws ValidationError what the client is told; anything else is a failed connection */
export type Validator = (proof: Proof) => Promise<void>

export class ValidationError extends Error {
  constructor(
    readonly type: ValidationProblemType,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = "ValidationError"
  }
}

export const keyAuthorizationOf = (token: string, thumbprint: string): string => `${token}.${thumbprint}`

export const digestOf = (keyAuthorization: string): Buffer => createHash("sha256").update(keyAuthorization).digest()

/** What the client is told. Never what a server answered: it might be a way to read where the client cannot. */
export const validationProblem = (error: unknown) => {
  if (error instanceof ValidationError) return storedProblem(error.type, error.message)
  if (error instanceof AppError && error.code === "validation") return storedProblem("connection", error.message)
  if (error instanceof AppError) return storedProblem("dns", error.message)
  const isLate = error instanceof Error && error.name === "TimeoutError"
  return storedProblem("connection", isLate ? "there was no answer in time" : "the connection failed")
}

/** Runs at most `most` at a time; the others wait in the order in which they came. */
export const bounded = (most: number) => {
  const waiting: (() => void)[] = []
  let running = 0
  return async <R>(work: () => Promise<R>): Promise<R> => {
    if (running >= most) {
      const { promise, resolve } = Promise.withResolvers<void>()
      waiting.push(resolve)
      await promise
    } else running += 1
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      // The place goes to the next one without becoming free in between.
      if (next === undefined) running -= 1
      else next()
    }
  }
}
