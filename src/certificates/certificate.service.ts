/** Managed certificates as people see them: created, changed, archived, listed. Issuing and deploying are services of their own. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Query, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { JobQueue } from "../jobs/job-queue.service"
import { commonNameProblem, sanProblem } from "../pki/names"
import type { CertificateStatus } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateFilter, CertificateSort, MappedCertificate } from "./certificate-list.store"
import type { CertificateNews } from "./certificate-news"
import type { LifecycleService } from "./lifecycle.service"
import type { ServingStore } from "./serving.store"
import type { VersionStore } from "./version.store"

export interface NewCertificate {
  id?: string
  name: string
  commonName: string
  sans: readonly string[]
  environment: string
  ownerId: string
  teamId: string
  issuerId: string
  renewalPolicyId: string
  certificateProfileId: string | null
  targetIds: readonly string[]
  status?: CertificateStatus
  expiresAt?: Date
  tags: Record<string, string>
}

/** Absent keys keep their value. */
export interface CertificatePatch {
  name?: string
  sans?: readonly string[]
  environment?: string
  ownerId?: string
  teamId?: string
  issuerId?: string
  renewalPolicyId?: string
  certificateProfileId?: string | null
  targetIds?: readonly string[]
  tags?: Record<string, string>
}

interface Deps {
  db: Pick<Db, "transaction" | "read">
  certificates: CertificateStore
  versions: VersionStore
  serving: ServingStore
  queue: Pick<JobQueue, "move">
  lifecycle: Pick<
    LifecycleService,
    "afterTargetsChanged" | "cancelOpenJobs" | "refreshDates" | "renewAtOf" | "currentVersions"
  >
  news: Pick<CertificateNews, "changed">
  audit: Pick<AuditService, "append">
  clock: Clock
}

const missing = (id: string) => new AppError("not_found", `certificate ${id} does not exist`)

const checkNames = ({ commonName, sans }: { commonName?: string; sans?: readonly string[] }): void => {
  const problem = commonName === undefined ? null : commonNameProblem(commonName)
  if (problem !== null) throw new AppError("validation", `common_name ${problem}`)
  for (const [index, san] of (sans ?? []).entries()) {
    const wrong = sanProblem(san)
    if (wrong !== null) throw new AppError("validation", `sans[${index}] ${wrong}`)
  }
}

const unique = (texts: readonly string[]): string[] => [...new Set(texts)]

