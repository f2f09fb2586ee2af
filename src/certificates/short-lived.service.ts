/** Certificates that live for less than an hour: said to have expired within seconds, not at the next renewal check. */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { inBatches } from "./batches"
import type { CertificateStore } from "./certificate.store"
import { isShortLived } from "./csr-rules"
import type { DueStore } from "./due.store"
import type { LifecycleService } from "./lifecycle.service"

interface Deps {
  db: Pick<Db, "transaction">
  certificates: Pick<CertificateStore, "lockAll">
  due: Pick<DueStore, "expiredShortLived" | "rulesOf">
  lifecycle: Pick<LifecycleService, "moveAll">
  audit: Pick<AuditService, "append">
  clock: Clock
  onRowError: (certificateId: string, error: unknown) => void
}

const pageSize = 200
const batchSize = 25

export const shortLivedService = ({ db, certificates, due, lifecycle, audit, clock, onRowError }: Deps) => {
  const settle = (ids: readonly string[]): Promise<string[]> =>
    db.transaction(async (tx) => {
      const rows = await certificates.lockAll(tx, ids)
      const rulesFor = await due.rulesOf(tx, rows)
      const now = clock.now()
      const expired = rows.filter(
        (row) =>
          (row.status === "Active" || row.status === "Expiring") &&
          row.expiresAt !== null &&
          row.expiresAt <= now &&
          isShortLived(rulesFor(row).profile),
      )
      await lifecycle.moveAll(
        tx,
        expired.map((certificate) => ({ certificate, to: "Expired" })),
      )
      await audit.append(
        tx,
        ...expired.map((row) => ({
          actor: systemActor,
          action: "short_lived_cert_expired",
          resourceType: "certificate",
          resourceId: row.id,
          details: { expires_at: row.expiresAt?.toISOString(), certificate_profile_id: row.certificateProfileId },
        })),
      )
      return expired.map((row) => row.id)
    })

  return {
    /** Returns how many were said to have expired. */
    async expire(signal: AbortSignal): Promise<number> {
      let total = 0
      while (!signal.aborted) {
        const ids = (await due.expiredShortLived(clock.now(), pageSize)).map((row) => row.id)
        const expired = await inBatches(ids, { size: batchSize, parallel: 1, settle, onRowError, signal })
        total += expired.length
        // Where none could be changed, the next look would find the same ones again.
        if (ids.length < pageSize || expired.length === 0) break
      }
      return total
    },
  }
}

export type ShortLivedService = ReturnType<typeof shortLivedService>
