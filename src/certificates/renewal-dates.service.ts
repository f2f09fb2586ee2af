/**
 * What follows for certificates from a change of their renewal policy: each gets its renewal point anew. A few at once, in the
 * transaction of the change; the others page by page afterwards, owed by the outbox, so that nobody waits for a million of them and a
 * crash forgets none.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Db, Tx } from "../db/db"
import type { OutboxHandler, OutboxQueue } from "../outbox/outbox.service"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { DueStore } from "./due.store"
import { renewalPoint } from "./renewal-point"
import type { ServingStore } from "./serving.store"
import type { VersionDates, VersionStore } from "./version.store"

interface Deps {
  db: Pick<Db, "transaction" | "dialect">
  certificates: Pick<CertificateStore, "ofPolicy" | "lockAll" | "setDates">
  versions: Pick<VersionStore, "newestOfEach" | "setRenewAt">
  serving: Pick<ServingStore, "placesOf">
  due: Pick<DueStore, "rulesOf">
  outbox: Pick<OutboxQueue, "add">
}

/**
 * Certificates of one transaction: on SQLite everybody waits for it; on PostgreSQL, where most of it is the way there and back, only
 * whoever wants to change one of them.
 */
const pageSizes = { sqlite: 20, postgres: 100 } as const
/** Certificates of one entry of the outbox: where a crash throws it back to. */
const pieceSize = 5000
const kind = "renewal_dates"
const defaultWindowDays = 30

const earliest = (dates: readonly (Date | null)[]): Date | null =>
  dates.reduce((least, date) => (date !== null && (least === null || date < least) ? date : least), null)

const isSame = (a: Date | null, b: Date | null): boolean => a?.getTime() === b?.getTime()

export const renewalDatesService = ({ db, certificates, versions, serving, due, outbox }: Deps) => {
  const pageSize = pageSizes[db.dialect]

  /** Sets the dates of certificates, which are locked, right. What is right already costs nothing. */
  const refresh = async (tx: Tx, rows: readonly CertificateRow[]): Promise<void> => {
    const managed = rows.filter((row) => !isTerminal(row.status))
    if (managed.length === 0) return
    const ids = managed.map((row) => row.id)
    const rulesFor = await due.rulesOf(tx, managed)
    const places = await serving.placesOf(ids, tx)
    const newest = Map.groupBy(await versions.newestOfEach(tx, ids), (version) => version.certificateId)

    /** The version each agent of the set has; without agents, or where none has one, the certificate's newest. */
    const currentOf = (id: string): readonly VersionDates[] => {
      const all = newest.get(id) ?? []
      const agents = new Set((places.get(id) ?? []).map((place) => place.agentId))
      const own = all.filter(({ agentId }) => agentId !== null && agents.has(agentId))
      return own.length > 0 ? own : all.slice(0, 1)
    }
    const renewals: { id: string; renewAt: Date }[] = []
    const dates: { id: string; expiresAt: Date | null; renewAt: Date | null }[] = []
    for (const row of managed) {
      const windowDays = rulesFor(row).policy?.renewalWindowDays ?? defaultWindowDays
      const current = currentOf(row.id).map((version) => {
        const { createdAt: issuedAt, notAfter } = version
        const renewAt = renewalPoint(row.id, windowDays, { issuedAt, notAfter })
        if (!isSame(version.renewAt, renewAt)) renewals.push({ id: version.id, renewAt })
        return { notAfter, renewAt }
      })
      const expiresAt = current.length === 0 ? row.expiresAt : earliest(current.map(({ notAfter }) => notAfter))
      const renewAt =
        current.length > 0
          ? earliest(current.map((version) => version.renewAt))
          : // Imported: nothing of it was issued here.
            row.expiresAt && renewalPoint(row.id, windowDays, { issuedAt: row.createdAt, notAfter: row.expiresAt })
      if (!isSame(row.expiresAt, expiresAt) || !isSame(row.renewAt, renewAt))
        dates.push({ id: row.id, expiresAt, renewAt })
    }
    await versions.setRenewAt(tx, renewals)
    await certificates.setDates(tx, dates)
  }

  /** The page after a certificate. Returns its last id; null when there are no more. */
  const refreshPage = async (tx: Tx, policyId: string, afterId: string): Promise<string | null> => {
    const ids = (await certificates.ofPolicy(tx, policyId, afterId, pageSize)).map((row) => row.id)
    await refresh(tx, await certificates.lockAll(tx, ids))
    return ids.length < pageSize ? null : (ids.at(-1) ?? null)
  }

  const owe = (tx: Tx, policyId: string, afterId: string): Promise<void> =>
    outbox.add(tx, { kind, lane: `renewal-policy ${policyId}`, payload: { policy_id: policyId, after_id: afterId } })

  const handler: OutboxHandler<string | null> = {
    timeoutMs: 60_000,
    async perform({ policy_id, after_id }, signal) {
      let afterId: string | null = String(after_id)
      for (let done = 0; done < pieceSize && afterId !== null && !signal.aborted; done += pageSize) {
        const from: string = afterId
        afterId = await db.transaction((tx) => refreshPage(tx, String(policy_id), from))
        await nextTurn()
      }
      return afterId
    },
    async onDone(tx, { policy_id }, afterId) {
      if (afterId !== null) await owe(tx, String(policy_id), afterId)
    },
    onFailed: async () => {},
  }

  return {
    /** In the transaction that changed the policy, or who may serve its certificates. */
    async afterPolicyChanged(tx: Tx, policyId: string): Promise<void> {
      const afterId = await refreshPage(tx, policyId, "")
      if (afterId !== null) await owe(tx, policyId, afterId)
    },

    handlers: { [kind]: handler as OutboxHandler },
  }
}

export type RenewalDatesService = ReturnType<typeof renewalDatesService>
