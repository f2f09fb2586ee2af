/**
 * What is done to many certificates at once: all that match, page by page, however many those are. One that fails stops no other.
 * Matching ends at the moment of the call: what is created while it runs is left alone.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { isRenewedByItsClient, isTerminal } from "./certificate.machine"
import type { CertificateService } from "./certificate.service"
import type { CertificateStore } from "./certificate.store"
import type { CertificateFilter } from "./certificate-list.store"
import type { RenewalService } from "./renewal.service"
import type { Refusal, RevocationOrder, RevocationService } from "./revocation.service"

/** At least one is given; all must hold. Ids that do not exist match nothing. */
export type BulkCriteria = Pick<CertificateFilter, "profileId" | "ownerId" | "agentId" | "issuerId" | "teamId"> & {
  certificateIds?: readonly string[]
}

export interface BulkFailure {
  readonly certificateId: string
  readonly error: string
}

interface Totals {
  matched: number
  skipped: number
  readonly failures: BulkFailure[]
}

interface Deps {
  db: Pick<Db, "transaction">
  certificates: Pick<CertificateStore, "matching" | "references">
  update: CertificateService["update"]
  get: CertificateService["get"]
  revocations: Pick<RevocationService, "revokeTogether">
  renewals: Pick<RenewalService, "trigger">
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Of a failure that is nobody's doing. */
  onRowError: (certificateId: string, error: unknown) => void
}

const pageSize = 500
/** Certificates revoked in one transaction: enough to share its cost, few enough that it takes some milliseconds. */
const batchSize = 10
/** Transactions under way at once. SQLite commits them together, PostgreSQL side by side. */
const concurrency = 4
/** Ids that the audit trail keeps of a selection; the event of every certificate names it anyway. */
const listedIds = 100

const inParallel = async <T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> => {
  const waiting = [...items]
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      await run(item)
      // What only reads would keep the thread until all are done.
      await nextTurn()
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

const chunked = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size))

const distinct = (ids: readonly string[]): string[] => [...new Set(ids)].toSorted()

/** The criteria as the audit trail shows them. */
const shown = ({ certificateIds, ...criteria }: BulkCriteria) => ({
  profile_id: criteria.profileId,
  owner_id: criteria.ownerId,
  agent_id: criteria.agentId,
  issuer_id: criteria.issuerId,
  team_id: criteria.teamId,
  ...(certificateIds === undefined
    ? {}
    : { certificate_ids: certificateIds.slice(0, listedIds), certificate_id_count: certificateIds.length }),
})

