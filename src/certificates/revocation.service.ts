/**
 * Revocation. It counts from the commit of our own rows: status, serials and audit event are one transaction. The CA is told from
 * the outbox afterwards, as often as it takes, and whatever becomes of that undoes nothing.
 */
import { type Actor, actorName, systemActor } from "../access/actor"
import type { AuditService, NewAuditEvent } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { RevocationReason, RevokeRequest } from "../connectors/issuers/contract"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import type { OutboxHandler, OutboxQueue } from "../outbox/outbox.service"
import { parseCertificate } from "../pki/certificate"
import { revocationTopic } from "../revocation-status/revocation-feed"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import type { LifecycleService } from "./lifecycle.service"
import type { CurrentVersion, RevocationRow, RevocationStore } from "./revocation.store"
import type { OpenIssuer } from "./signing.service"
import type { VersionRow } from "./version.store"

interface Deps {
  db: Pick<Db, "transaction" | "signal">
  certificates: Pick<CertificateStore, "lockAll">
  revocations: RevocationStore
  lifecycle: Pick<LifecycleService, "cancelOpenJobs">
  news: Pick<CertificateNews, "revoked">
  outbox: OutboxQueue
  audit: Pick<AuditService, "append">
  openIssuer: (issuerId: string) => Promise<OpenIssuer>
  clock: Clock
}

export interface RevocationOrder {
  readonly reason: RevocationReason
  readonly actor: Actor
}

/** Of effects that tell a CA. */
export const revokeAtIssuer = "revoke_at_issuer"

const callLimitMs = 30_000

/** Why a certificate was not revoked. */
export interface Refusal {
  readonly error: AppError
  /** Revoked or archived before. */
  readonly isOver: boolean
}

const refusalOf = (id: string, certificate: CertificateRow | undefined, isIssued: boolean): Refusal | null => {
  const refused = (code: "not_found" | "invalid_state", words: string, isOver = false): Refusal => ({
    error: new AppError(code, `certificate ${id} ${words}`),
    isOver,
  })
  if (certificate === undefined) return refused("not_found", "does not exist")
  if (certificate.status === "Revoked") return refused("invalid_state", "is already revoked", true)
  if (isTerminal(certificate.status)) return refused("invalid_state", "is archived", true)
  return isIssued ? null : refused("invalid_state", "has nothing to revoke: nothing was issued for it yet")
}

