/**
 * Effects owed after a commit, such as telling a CA of a revocation. A row is written in the transaction of the change and worked
 * afterwards, again and again until it is done: it happens at least once, also where a server dies in the middle.
 *
 * Rows have lanes, one for each peer. A lane that hangs keeps only itself waiting.
 */
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError, messageOf } from "../errors"
import type { OutboxRow, OutboxStore } from "./outbox.store"

export interface NewEffect {
  /** Which handler has it. */
  readonly kind: string
  /** Whom it reaches. Not empty. */
  readonly lane: string
  /** JSON; ids rather than copies, and never secrets. */
  readonly payload: Readonly<Record<string, unknown>>
}

/** What is done for the rows of one kind. */
export interface OutboxHandler<R = unknown> {
  /** A call that takes longer counts as failed, whether it heeds its signal or not. */
  readonly timeoutMs: number
  perform(payload: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<R>
  /** In the transaction that marks the row as done. */
  onDone(tx: Tx, payload: Readonly<Record<string, unknown>>, result: R): Promise<void>
  /** In the transaction that plans the next attempt. `isNews`: the attempt before failed in another way, or there was none. */
  onFailed(tx: Tx, payload: Readonly<Record<string, unknown>>, reason: string, isNews: boolean): Promise<void>
}

/** Heard after the COMMIT of any transaction that left something to be done. */
export const outboxTopic = "outbox"

const minuteMs = 60_000
const hourMs = 60 * minuteMs
/** Calls to one peer under way at once; as many failures in a row, and the lane is left alone until the next pass. */
const perLane = 4
const mostLanes = 64
/** How much longer a claim lasts than its call may take: what writing the outcome takes, and clocks that differ. */
const claimMarginMs = 30_000
const keptMs = 7 * 24 * hourMs
const thinSize = 500
const longestError = 2000

/** The pause after so many failed attempts: half a minute, doubled each time, up to an hour; longer where the peer asks for it. */
export const pauseMs = (attempts: number, error: unknown): number => {
  const asked = error instanceof AppError ? Number(error.body?.retry_after ?? 0) * 1000 : 0
  return Math.max(Math.min(30_000 * 2 ** Math.min(attempts - 1, 20), hourMs), asked || 0)
}

interface QueueDeps {
  db: Pick<Db, "signal">
  rows: Pick<OutboxStore, "insert">
  clock: Clock
}

export const outboxQueue = ({ db, rows, clock }: QueueDeps) => ({
  /** Owes effects, in the transaction of the change that they follow from. */
  async add(tx: Tx, ...effects: readonly NewEffect[]): Promise<void> {
    if (effects.length === 0) return
    const now = clock.now()
    await rows.insert(
      tx,
      effects.map(({ kind, lane, payload }) => ({
        id: newId("out-"),
        kind,
        lane,
        payload,
        attempts: 0,
        nextAt: now,
        lastError: null,
        createdAt: now,
        doneAt: null,
      })),
    )
    db.signal(tx, outboxTopic)
  },
})

export type OutboxQueue = ReturnType<typeof outboxQueue>

interface WorkerDeps {
  db: Pick<Db, "transaction" | "onSignal">
  rows: OutboxStore
  handlers: Readonly<Record<string, OutboxHandler>>
  clock: Clock
  /** An outcome that could not be written: the row is worked again when its claim has lapsed. */
  onRowError: (id: string, error: unknown) => void
}

const noHandler = (kind: string): OutboxHandler => ({
  timeoutMs: minuteMs,
  perform: () => Promise.reject(new AppError("not_supported", `this server does not know effects of kind ${kind}`)),
  onDone: async () => {},
  onFailed: async () => {},
})

/** The work, but for at most `timeoutMs`, and no longer than `signal` allows. */
const within = async <R>(
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<R>,
): Promise<R> => {
  const call = new AbortController()
  const { promise: cut, reject } = Promise.withResolvers<never>()
  const end = (reason: Error) => {
    reject(reason)
    call.abort(reason)
  }
  const timer = setTimeout(
    () => end(new AppError("upstream", `no answer within ${Math.round(timeoutMs / 1000)} seconds`)),
    timeoutMs,
  )
  const onAbort = () => end(new AppError("unavailable", "this server has stopped"))
  signal.addEventListener("abort", onAbort)
  try {
    return await Promise.race([work(call.signal), cut])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", onAbort)
  }
}

export const outboxWorker = ({ db, rows, handlers, clock, onRowError }: WorkerDeps) => {
  const handlerOf = (kind: string): OutboxHandler => handlers[kind] ?? noHandler(kind)
  const longestCallMs = Math.max(minuteMs, ...Object.values(handlers).map((handler) => handler.timeoutMs))

  const claim = (lane: string): Promise<OutboxRow | null> => {
    const now = clock.now()
    const until = new Date(now.getTime() + longestCallMs + claimMarginMs)
    return db.transaction((tx) => rows.claim(tx, lane, now, until))
  }

  /** Whether it is done. */
  const attempt = async (row: OutboxRow, signal: AbortSignal): Promise<boolean> => {
    const handler = handlerOf(row.kind)
    let result: unknown
    try {
      result = await within(handler.timeoutMs, signal, (cut) => handler.perform(row.payload, cut))
    } catch (error) {
      // Nobody knows what became of it: it is repeated when the claim lapses.
      if (signal.aborted) return false
      const reason = messageOf(error).slice(0, longestError)
      const nextAt = new Date(clock.now().getTime() + pauseMs(row.attempts, error))
      await db.transaction(async (tx) => {
        if (!(await rows.settle(tx, row, { nextAt, lastError: reason }))) return
        await handler.onFailed(tx, row.payload, reason, reason !== row.lastError)
      })
      return false
    }
    await db.transaction(async (tx) => {
      if (!(await rows.settle(tx, row, { doneAt: clock.now(), lastError: null }))) return
      await handler.onDone(tx, row.payload, result)
    })
    return true
  }

  /** Works a lane until nothing in it is due, or its peer does not answer. Whether it may be looked at again in this pass. */
  const workLane = async (lane: string, signal: AbortSignal): Promise<boolean> => {
    let failuresInARow = 0
    let worked = 0
    const draw = async (): Promise<void> => {
      while (!signal.aborted && failuresInARow < perLane) {
        const row = await claim(lane)
        if (row === null) return
        worked += 1
        const isDone = await attempt(row, signal).catch((error: unknown) => {
          onRowError(row.id, error)
          return false
        })
        failuresInARow = isDone ? 0 : failuresInARow + 1
      }
    }
    await Promise.all(Array.from({ length: perLane }, draw))
    // What is said to be due and cannot be claimed is in the hands of another server.
    return worked > 0 && failuresInARow < perLane
  }

  return {
    /** One pass: everything that is due, and what becomes due for a peer that is not busy while it lasts. */
    async work(signal: AbortSignal): Promise<void> {
      const underWay = new Map<string, Promise<void>>()
      const resting = new Set<string>()
      let news = Promise.withResolvers<void>()
      const unsubscribe = db.onSignal(outboxTopic, () => news.resolve())
      const begin = (lane: string): Promise<void> =>
        workLane(lane, signal)
          .then((mayGoOn) => void (mayGoOn || resting.add(lane)))
          .catch((error: unknown) => {
            resting.add(lane)
            onRowError(lane, error)
          })
          .finally(() => underWay.delete(lane))
      try {
        while (!signal.aborted) {
          news = Promise.withResolvers<void>()
          for (const lane of await rows.dueLanes(clock.now())) {
            if (underWay.size >= mostLanes) break
            if (!underWay.has(lane) && !resting.has(lane)) underWay.set(lane, begin(lane))
          }
          if (underWay.size === 0) return
          await Promise.race([...underWay.values(), news.promise])
        }
      } finally {
        unsubscribe()
        await Promise.all(underWay.values())
      }
    },

    /** Drops what was done long ago, in steps. */
    async thin(signal: AbortSignal): Promise<void> {
      const cutoff = new Date(clock.now().getTime() - keptMs)
      while (!signal.aborted) {
        if ((await db.transaction((tx) => rows.thin(tx, cutoff, thinSize))) < thinSize) return
      }
    },
  }
}

export type OutboxWorker = ReturnType<typeof outboxWorker>
