/** What administrators see of ACME accounts, and how they end one. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { Slice, TextFilter } from "../db/listing"
import { AppError } from "../errors"
import type { AccountRow, AccountStore } from "./account.store"
import { storedProblem } from "./acme.problem"
import type { OrderStore } from "./order.store"

interface Deps {
  db: Pick<Db, "transaction">
  accounts: AccountStore
  orders: Pick<OrderStore, "abandonAll">
  audit: Pick<AuditService, "append">
  clock: Clock
}

export const acmeAdminService = ({ db, accounts, orders, audit, clock }: Deps) => ({
  /** Newest first. */
  async list(filter: TextFilter, slice: Slice): Promise<{ rows: AccountRow[]; total: number }> {
    const [rows, total] = await Promise.all([accounts.list(filter, slice), accounts.total(filter)])
    return { rows, total }
  },

  /**
   * Its key opens nothing any more and its open orders fail; what it was issued stays valid.
   * @throws AppError `not_found`; `invalid_state` it is not valid any more
   */
  async revoke(id: string, actor: Actor): Promise<AccountRow> {
    const account = await accounts.get(id)
    if (account === null) throw new AppError("not_found", `ACME account ${id} does not exist`)
    return db.transaction(async (tx) => {
      const now = clock.now()
      const revoked = await accounts.setStatus(tx, id, "revoked", now)
      if (revoked === null) throw new AppError("invalid_state", `ACME account ${id} is ${account.status}`)
      await orders.abandonAll(tx, id, storedProblem("unauthorized", "the account was revoked"), now)
      await audit.append(tx, {
        actor,
        action: "acme_account_revoked",
        resourceType: "acme_account",
        resourceId: id,
        details: { profile_id: revoked.profileId },
      })
      return revoked
    })
  },
})

export type AcmeAdminService = ReturnType<typeof acmeAdminService>