/** Some CAs want the issuer's name. What cannot be read leaves it out: the serial may be enough. */
const issuerNameIn = (pemChain: string): string | undefined => {
  try {
    return parseCertificate(pemChain).issuerDn
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

export const revocationService = (deps: Deps) => {
  const { db, certificates, revocations, lifecycle, news, outbox, audit, openIssuer, clock } = deps

  /** Whether our own rows are all that the issuer answers from. One that cannot be opened now is told later. */
  const isInProcess = async (issuerId: string): Promise<boolean> =>
    openIssuer(issuerId).then(
      (issuer) => issuer.inProcess,
      () => false,
    )

  const rowOf = (
    version: CurrentVersion,
    certificate: CertificateRow,
    { reason, actor }: { reason: string; actor: Actor },
    own: ReadonlySet<string>,
  ): RevocationRow => {
    const now = clock.now()
    const issuerId = version.issuerId ?? certificate.issuerId
    return {
      id: newId("rev-"),
      certificateId: certificate.id,
      serialNumber: version.serialNumber,
      reason,
      revokedBy: actorName(actor),
      revokedAt: now,
      issuerId,
      notAfter: version.notAfter,
      shortLived: version.shortLived,
      issuerNotified: own.has(issuerId),
      createdAt: now,
    }
  }

  const notified = (row: RevocationRow, outcome: { ok: boolean; error?: string }): NewAuditEvent => ({
    actor: systemActor,
    action: "certificate_revocation_notified",
    resourceType: "certificate",
    resourceId: row.certificateId,
    details: { serial: row.serialNumber, issuer_id: row.issuerId, ...outcome },
  })

  /** Stores the rows and owes their issuers the news. Resolves with how many were not there yet. */
  const record = async (tx: Tx, rows: readonly RevocationRow[]): Promise<number> => {
    const added = await revocations.insert(tx, rows)
    if (added.length > 0) db.signal(tx, revocationTopic)
    await audit.append(
      tx,
      ...added.filter(({ issuerNotified }) => issuerNotified).map((row) => notified(row, { ok: true })),
    )
    await outbox.add(
      tx,
      ...added
        .filter(({ issuerNotified }) => !issuerNotified)
        .map(({ id, issuerId }) => ({
          kind: revokeAtIssuer,
          lane: `issuer ${issuerId}`,
          payload: { revocation_id: id },
        })),
    )
    return added.length
  }

  /**
   * Revokes several in the caller's transaction, each by itself: for every id the reason why it was not, or null.
   * `own`: issuers that need not be told.
   */
  const revokeAll = async (
    tx: Tx,
    ids: readonly string[],
    order: RevocationOrder,
    own: ReadonlySet<string>,
  ): Promise<Map<string, Refusal | null>> => {
    const locked = new Map((await certificates.lockAll(tx, ids)).map((row) => [row.id, row]))
    const current = Map.groupBy(await revocations.currentVersions(tx, ids), ({ certificateId }) => certificateId)
    const outcomes = new Map(ids.map((id) => [id, refusalOf(id, locked.get(id), current.has(id))]))
    const wanted = ids.filter((id) => outcomes.get(id) === null)
    for (const id of await revocations.atWork(tx, wanted)) {
      await lifecycle.cancelOpenJobs(tx, id, "the certificate was revoked", order.actor)
    }
    const changed = new Set(await revocations.setRevoked(tx, wanted, order.reason, clock.now()))
    const rows: RevocationRow[] = []
    const events: NewAuditEvent[] = []
    for (const id of wanted) {
      const certificate = locked.get(id)
      if (certificate === undefined || !changed.has(id)) {
        throw new AppError("conflict", `certificate ${id} changed while it was being revoked`)
      }
      const versions = current.get(id) ?? []
      rows.push(...versions.map((version) => rowOf(version, certificate, order, own)))
      events.push({
        actor: order.actor,
        action: "certificate_revoked",
        resourceType: "certificate",
        resourceId: id,
        details: {
          common_name: certificate.commonName,
          serials: versions.map(({ serialNumber }) => serialNumber),
          reason: order.reason,
          from: certificate.status,
          to: "Revoked",
        },
      })
    }
    await audit.append(tx, ...events)
    await record(tx, rows)
    for (const id of wanted) {
      await news.revoked(tx, id, { reason: order.reason, actor: actorName(order.actor) })
    }
    return outcomes
  }

  /** Which issuers of the certificates answer from our own rows. */
  const ownIssuers = async (ids: readonly string[]): Promise<ReadonlySet<string>> => {
    const issuerIds = await revocations.issuersOf(ids)
    const inside = await Promise.all(issuerIds.map(isInProcess))
    return new Set(issuerIds.filter((_, at) => inside[at]))
  }

  const tellIssuer: OutboxHandler<{ row: RevocationRow; isExpired: boolean } | null> = {
    timeoutMs: callLimitMs,
    async perform(payload) {
      const found = await revocations.withVersion(String(payload.revocation_id))
      if (found === null || found.revocation.issuerNotified || found.revocation.issuerId === null) return null
      const { revocation: row, pemChain, orderId, notAfter } = found
      // Nobody accepts it any more, and most CAs refuse to revoke it.
      if (notAfter !== null && notAfter <= clock.now()) return { row, isExpired: true }
      const { connector } = await openIssuer(found.revocation.issuerId)
      const request: RevokeRequest = {
        serial: row.serialNumber,
        reason: row.reason as RevocationReason,
        orderId: orderId ?? undefined,
        certPem: pemChain ?? undefined,
        issuerDn: pemChain === null ? undefined : issuerNameIn(pemChain),
      }
      await connector.revoke(request)
      return { row, isExpired: false }
    },
    async onDone(tx, _payload, told) {
      if (told === null) return
      if (told.isExpired) {
        await audit.append(tx, notified(told.row, { ok: false, error: "it expired before its issuer could be told" }))
        return
      }
      await revocations.markNotified(tx, told.row.id)
      await audit.append(tx, notified(told.row, { ok: true }))
    },
    async onFailed(tx, payload, reason, isNews) {
      // A CA that is away for a day must not fill the audit trail with the same words.
      if (!isNews) return
      const row = await revocations.get(tx, String(payload.revocation_id))
      if (row !== null) await audit.append(tx, notified(row, { ok: false, error: reason }))
    },
  }

  return {
    /**
     * Revokes what every agent has now.
     * @throws AppError `not_found`; `invalid_state` revoked already, archived, or nothing was issued
     */
    async revoke(id: string, order: RevocationOrder): Promise<void> {
      const own = await ownIssuers([id])
      await db.transaction(async (tx) => {
        const refusal = (await revokeAll(tx, [id], order, own)).get(id)
        if (refusal) throw refusal.error
      })
    },

    /**
     * The same for several in one transaction: for every id why it was not revoked, or null. Fails as a whole only where the
     * database does.
     */
    async revokeTogether(ids: readonly string[], order: RevocationOrder): Promise<Map<string, Refusal | null>> {
      const own = await ownIssuers(ids)
      return db.transaction((tx) => revokeAll(tx, ids, order, own))
    },

    /**
     * Revokes one X.509: with its certificate where it is what that has now, else by itself, such as one that was replaced.
     * False when it is revoked already.
     * @throws AppError `not_found`
     */
    async revokeVersion(
      version: Pick<VersionRow, "certificateId" | "serialNumber" | "issuerId" | "notAfter" | "shortLived">,
      order: RevocationOrder,
    ): Promise<boolean> {
      const { certificateId: id, serialNumber } = version
      const own = await ownIssuers([id])
      return db.transaction(async (tx) => {
        const [certificate] = await certificates.lockAll(tx, [id])
        if (certificate === undefined) throw new AppError("not_found", `certificate ${id} does not exist`)
        const current = await revocations.currentVersions(tx, [id])
        if (!isTerminal(certificate.status) && current.some((one) => one.serialNumber === serialNumber)) {
          const refusal = (await revokeAll(tx, [id], order, own)).get(id)
          if (refusal) throw refusal.error
          return true
        }
        const added = await record(tx, [rowOf(version, certificate, order, own)])
        if (added === 0) return false
        await audit.append(tx, {
          actor: order.actor,
          action: "certificate_revoked",
          resourceType: "certificate",
          resourceId: id,
          details: {
            common_name: certificate.commonName,
            serials: [serialNumber],
            reason: order.reason,
            was_replaced: true,
          },
        })
        return true
      })
    },

    /**
     * A version that a CA delivered after its certificate was revoked goes the same way. Nothing happens where it was not. The
     * caller holds the certificate.
     */
    async revokeLate(tx: Tx, certificate: CertificateRow, version: VersionRow): Promise<void> {
      if (certificate.status !== "Revoked") return
      const reason = certificate.revocationReason ?? "unspecified"
      await audit.append(tx, {
        actor: systemActor,
        action: "certificate_revoked",
        resourceType: "certificate",
        resourceId: certificate.id,
        details: {
          common_name: certificate.commonName,
          serials: [version.serialNumber],
          reason,
          came_too_late: true,
        },
      })
      await record(tx, [rowOf(version, certificate, { reason, actor: systemActor }, new Set())])
    },

    handlers: { [revokeAtIssuer]: tellIssuer },
  }
}

export type RevocationService = ReturnType<typeof revocationService>
