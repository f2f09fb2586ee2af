/** Waiting that ends early when the agent stops, and repeating what the network or a busy server refused. */
import { AppError } from "../src/errors"

/** Resolves after the time or when the signal fires, whichever comes first. */
export const pause = async (milliseconds: number, signal: AbortSignal): Promise<void> => {
  if (milliseconds <= 0 || signal.aborted) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const end = () => resolve()
  const timer = setTimeout(end, milliseconds)
  signal.addEventListener("abort", end, { once: true })
  await promise
  clearTimeout(timer)
  signal.removeEventListener("abort", end)
}

/**
 * The wait before the next call after `failures` failed ones in a row: n units, ten at most, less up to a quarter, so that
 * agents that lost their server in the same second do not come back in the same second.
 */
export const backoffMs = (failures: number, unitMs: number, random: () => number = Math.random): number =>
  Math.min(failures, 10) * unitMs * (1 - random() / 4)

const attempts = 5

/** Waits between repeated calls: 1/15, 2/15, 4/15 … of the back-off unit (2, 4, 8, 16 s), or what the server asked for. */
const repeatDelayMs = (attempt: number, unitMs: number, retryAfterMs: number | null): number =>
  Math.min(retryAfterMs ?? (unitMs / 15) * 2 ** (attempt - 1), 2 * unitMs)

export interface Repeating {
  readonly unitMs: number
  readonly signal: AbortSignal
}

/**
 * Calls until the outcome is final, five times at most; then the last outcome stands. `retryAfter` says undefined for a final
 * outcome, else the server's wish in milliseconds or null. A call that fails with a retryable AppError is repeated too.
 */
export const repeatedly = async <R>(
  { unitMs, signal }: Repeating,
  call: () => Promise<R>,
  retryAfter: (outcome: R) => number | null | undefined = () => undefined,
): Promise<R> => {
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt === attempts || signal.aborted
    let wish: number | null = null
    try {
      const outcome = await call()
      const asked = retryAfter(outcome)
      if (asked === undefined || isLast) return outcome
      wish = asked
    } catch (error) {
      if (isLast || !(error instanceof AppError && error.retryable)) throw error
    }
    await pause(repeatDelayMs(attempt, unitMs, wish), signal)
  }
}
