/**
 * How hard an issuer is asked: so many calls at once, none that lasts for ever, and none at all for a while when hardly any succeeds.
 * Each issuer has a gate of its own, so that one that hangs or fails keeps only its own certificates waiting. What is known of it is
 * this process's: every server finds out for itself, and the row of the issuer shows what the last one found.
 */
import type { Clock } from "../clock"
import { AppError, messageOf } from "../errors"

export interface GateSettings {
  /** Calls under way at once. */
  readonly atOnce: number
  /** Callers that wait for their turn; further ones are told to come back. */
  readonly waiting: number
  /** A call that takes longer counts as failed. What it brings in the end is handed to `onLate`. */
  readonly callMs: number
}

interface Deps {
  readonly clock: Clock
  readonly settings?: Partial<GateSettings>
  /** Hardly any call succeeds: the issuer is left alone until then. */
  onDegraded(issuerId: string, reason: string, until: Date): Promise<void>
  /** The first call that succeeded, in this process or after trouble. */
  onRecovered(issuerId: string): Promise<void>
  onError(issuerId: string, error: unknown): void
}

/** Far above what any connector allows itself (30 s a request), so that it is the last resort. */
const usual: GateSettings = { atOnce: 20, waiting: 60, callMs: 180_000 }
/** The calls by which an issuer is judged: the last ones, of the last while. */
const judgedCalls = 20
const judgedMs = 10 * 60_000
const fewestCalls = 10
/** The part of them that has to fail. One that fails now and then is left to the retries of its jobs. */
const failingPart = 0.8
const firstPauseMs = 30_000
const longestPauseMs = 15 * 60_000
/** When to come back where there are too many callers, in seconds. */
const busySeconds = 5

interface Gate {
  underWay: number
  readonly waiting: (() => void)[]
  outcomes: { readonly at: number; readonly isGood: boolean }[]
  /** Closed until then, in milliseconds; 0 is open. */
  closedUntil: number
  pauseMs: number
  reason: string
  isProbing: boolean
  /** Whether the row may say that the issuer is in trouble: unknown before the first call. */
  mayBeDegraded: boolean
}

/** Errors that say something about the request, and nothing about the issuer. */
const isAboutRequest = (error: unknown): boolean =>
  error instanceof AppError && !["upstream", "unavailable", "rate_limited", "internal"].includes(error.code)

const retryAfterMs = (error: unknown): number =>
  error instanceof AppError ? Math.max(0, Number(error.body?.retry_after ?? 0) || 0) * 1000 : 0

export interface AskOptions<R> {
  /** For a call that should take less than usual. */
  readonly mostMs?: number
  /** Hears what a call brought after it had been given up. */
  readonly onLate?: (result: R) => void
  /** `demandOpen` has let it in, and the intent is written: however many came meanwhile, it waits for its turn. */
  readonly isAdmitted?: boolean
}

