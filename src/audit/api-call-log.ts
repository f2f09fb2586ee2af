/**
 * The log of API calls: one audit row per authenticated call, written in the background so that no answer waits for it. The queue is
 * bounded; what cannot be written is counted and logged, not silently dropped.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { logger } from "../logging"
import { auditTopic } from "./audit.service"
import type { AuditEvent, AuditStore } from "./audit.store"

export interface ApiCall {
  readonly actor: string
  readonly actorType: AuditEvent["actorType"]
  readonly method: string
  /** Without query string. */
  readonly path: string
  /** First 16 hex digits of the body's SHA-256; empty without a body. */
  readonly bodyHash: string
  readonly status: number
  readonly latencyMs: number
}

interface Deps {
  readonly db: Pick<Db, "transaction" | "signal">
  readonly events: Pick<AuditStore, "insert">
  readonly clock: Clock
  readonly capacity?: number
}

/** Rows of one statement: more would take the database so long that others notice. */
const batchSize = 100
const log = logger("audit")

export const apiCallLog = ({ db, events, clock, capacity = 20_000 }: Deps) => {
  const queue: AuditEvent[] = []
  let writing: Promise<void> | null = null
  // A batch belongs to many requests: it must not log under the id of the first.
  const outsideOfRequests = AsyncLocalStorage.snapshot()
  let unwritten = 0
  let lost = 0

  const writeBatches = async (): Promise<void> => {
    while (queue.length > 0) {
      // Calls of the same moment share a transaction.
      await new Promise((resolve) => setImmediate(resolve))
      const batch = queue.splice(0, batchSize)
      unwritten = batch.length
      try {
        await db.transaction(async (tx) => {
          await events.insert(tx, batch)
          db.signal(tx, auditTopic)
        })
      } catch (error) {
        lost += batch.length
        log.error("could not write {count} audit rows of API calls", { count: batch.length, error })
      }
      unwritten = 0
    }
    writing = null
  }

  return {
    record(call: ApiCall): void {
      if (queue.length >= capacity) {
        lost += 1
        if (lost % 1000 === 1) log.error("the queue of API call audit rows is full; {lost} rows lost so far", { lost })
        return
      }
      queue.push({
        id: newId("audit-"),
        actor: call.actor,
        actorType: call.actorType,
        action: `api_${call.method.toLowerCase()}`,
        resourceType: "api",
        resourceId: call.path,
        details: {
          method: call.method,
          path: call.path,
          body_hash: call.bodyHash,
          status: call.status,
          latency_ms: call.latencyMs,
        },
        timestamp: clock.now(),
      })
      // What arrives while a batch is being written makes up the next one.
      writing ??= outsideOfRequests(writeBatches)
    },

    /** Rows that were never written. */
    lost: () => lost,

    /** Resolves when everything recorded so far is written or lost. */
    async settled(): Promise<void> {
      await writing
    },

    /** Writes what is queued, for at most `budgetMs`; returns how many rows were lost in all. */
    async close(budgetMs: number): Promise<number> {
      const { promise: deadline, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, budgetMs)
      await Promise.race([writing, deadline])
      clearTimeout(timer)
      if (writing !== null) lost += unwritten + queue.splice(0).length
      if (lost > 0) log.error("{lost} audit rows of API calls were lost", { lost })
      return lost
    },
  }
}

export type ApiCallLog = ReturnType<typeof apiCallLog>
