/** Makes it seen that an issuer is in trouble, and that it is over: on its row, in the audit trail and in the log. */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { logger } from "../logging"
import type { IssuerStore } from "./issuer.store"

interface Deps {
  db: Pick<Db, "transaction">
  issuers: Pick<IssuerStore, "markDegraded" | "markWell">
  audit: Pick<AuditService, "append">
  clock: Clock
}

const longestReason = 500

export const issuerTrouble = ({ db, issuers, audit, clock }: Deps) => {
  const log = logger("issuers")
  return {
    async onDegraded(issuerId: string, reason: string, until: Date): Promise<void> {
      log.warn("issuer {issuerId} is left alone until {until}: {reason}", { issuerId, until, reason })
      await db.transaction(async (tx) => {
        // Several servers may find the same; the first one tells of it.
        if (!(await issuers.markDegraded(tx, issuerId, clock.now(), reason.slice(0, longestReason)))) return
        await audit.append(tx, {
          actor: systemActor,
          action: "issuer_degraded",
          resourceType: "issuer",
          resourceId: issuerId,
          details: { reason: reason.slice(0, longestReason), until: until.toISOString() },
        })
      })
    },

    async onRecovered(issuerId: string): Promise<void> {
      await db.transaction(async (tx) => {
        if (!(await issuers.markWell(tx, issuerId))) return
        log.info("issuer {issuerId} works again", { issuerId })
        await audit.append(tx, {
          actor: systemActor,
          action: "issuer_recovered",
          resourceType: "issuer",
          resourceId: issuerId,
        })
      })
    },
  }
}
