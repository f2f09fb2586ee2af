/**
 * One loop of the scheduler: runs on its interval, at once when it is told that there is work, never twice at a time, and
 * survives whatever its run throws.
 */

import type { Logger } from "@logtape/logtape"
import { Cron } from "croner"

export interface LoopDefinition {
  readonly name: string
  readonly everyMs: number
  /** A run that takes longer is told to stop, and the next may start. */
  readonly timeoutMs: number
  /** Also runs as soon as this server takes the loop over. */
  readonly onStart: boolean
  /** Signals that mean "there may be work now". */
  readonly wakeOn?: readonly string[]
  /** How long after a run began the next one may be woken: what comes meanwhile is done together. */
  readonly restMs?: number
  /** The part of the time that its runs may take: after a long one it rests in proportion, whatever ticks or wakes it. */
  readonly mostShare?: number
  run(signal: AbortSignal): Promise<unknown>
}

export interface LoopRunner {
  /** This server has the loop from now on. */
  take(): void
  /** Another server has it, or the database cannot be asked: what runs is told to stop. */
  lose(): void
  /** Runs now, or once more after the run under way and its rest. */
  wake(): void
  /** Resolves when nothing runs any more. */
  stop(): Promise<void>
  readonly isBusy: () => boolean
}

/** croner counts in seconds. */
const secondsOf = (ms: number): number => Math.max(1, Math.round(ms / 1000))

export const loopRunner = (
  { name, everyMs, timeoutMs, onStart, restMs = 0, mostShare = 1, run }: LoopDefinition,
  log: Logger,
): LoopRunner => {
  let isHeld = false
  let isStopped = false
  let again = false
  let startedAt = Number.NEGATIVE_INFINITY
  let notBefore = Number.NEGATIVE_INFINITY
  let rest: ReturnType<typeof setTimeout> | undefined
  let running: { work: Promise<void>; abort: AbortController } | null = null

  const once = async (abort: AbortController): Promise<void> => {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      abort.abort()
      reject(new Error(`took longer than ${timeoutMs} ms`))
    }, timeoutMs)
    log.debug("loop {loop} begins", { loop: name })
    try {
      await Promise.race([run(abort.signal), late])
    } catch (error) {
      // A run that was told to stop may say so in any way it likes.
      if (!abort.signal.aborted || !isStopped) log.error("loop {loop} failed: {error}", { loop: name, error })
    } finally {
      clearTimeout(timer)
      log.debug("loop {loop} ends", { loop: name })
    }
  }

  const endRest = (): void => {
    clearTimeout(rest)
    rest = undefined
  }

  const start = (): void => {
    endRest()
    startedAt = performance.now()
    const abort = new AbortController()
    const work = once(abort).finally(() => {
      running = null
      const endedAt = performance.now()
      notBefore = Math.max(startedAt + restMs, endedAt + (endedAt - startedAt) * (1 / mostShare - 1))
      if (again && isHeld && !isStopped) {
        again = false
        wake()
      }
    })
    running = { work, abort }
  }

  const wake = (): void => {
    if (!isHeld || isStopped) return
    if (running !== null) {
      again = true
      return
    }
    const leftMs = notBefore - performance.now()
    if (leftMs <= 0) start()
    else {
      rest ??= setTimeout(() => {
        rest = undefined
        wake()
      }, leftMs)
    }
  }

  // The first tick is one interval away: what has to run at once is run by `take` or `wake`.
  const firstTick = new Date(Date.now() + everyMs)
  const timing = { interval: secondsOf(everyMs), startAt: firstTick, paused: true, unref: true }
  const schedule = new Cron("* * * * * *", timing, () => {
    if (!isHeld || isStopped) return
    if (running === null) wake()
    // A run that was woken a moment ago does what the tick would have done.
    else if (performance.now() - startedAt >= everyMs) {
      log.warn("loop {loop} is still busy: this tick is left out", { loop: name })
    }
  })

  return {
    take() {
      if (isHeld || isStopped) return
      isHeld = true
      schedule.resume()
      if (onStart) wake()
    },
    lose() {
      if (!isHeld) return
      isHeld = false
      again = false
      endRest()
      schedule.pause()
      running?.abort.abort()
    },
    wake,
    isBusy: () => running !== null,
    async stop() {
      isStopped = true
      endRest()
      schedule.stop()
      running?.abort.abort()
      await running?.work
    },
  }
}
