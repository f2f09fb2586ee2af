/** Runs the loops that this server holds the lease of, and hands them over when it stops. */
import { logger } from "../logging"
import { type LoopDefinition, type LoopRunner, loopRunner } from "./loop"

/** Who runs what, shared by all servers of one database. */
export interface Leases {
  /** Takes and renews what can be had; returns what is held for the next `ttlMs`. */
  hold(loops: readonly string[], holder: string, ttlMs: number): Promise<readonly { loop: string; fence: number }[]>
  release(holder: string): Promise<void>
}

/** For a database that only one process can have open. */
export const soleHolder: Leases = {
  hold: async (loops) => loops.map((loop) => ({ loop, fence: 1 })),
  release: async () => {},
}

interface Options {
  readonly loops: readonly LoopDefinition[]
  readonly leases: Leases
  readonly serverId: string
  readonly onSignal: (topic: string, hear: (payload: string) => void) => () => void
  /** Beside the leases of loops: those of jobs in hand. */
  readonly onHeartbeat: () => Promise<void>
}

/** A server that dies is replaced within this time. */
export const leaseTtlMs = 6_000
const heartbeatMs = 2_000

export const scheduler = ({ loops, leases, serverId, onSignal, onHeartbeat }: Options) => {
  const log = logger("scheduler")
  const runners = new Map<string, LoopRunner>(loops.map((loop) => [loop.name, loopRunner(loop, log)]))
  const unsubscribes = loops.flatMap(({ name, wakeOn = [] }) =>
    wakeOn.map((topic) => onSignal(topic, () => runners.get(name)?.wake())),
  )
  /** Of the leases this server had last: a fence that has grown means that somebody else had the loop in between. */
  const fences = new Map<string, number>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let heldUntil = 0
  let isStopped = false
  let beating: Promise<void> = Promise.resolve()

  const loseAll = (): void => {
    for (const runner of runners.values()) runner.lose()
  }

  const beat = async (): Promise<void> => {
    const askedAt = performance.now()
    try {
      const held = new Map(
        (await leases.hold([...runners.keys()], serverId, leaseTtlMs)).map(({ loop, fence }) => [loop, fence]),
      )
      heldUntil = askedAt + leaseTtlMs
      if (isStopped) return
      for (const [name, runner] of runners) {
        const fence = held.get(name)
        if (fence === undefined) runner.lose()
        else {
          if (fences.get(name) !== fence) log.debug("has loop {loop}, fence {fence}", { loop: name, fence })
          fences.set(name, fence)
          runner.take()
        }
      }
      await onHeartbeat()
    } catch (error) {
      log.warn("could not renew the leases: {error}", { error })
      // Somebody else may have them by now.
      if (performance.now() > heldUntil) loseAll()
    }
  }

  const next = (): void => {
    if (isStopped) return
    timer = setTimeout(() => {
      beating = beat().finally(next)
    }, heartbeatMs)
  }

  return {
    async start(): Promise<void> {
      await beat()
      next()
    },

    /** Ends within `graceMs`; what is still busy then is logged and left. */
    async stop(graceMs: number): Promise<void> {
      isStopped = true
      clearTimeout(timer)
      for (const unsubscribe of unsubscribes) unsubscribe()
      const { promise: deadline, resolve } = Promise.withResolvers<void>()
      const limit = setTimeout(resolve, graceMs)
      await Promise.race([Promise.all([beating, ...[...runners.values()].map((runner) => runner.stop())]), deadline])
      clearTimeout(limit)
      const busy = [...runners].filter(([, runner]) => runner.isBusy()).map(([name]) => name)
      if (busy.length > 0) log.warn("stopped while these loops were busy: {loops}", { loops: busy })
      await leases
        .release(serverId)
        .catch((error: unknown) => log.warn("could not release the leases: {error}", { error }))
    },
  }
}

export type Scheduler = ReturnType<typeof scheduler>
