/**
 * Gives every audit event a place in one gap-free order. Writers cannot number events themselves: transactions commit in another
 * order than they begin, and one that rolls back would leave a gap. One process at a time runs this (a lease); should two overlap,
 * the number that both want lets only one of them commit.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import type { AuditEvent } from "./audit.store"
import { leafHash } from "./leaf"
import type { LastLeaf, LeafStore, Period, PlaceInTime } from "./leaf.store"

/** Heard after new events were sealed; the payload is the highest number. */
export const sealedTopic = "sealed"

/**
 * How far behind the newest sealed event a pass looks for what has committed late: nearly all does so within a second, and nothing after
 * the twenty, which are more than a transaction may take. What is in a window is looked at again by every pass.
 */
const shortWindowMs = 1_000
const windowMs = 20_000
const windowEveryMs = 5_000
/** Once in a while also what clocks of several servers may differ (five minutes), and what came since the last time. */
const wideEveryMs = 60_000
const wideWindowMs = 300_000 + wideEveryMs
/** Of the wide window, with each pass that has found something to seal: a longer statement is one that people wait behind. */
const sliceMs = 20_000
/**
 * Events that are read, hashed and numbered together: nobody is answered while they are hashed. On SQLite a batch is a transaction,
 * for the whole of which everybody waits.
 */
const mostPerBatch = { sqlite: 250, postgres: 100 } as const
/** Of one transaction on PostgreSQL, where each waits for its turn behind those of agents. */
const batchesAtOnce = 10
/** Events passed over at once where everything is looked at. */
const pageSize = 500

interface Deps {
  readonly db: Pick<Db, "dialect" | "transaction" | "signal">
  readonly leaves: Pick<LeafStore, "lastIn" | "unsealedIn" | "nextIn" | "unsealedAmong" | "eventsAfter" | "insert">
  readonly clock: Clock
}

export const sealingService = ({ db, leaves, clock }: Deps) => {
  const batchSize = mostPerBatch[db.dialect]
  let lastWideAt = Number.NEGATIVE_INFINITY
  let lastWindowAt = Number.NEGATIVE_INFINITY
  /** What is left to do of the wide window. */
  let slices: Period[] = []

  /** Of a pass that begins. */
  const nextWindowMs = (): number => {
    const now = clock.now().getTime()
    if (now - lastWindowAt < windowEveryMs) return shortWindowMs
    lastWindowAt = now
    return windowMs
  }

  /** What lies before the window, newest first. */
  const slicesBehind = (now: number): Period[] =>
    Array.from({ length: (wideWindowMs - windowMs) / sliceMs }, (_, index) => {
      const until = now - windowMs - index * sliceMs
      return { since: new Date(until - sliceMs), until: new Date(until) }
    })

  const number = async (tx: Tx, lastSeq: number, events: readonly AuditEvent[]): Promise<number> => {
    if (events.length === 0) return 0
    const first = lastSeq + 1
    await leaves.insert(
      tx,
      events.map((event, index) => ({ seq: first + index, eventId: event.id, leafHash: leafHash(event) })),
    )
    db.signal(tx, sealedTopic, String(first + events.length - 1))
    return events.length
  }

  /** An event from a clock that was ahead must not move what is looked at into the future. */
  const behind = (last: LastLeaf, ms: number): Date =>
    new Date(Math.min(last.timestamp.getTime(), clock.now().getTime()) - ms)

  const sealBatch = (periodBehind: (last: LastLeaf) => Period): Promise<number> =>
    db.transaction(async (tx) => {
      const last = await leaves.lastIn(tx)
      const where = last === null ? null : { last, period: periodBehind(last) }
      return number(tx, last?.seq ?? 0, await leaves.unsealedIn(tx, where, batchSize))
    })

  const sealAll = async (
    periodBehind: (last: LastLeaf) => Period,
    signal: AbortSignal | undefined,
  ): Promise<number> => {
    for (let total = 0; ; await nextTurn()) {
      if (signal?.aborted === true) return total
      const sealed = await sealBatch(periodBehind)
      total += sealed
      if (sealed < batchSize) return total
    }
  }

  /** The next slice of the wide window, or all of them. SQLite has found at once what comes late. */
  const sealSlices = async (most: number, signal: AbortSignal | undefined): Promise<number> => {
    if (db.dialect === "sqlite") return 0
    const now = clock.now().getTime()
    if (slices.length === 0 && now - lastWideAt >= wideEveryMs) {
      lastWideAt = now
      slices = slicesBehind(now)
    }
    let total = 0
    for (const slice of slices.splice(0, most)) total += await sealAll(() => slice, signal)
    return total
  }

  /** Some batches of what follows a place, or the newest that is sealed and what is of its millisecond. */
  const sealAfter = (
    begin: PlaceInTime | null,
  ): Promise<{ count: number; after: PlaceInTime | null; isMore: boolean }> =>
    db.transaction(async (tx) => {
      const last = await leaves.lastIn(tx)
      let after = begin ?? (last && { timestamp: behind(last, 0), id: "" })
      let count = 0
      for (let batch = 0; batch < batchesAtOnce; batch += 1) {
        const looked = await leaves.nextIn(tx, after, batchSize)
        const open = looked.filter(({ isSealed }) => !isSealed).map(({ event }) => event)
        count += await number(tx, (last?.seq ?? 0) + count, open)
        // Not from what is sealed now: more events than a batch may be of one moment.
        after = looked.at(-1)?.event ?? after
        if (looked.length < batchSize) return { count, after, isMore: false }
      }
      return { count, after, isMore: true }
    })

  /** Most of what there is to do. */
  const sealNewest = async (signal: AbortSignal | undefined): Promise<number> => {
    let total = 0
    let done: Awaited<ReturnType<typeof sealAfter>> = { count: 0, after: null, isMore: true }
    for (; done.isMore && signal?.aborted !== true; await nextTurn()) {
      done = await sealAfter(done.after)
      total += done.count
    }
    return total
  }

  /** Page by page, beside requests: there may be millions, nearly all of which are sealed. */
  const sealEverything = async (signal: AbortSignal | undefined): Promise<number> => {
    let total = 0
    for (let after: PlaceInTime | null = null; signal?.aborted !== true; ) {
      const page: Awaited<ReturnType<LeafStore["eventsAfter"]>> = await leaves.eventsAfter(after, pageSize)
      const open = page.filter((event) => !event.isSealed).map((event) => event.id)
      if (open.length > 0) {
        total += await db.transaction(async (tx) => {
          const last = await leaves.lastIn(tx)
          return number(tx, last?.seq ?? 0, await leaves.unsealedAmong(tx, open))
        })
      }
      after = page.at(-1) ?? null
      if (page.length < pageSize) break
      await nextTurn()
    }
    return total
  }

  return {
    /**
     * Seals what is unsealed, a batch per transaction; returns how many events.
     * `everything` looks at all events instead of the newest: do so when the lease is taken, since a server whose clock is wrong may
     * have written where nobody has looked since.
     */
    async seal({ everything = false, signal }: { everything?: boolean; signal?: AbortSignal } = {}): Promise<number> {
      // SQLite has one order, in which what is new comes last.
      let total = db.dialect === "postgres" ? await sealNewest(signal) : 0
      const lookBackMs = nextWindowMs()
      total += await sealAll((last) => ({ since: behind(last, lookBackMs), until: null }), signal)
      total += await sealSlices(total > 0 ? 1 : Number.POSITIVE_INFINITY, signal)
      return everything ? total + (await sealEverything(signal)) : total
    },
  }
}

export type SealingService = ReturnType<typeof sealingService>
