/**
 * Sealed events for everybody who watches, in order. One reader per process fetches what is new and keeps the latest in memory;
 * streams read from there at their own pace, and from the database when they are further behind.
 */

import type { Db } from "../db/db"
import { logger } from "../logging"
import type { LeafStore, SealedEvent } from "./leaf.store"
import { sealedTopic } from "./sealing.service"

interface Deps {
  readonly db: Pick<Db, "onSignal">
  readonly leaves: Pick<LeafStore, "lastSeq" | "sealedAfter">
  /** How often to look without having been told: signals may be lost. */
  readonly pollMs?: number
}

const mostKept = 2000
const mostPerRead = 500
const log = logger("events")

export const eventFeed = ({ db, leaves, pollMs = 5000 }: Deps) => {
  /** Without gaps, oldest first, ending at `head`. */
  let recent: SealedEvent[] = []
  let head: number | null = null
  let reading: Promise<void> | null = null
  let isStale = false
  let watchers = 0
  let timer: ReturnType<typeof setInterval> | undefined
  const waiting = new Set<() => void>()
  const closing = new AbortController()

  const readNew = async (from: number): Promise<void> => {
    let known = from
    for (;;) {
      const rows = await leaves.sealedAfter(known, mostPerRead)
      known = rows.at(-1)?.seq ?? known
      recent = [...recent, ...rows].slice(-mostKept)
      head = known
      if (rows.length < mostPerRead) break
    }
    if (known > from) for (const wake of [...waiting]) wake()
  }

  /** One read at a time; being told during a read means reading once more. */
  const refresh = (): void => {
    if (watchers === 0 || head === null) return
    if (reading !== null) {
      isStale = true
      return
    }
    reading = readNew(head)
      .catch((error: unknown) => log.warn("could not read new events", { error }))
      .finally(() => {
        reading = null
        if (isStale) {
          isStale = false
          refresh()
        }
      })
  }

  const unsubscribe = db.onSignal(sealedTopic, refresh)

  return {
    /** Aborts when the process stops. */
    closed: closing.signal,

    /** Starts to watch; returns the number of the newest event now and the function that ends it. */
    async watch(): Promise<{ head: number; stop: () => void }> {
      watchers += 1
      let isWatching = true
      const stop = (): void => {
        if (!isWatching) return
        isWatching = false
        watchers -= 1
        if (watchers > 0) return
        clearInterval(timer)
        timer = undefined
        recent = []
        head = null
      }
      try {
        const newest = head ?? (await leaves.lastSeq())
        // Somebody else's watch() may have set it while the query ran.
        head ??= newest
        timer ??= setInterval(refresh, pollMs)
        return { head, stop }
      } catch (error) {
        stop()
        throw error
      }
    },

    /** The next events after `seq`, at most a page of them; none when there is nothing new. */
    async after(seq: number): Promise<readonly SealedEvent[]> {
      const oldest = recent[0]
      if (head !== null && seq >= head) return []
      if (oldest !== undefined && seq + 1 >= oldest.seq)
        return recent.filter((row) => row.seq > seq).slice(0, mostPerRead)
      return leaves.sealedAfter(seq, mostPerRead)
    },

    /** Waits until there is something after `seq`, the signal aborts, or `ms` have passed. */
    async wait(seq: number, signal: AbortSignal, ms: number): Promise<"new" | "aborted" | "timeout"> {
      if (signal.aborted) return "aborted"
      if (head !== null && head > seq) return "new"
      const { promise, resolve } = Promise.withResolvers<"new" | "aborted" | "timeout">()
      const wake = (): void => resolve("new")
      const abort = (): void => resolve("aborted")
      const limit = setTimeout(() => resolve("timeout"), ms)
      waiting.add(wake)
      signal.addEventListener("abort", abort, { once: true })
      try {
        return await promise
      } finally {
        clearTimeout(limit)
        waiting.delete(wake)
        signal.removeEventListener("abort", abort)
      }
    },

    close(): void {
      unsubscribe()
      clearInterval(timer)
      closing.abort()
    },
  }
}

export type EventFeed = ReturnType<typeof eventFeed>