export const bulkService = (deps: Deps) => {
  const { db, certificates, update, get, revocations, renewals, audit, clock, onRowError } = deps

  /** Pages of what matches. */
  async function* pagesOf({ certificateIds, ...criteria }: BulkCriteria, source?: string) {
    const filter: CertificateFilter = { ...criteria, source, createdUntil: clock.now() }
    if (certificateIds !== undefined) {
      for (const ids of chunked(distinct(certificateIds), pageSize)) {
        yield await certificates.matching({ ...filter, ids }, "", pageSize)
      }
      return
    }
    for (let afterId = ""; ; ) {
      const page = await certificates.matching(filter, afterId, pageSize)
      yield page
      const last = page.at(-1)
      if (last === undefined || page.length < pageSize) return
      afterId = last.id
    }
  }

  const failed = (totals: Totals, certificateId: string, error: unknown): void => {
    const isForeseen = error instanceof AppError && error.code !== "internal"
    if (!isForeseen) onRowError(certificateId, error)
    totals.failures.push({ certificateId, error: isForeseen ? error.message : "internal error" })
  }

  const summarise = (actor: Actor, action: string, details: Record<string, unknown>): Promise<void> =>
    db.transaction((tx) =>
      audit.append(tx, { actor, action, resourceType: "certificate", resourceId: "bulk", details }),
    )

  return {
    /** Revokes what matches. Revoked and archived ones are skipped. `source`: only what came that way. */
    async revoke(criteria: BulkCriteria, order: RevocationOrder, { source }: { source?: "EST" } = {}) {
      const totals: Totals = { matched: 0, skipped: 0, failures: [] }
      let revoked = 0
      const count = (id: string, refusal: Refusal | null): void => {
        if (refusal === null) revoked += 1
        // Somebody else was faster.
        else if (refusal.isOver) totals.skipped += 1
        else failed(totals, id, refusal.error)
      }
      const revokeEach = async (ids: readonly string[]): Promise<void> => {
        for (const id of ids) {
          try {
            count(id, (await revocations.revokeTogether([id], order)).get(id) ?? null)
          } catch (error) {
            failed(totals, id, error)
          }
        }
      }
      for await (const page of pagesOf(criteria, source)) {
        totals.matched += page.length
        const wanted = page.filter(({ status }) => !isTerminal(status)).map(({ id }) => id)
        totals.skipped += page.length - wanted.length
        await inParallel(chunked(wanted, batchSize), async (ids) => {
          const outcomes = await revocations.revokeTogether(ids, order).catch(() => null)
          // One of them spoilt it for all: each by itself, and that one says why.
          if (outcomes === null) await revokeEach(ids)
          else for (const [id, refusal] of outcomes) count(id, refusal)
        })
      }
      const action = source === undefined ? "bulk_revocation_initiated" : "est_bulk_revoke"
      await summarise(order.actor, action, {
        criteria: { ...shown(criteria), source },
        reason: order.reason,
        total_matched: totals.matched,
        total_revoked: revoked,
        total_skipped: totals.skipped,
        total_failed: totals.failures.length,
      })
      return { ...totals, revoked }
    },

    /** Opens an issuing run for what matches. Skipped: no longer managed, renewing already, or renewed by its own client. */
    async renew(criteria: BulkCriteria, actor: Actor) {
      const totals: Totals = { matched: 0, skipped: 0, failures: [] }
      const enqueued: { certificateId: string; jobId: string }[] = []
      for await (const page of pagesOf(criteria)) {
        totals.matched += page.length
        const wanted = page.filter(
          ({ status, source }) =>
            !isTerminal(status) && status !== "RenewalInProgress" && !isRenewedByItsClient(source),
        )
        totals.skipped += page.length - wanted.length
        await inParallel(wanted, async ({ id }) => {
          try {
            const { jobId } = await renewals.trigger(id, { force: false }, actor)
            enqueued.push({ certificateId: id, jobId })
          } catch (error) {
            // It waits for approval, or somebody else was faster.
            if (error instanceof AppError && (error.code === "conflict" || error.code === "invalid_state")) {
              totals.skipped += 1
            } else failed(totals, id, error)
          }
        })
      }
      await summarise(actor, "bulk_renewal_initiated", {
        criteria: shown(criteria),
        total_matched: totals.matched,
        total_enqueued: enqueued.length,
        total_skipped: totals.skipped,
        total_failed: totals.failures.length,
      })
      return { ...totals, enqueued }
    },

    /**
     * Gives certificates to another owner, and team where one is named. Skipped: whose they are already. Unknown ids fail.
     * @throws AppError `bad_reference` there is no such owner or team
     */
    async reassign(
      { certificateIds, ownerId, teamId }: { certificateIds: readonly string[]; ownerId: string; teamId?: string },
      actor: Actor,
    ) {
      const found = await db.transaction((tx) => certificates.references(tx, { ownerId, teamId }))
      if (!found.owner) throw new AppError("bad_reference", `owner_id must be an existing id; there is no ${ownerId}`)
      if (!found.team) throw new AppError("bad_reference", `team_id must be an existing id; there is no ${teamId}`)
      const totals: Totals = { matched: 0, skipped: 0, failures: [] }
      let reassigned = 0
      await inParallel(distinct(certificateIds), async (id) => {
        try {
          const before = await get(id)
          totals.matched += 1
          if (before.ownerId === ownerId && (teamId === undefined || before.teamId === teamId)) totals.skipped += 1
          else {
            await update(id, { ownerId, ...(teamId === undefined ? {} : { teamId }) }, actor)
            reassigned += 1
          }
        } catch (error) {
          failed(totals, id, error)
        }
      })
      await summarise(actor, "bulk_reassignment_initiated", {
        criteria: shown({ certificateIds: distinct(certificateIds) }),
        owner_id: ownerId,
        team_id: teamId,
        total_matched: totals.matched,
        total_reassigned: reassigned,
        total_skipped: totals.skipped,
        total_failed: totals.failures.length,
      })
      return { ...totals, reassigned }
    },
  }
}

export type BulkService = ReturnType<typeof bulkService>