export const issuerGates = ({ clock, settings, onDegraded, onRecovered, onError }: Deps) => {
  const { atOnce, waiting: mostWaiting, callMs } = { ...usual, ...settings }
  const gates = new Map<string, Gate>()

  const gateOf = (issuerId: string): Gate => {
    const known = gates.get(issuerId)
    if (known !== undefined) return known
    const gate: Gate = {
      underWay: 0,
      waiting: [],
      outcomes: [],
      closedUntil: 0,
      pauseMs: firstPauseMs,
      reason: "",
      isProbing: false,
      mayBeDegraded: true,
    }
    gates.set(issuerId, gate)
    return gate
  }

  const refusal = (message: string, seconds: number): AppError =>
    new AppError("unavailable", message, { body: { retry_after: Math.max(1, Math.ceil(seconds)) } })

  /** Why the issuer is not to be asked at this moment; null: it may be. */
  const closedReason = (issuerId: string, gate: Gate): AppError | null => {
    if (gate.closedUntil === 0) return null
    const leftMs = gate.closedUntil - clock.now().getTime()
    if (leftMs <= 0 && !gate.isProbing) return null
    const seconds = Math.max(leftMs / 1000, busySeconds)
    return refusal(`issuer ${issuerId} is left alone for a while: ${gate.reason}`, seconds)
  }

  const report = (issuerId: string, write: Promise<void>): void =>
    void write.catch((error: unknown) => onError(issuerId, error))

  const close = (issuerId: string, gate: Gate, reason: string, pauseMs: number): void => {
    gate.closedUntil = clock.now().getTime() + pauseMs
    gate.reason = reason
    gate.mayBeDegraded = true
    report(issuerId, onDegraded(issuerId, reason, new Date(gate.closedUntil)))
  }

  const noteSuccess = (issuerId: string, gate: Gate): void => {
    const wasClosed = gate.closedUntil !== 0
    if (wasClosed) {
      gate.closedUntil = 0
      gate.pauseMs = firstPauseMs
      gate.outcomes = []
    }
    gate.outcomes.push({ at: clock.now().getTime(), isGood: true })
    if (!gate.mayBeDegraded) return
    gate.mayBeDegraded = false
    report(issuerId, onRecovered(issuerId))
  }

  const noteFailure = (issuerId: string, gate: Gate, error: unknown): void => {
    if (isAboutRequest(error)) return
    const now = clock.now().getTime()
    gate.outcomes.push({ at: now, isGood: false })
    gate.outcomes = gate.outcomes.filter(({ at }) => now - at <= judgedMs).slice(-judgedCalls)
    const failures = gate.outcomes.filter(({ isGood }) => !isGood).length
    const askedToWaitMs = retryAfterMs(error)
    const isFailing = gate.outcomes.length >= fewestCalls && failures >= failingPart * gate.outcomes.length
    // Calls that began before it was closed still come to their ends.
    const isClosed = gate.closedUntil > now
    if (gate.isProbing || (isFailing && !isClosed)) {
      const words = `${failures} of the last ${gate.outcomes.length} calls failed, the last with: ${messageOf(error)}`
      close(issuerId, gate, words, Math.max(gate.pauseMs, askedToWaitMs))
      gate.pauseMs = Math.min(gate.pauseMs * 2, longestPauseMs)
    } else if (askedToWaitMs > 0 && !isClosed) {
      close(issuerId, gate, `it asked to be left alone: ${messageOf(error)}`, askedToWaitMs)
    }
  }

  const demandRoom = (issuerId: string, gate: Gate): void => {
    if (gate.underWay >= atOnce && gate.waiting.length >= mostWaiting) {
      throw refusal(`issuer ${issuerId} is busy`, busySeconds)
    }
  }

  /** Resolves when it is this caller's turn. @throws AppError `unavailable` */
  const enter = async (issuerId: string, gate: Gate, isAdmitted: boolean): Promise<void> => {
    if (!isAdmitted) demandRoom(issuerId, gate)
    if (gate.underWay >= atOnce) {
      // The turn is handed over: whoever leaves does not count it down first.
      await new Promise<void>((resolve) => gate.waiting.push(resolve))
    } else gate.underWay += 1
  }

  const leave = (gate: Gate): void => {
    const next = gate.waiting.shift()
    if (next === undefined) gate.underWay -= 1
    else next()
  }

  return {
    /**
     * Whether the issuer may be asked now. To be called before anything is written that says that it is being asked.
     * @throws AppError `unavailable` with `retry_after` in seconds
     */
    demandOpen(issuerId: string): void {
      const gate = gateOf(issuerId)
      const closed = closedReason(issuerId, gate)
      if (closed !== null) throw closed
      demandRoom(issuerId, gate)
    },

    /** Whether it may be asked as far as is known; others may be waiting for it. */
    isOpen: (issuerId: string): boolean => closedReason(issuerId, gateOf(issuerId)) === null,

    /**
     * Asks the issuer, within its bounds.
     * @throws AppError `unavailable` it is not to be asked now; `upstream` it has not answered in time; what `call` throws
     */
    async ask<R>(
      issuerId: string,
      call: () => Promise<R>,
      { onLate, isAdmitted = false, mostMs = callMs }: AskOptions<R> = {},
    ): Promise<R> {
      const gate = gateOf(issuerId)
      await enter(issuerId, gate, isAdmitted)
      let timer: ReturnType<typeof setTimeout> | undefined
      let isProbe = false
      try {
        // Looked at when it is this caller's turn: the calls before it may have closed the gate.
        const closed = closedReason(issuerId, gate)
        if (closed !== null) throw closed
        // After a pause one goes ahead of the others.
        isProbe = gate.closedUntil !== 0
        if (isProbe) gate.isProbing = true
        const { promise: late, reject } = Promise.withResolvers<never>()
        let isOver = false
        timer = setTimeout(() => {
          isOver = true
          reject(new AppError("upstream", `no answer within ${Math.round(mostMs / 1000)} seconds`))
        }, mostMs)
        const work = call()
        work.then(
          (result) => {
            if (isOver) onLate?.(result)
          },
          () => undefined, // whoever awaits the call hears of it
        )
        try {
          const result = await Promise.race([work, late])
          noteSuccess(issuerId, gate)
          return result
        } catch (error) {
          noteFailure(issuerId, gate, error)
          throw error
        }
      } finally {
        clearTimeout(timer)
        if (isProbe) gate.isProbing = false
        leave(gate)
      }
    },
  }
}

export type IssuerGates = ReturnType<typeof issuerGates>

/** Where nothing is limited. */
export const openGates: IssuerGates = {
  demandOpen: () => {},
  isOpen: () => true,
  ask: (_issuerId, call) => call(),
}