export const certificateService = (deps: Deps) => {
  const { db, certificates, versions, serving, lifecycle, news, audit, clock } = deps

  const get = async (id: string): Promise<MappedCertificate> => {
    const certificate = await certificates.mapped(id)
    if (certificate === null) throw missing(id)
    return certificate
  }

  const demandReferences = async (
    query: Query | Tx,
    given: Pick<
      CertificatePatch,
      "ownerId" | "teamId" | "issuerId" | "renewalPolicyId" | "certificateProfileId" | "targetIds"
    >,
  ): Promise<void> => {
    const profileId = given.certificateProfileId ?? undefined
    const found = await certificates.references(query, { ...given, profileId })
    const fields = [
      ["owner_id", found.owner, given.ownerId],
      ["team_id", found.team, given.teamId],
      ["issuer_id", found.issuer, given.issuerId],
      ["renewal_policy_id", found.renewalPolicy, given.renewalPolicyId],
      ["certificate_profile_id", found.profile, profileId],
    ] as const
    for (const [field, exists, id] of fields) {
      if (!exists) throw new AppError("bad_reference", `${field} must be an existing id; there is no ${id}`)
    }
    const [unknown] = await certificates.unknownTargets(query, given.targetIds ?? [])
    if (unknown !== undefined) {
      throw new AppError("bad_reference", `target_ids must be ids of existing targets; there is no ${unknown}`)
    }
  }

  /** What changes between our look and our write is refused by the database, in the same words. */
  const orRefused = <R>(name: string | undefined, change: (tx: Tx) => Promise<R>): Promise<R> =>
    explainRefusals(
      {
        duplicate: () => new AppError("conflict", `a certificate with the name "${name}" exists already`),
        reference: () => new AppError("bad_reference", "something the certificate refers to was deleted meanwhile"),
      },
      () => db.transaction(change),
    )

  return {
    get,

    /** @param sort counts for pages by number only */
    list: (filter: CertificateFilter, sort: CertificateSort | null, slice: Slice) =>
      certificates.page(filter, sort, slice),

    /** Newest first. @throws AppError `not_found` */
    async versions(id: string, slice: Slice, search?: string) {
      await get(id)
      const filter = { certificateId: id, search }
      const [rows, total] = await Promise.all([versions.list(filter, slice), versions.total(filter)])
      return { rows, total }
    },

    /** The mapped targets. @throws AppError `not_found` */
    async targets(id: string) {
      await get(id)
      return (await serving.mappedTargets(id)).map((row) => row.target)
    },

    /**
     * Creates the row; nothing is issued by it.
     * @throws AppError `validation`; `bad_reference` naming the field; `conflict` when the name or the id is taken
     */
    async create(input: NewCertificate, actor: Actor): Promise<MappedCertificate> {
      checkNames(input)
      const targetIds = unique(input.targetIds)
      const stored = orRefused(input.name, async (tx) => {
        const now = clock.now()
        const id = input.id ?? newId("mc-")
        const row = await certificates.insert(tx, {
          id,
          name: input.name,
          commonName: input.commonName,
          sans: unique(input.sans),
          environment: input.environment,
          ownerId: input.ownerId,
          teamId: input.teamId,
          issuerId: input.issuerId,
          renewalPolicyId: input.renewalPolicyId,
          certificateProfileId: input.certificateProfileId,
          status: input.status ?? "Pending",
          expiresAt: input.expiresAt ?? null,
          tags: input.tags,
          createdAt: now,
          updatedAt: now,
        })
        if (row === null) {
          throw new AppError("conflict", `a certificate with the name "${input.name}" or the id "${id}" exists already`)
        }
        if (targetIds.length > 0) await serving.replace(tx, id, targetIds)
        const dated = await datedByImport(tx, row)
        await news.changed(tx, dated)
        await audit.append(tx, {
          actor,
          action: "certificate_created",
          resourceType: "certificate",
          resourceId: id,
          details: { common_name: row.commonName, sans: row.sans, issuer_id: row.issuerId, target_ids: targetIds },
        })
        return { ...dated, targetIds }
      })
      try {
        return await stored
      } catch (error) {
        // The database looks anyway whether what is referred to exists, and does not say what does not: that is asked for then.
        if (error instanceof AppError && error.code === "bad_reference") await demandReferences(db.read, input)
        throw error
      }
    },

    /**
     * @throws AppError `not_found`; `conflict` archived, or the name is taken; `validation` names cannot change once issued;
     *   `bad_reference` naming the field
     */
    async update(id: string, patch: CertificatePatch, actor: Actor): Promise<MappedCertificate> {
      checkNames(patch)
      return orRefused(patch.name, async (tx) => {
        const before = await certificates.lock(tx, id)
        if (before === null) throw missing(id)
        if (before.status === "Archived") throw new AppError("conflict", `certificate ${id} is archived`)
        const { targetIds, sans, ...columns } = patch
        const changesNames = sans !== undefined && unique(sans).join("\n") !== before.sans.join("\n")
        if (changesNames && (await versions.exists(tx, id))) {
          throw new AppError("validation", "sans must not change once a certificate was issued; create another one")
        }
        if (columns.name !== undefined && (await certificates.isNameTaken(tx, columns.name, id))) {
          throw new AppError("conflict", `a certificate with the name "${columns.name}" exists already`)
        }
        await demandReferences(tx, patch)
        const row = await certificates.patch(tx, id, {
          ...columns,
          ...(sans === undefined ? {} : { sans: unique(sans) }),
          updatedAt: clock.now(),
        })
        if (row === null) throw missing(id)
        const changesPolicy =
          columns.renewalPolicyId !== undefined && columns.renewalPolicyId !== before.renewalPolicyId
        if (changesPolicy) await replan(tx, row)
        if (targetIds !== undefined) {
          await serving.replace(tx, id, unique(targetIds))
          await lifecycle.afterTargetsChanged(tx, id)
        }
        const after = await certificates.mapped(id, tx)
        if (after === null) throw missing(id)
        await news.changed(tx, after)
        await audit.append(tx, {
          actor,
          action: "certificate_updated",
          resourceType: "certificate",
          resourceId: id,
          details: { changed: Object.keys(patch) },
        })
        return after
      })
    },

    /** Stops managing a certificate; the row stays. Doing it twice is fine. @throws AppError `not_found` */
    archive: (id: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const certificate = await certificates.lock(tx, id)
        if (certificate === null) throw missing(id)
        if (certificate.status === "Archived") return
        await lifecycle.cancelOpenJobs(tx, id, "the certificate was archived", actor)
        const updatedAt = clock.now()
        await certificates.setStatus(tx, id, certificate.status, "Archived", { updatedAt })
        await news.changed(tx, { ...certificate, status: "Archived", updatedAt })
        await audit.append(tx, {
          actor,
          action: "certificate_archived",
          resourceType: "certificate",
          resourceId: id,
          details: { from: certificate.status },
        })
      }),
  }

  /** An imported certificate has an expiry and no version: its renewal point comes from the policy's window alone. */
  async function datedByImport(tx: Tx, row: CertificateRow): Promise<CertificateRow> {
    if (row.expiresAt === null) return row
    const { policy } = await certificates.rules(tx, row)
    const renewAt = lifecycle.renewAtOf(row.id, policy?.renewalWindowDays ?? 30, {
      createdAt: row.createdAt,
      notAfter: row.expiresAt,
    })
    return (await certificates.patch(tx, row.id, { renewAt })) ?? row
  }

  /** Another policy: another renewal point. */
  async function replan(tx: Tx, row: CertificateRow): Promise<void> {
    const { policy } = await certificates.rules(tx, row)
    const current = await lifecycle.currentVersions(tx, row.id)
    if (current.length === 0) {
      await datedByImport(tx, row)
      return
    }
    const windowDays = policy?.renewalWindowDays ?? 30
    await versions.setRenewAt(
      tx,
      current.map((version) => ({ id: version.id, renewAt: lifecycle.renewAtOf(row.id, windowDays, version) })),
    )
    await lifecycle.refreshDates(tx, row)
  }
}

export type CertificateService = ReturnType<typeof certificateService>
