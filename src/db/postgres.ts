/** The shared database: any number of certctl servers on one PostgreSQL. */

import { getLogger, type Logger } from "@logtape/logtape"
import type { DbHandle } from "./db"
import { refuseInsideTransaction, turnOf } from "./guard"
import { builderOver, connectLazily } from "./postgres-connection"
import { PostgresPool } from "./postgres-pool"
import { PostgresSignals } from "./postgres-signals"
import { demandSmallPayload, Subscribers } from "./signals"

export interface PostgresOptions {
  readonly url: string
  readonly maxConnections: number
  readonly deadlineMilliseconds?: number
  readonly logger?: Logger
}

/** Connects with the first query. */
export const openPostgres = async (options: PostgresOptions): Promise<DbHandle> => {
  const { url, maxConnections, deadlineMilliseconds = 5000, logger = getLogger(["certctl", "db"]) } = options
  const pool = new PostgresPool({
    url,
    maxConnections,
    deadlineMilliseconds,
    queryMilliseconds: 10_000,
    waitMilliseconds: 10_000,
  })
  const subscribers = new Subscribers(logger)
  const signals = new PostgresSignals({
    url,
    pool,
    hear: (topic, payload) => subscribers.emit(topic, payload),
    logger,
  })
  // Only its options are used: a client that is never asked anything never connects.
  const read = builderOver(connectLazily(url).options, async (text, parameters, sendOptions, asArrays) => {
    refuseInsideTransaction("read")
    return await pool.query(text, parameters, sendOptions, asArrays)
  })
  let closing: Promise<void> | undefined

  return {
    dialect: "postgres",
    read,
    scan: read,
    async transaction(run) {
      refuseInsideTransaction("a transaction")
      return await pool.transaction(run, (turn) => {
        subscribers.committed(turn)
        signals.send(turn.signals)
      })
    },
    skipLocked: (query) => (canLock(query) ? (query.for("update", { skipLocked: true }) as typeof query) : query),
    afterCommit: (tx, effect) => void turnOf(tx).effects.push(effect),
    gather: (tx, write, items) => turnOf(tx).gather(write, items),
    signal(tx, topic, payload = "") {
      demandSmallPayload(topic, payload)
      turnOf(tx).signals.push({ topic, payload })
    },
    onSignal(topic, hear) {
      signals.listen()
      return subscribers.add(topic, hear)
    },
    // Whoever else does it at this moment does it for all. Giving back pages at the end would wait up to five seconds for a moment in
    // which nobody writes, and then keep everybody from it.
    vacuum: async (table) => void (await pool.query(`vacuum (skip_locked, truncate false) "${table}"`)),
    ping: async () => void (await pool.query("select 1")),
    close() {
      closing ??= signals.close().then(() => pool.close())
      return closing
    },
    async changeSchema(run) {
      refuseInsideTransaction("a schema change")
      return await pool.changeSchema(run)
    },
  }
}

interface Lockable {
  for(strength: "update", config: { skipLocked: true }): unknown
}

const canLock = (query: unknown): query is Lockable =>
  typeof query === "object" && query !== null && "for" in query && typeof query.for === "function"
