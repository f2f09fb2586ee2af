/** Ends what has expired and drops what nobody will ask for again. */
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { storedProblem } from "./acme.problem"
import type { NonceService } from "./nonce.service"
import type { OrderStore } from "./order.store"

interface Deps {
  db: Pick<Db, "transaction">
  orders: OrderStore
  nonces: Pick<NonceService, "sweep">
  clock: Clock
}

const batch = 500
/** How long clients and administrators can still look at what has failed. */
const keptMs = 7 * 86_400_000

export const cleanUpService = ({ db, orders, nonces, clock }: Deps) => {
  const untilDone = async (signal: AbortSignal, step: () => Promise<number>): Promise<void> => {
    for (let done = batch; done === batch && !signal.aborted; ) done = await step()
  }

  return {
    async run(signal: AbortSignal): Promise<void> {
      await nonces.sweep(signal)
      await untilDone(signal, () =>
        db.transaction(async (tx) => {
          const error = storedProblem("malformed", "the order has expired")
          return (await orders.expireOrders(tx, error, clock.now(), batch)).length
        }),
      )
      await untilDone(signal, () =>
        db.transaction(async (tx) => (await orders.expireAuthorizations(tx, clock.now(), batch)).length),
      )
      await untilDone(signal, () =>
        db.transaction((tx) => orders.dropOld(tx, new Date(clock.now().getTime() - keptMs), batch)),
      )
    },
  }
}

export type CleanUpService = ReturnType<typeof cleanUpService>
