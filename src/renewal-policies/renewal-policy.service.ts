/** Renewal policies: when certificates are renewed, how often that is tried, and when people hear of it. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { RenewalPolicyRow, RenewalPolicyStore } from "./renewal-policy.store"

type Settings = Omit<RenewalPolicyRow, "id" | "certificateProfileId" | "createdAt" | "updatedAt">

export type NewRenewalPolicy = Settings & { id?: string }
export type RenewalPolicyPatch = Partial<Settings>

interface Deps {
  db: Pick<Db, "transaction">
  policies: RenewalPolicyStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Called when certificates of the policy may be due at another moment, or be served by other agents, than before. */
  onPolicyChanged(tx: Tx, policyId: string): Promise<void>
}

const notFound = (id: string) => new AppError("not_found", `renewal policy ${id} does not exist`)
const nameTaken = (name: string | undefined) =>
  new AppError("conflict", `a renewal policy with the name "${name}" exists already`)
const unknownGroup = (id: string | null | undefined) => () =>
  new AppError("bad_reference", `agent_group_id must be the id of an existing agent group; there is no ${id}`)

/** `rp-` and what is left of the name when only `a-z`, `0-9` and single dashes may stay; 64 characters at most. */
export const policySlug = (name: string): string => {
  const slug = name
    .toLowerCase()
    .replace(/\s+/g, "-")
    .replace(/[^a-z0-9-]/g, "")
    .replace(/^-+/, "")
    .slice(0, 64)
    .replace(/-+$/, "")
  return `rp-${slug === "" ? "policy" : slug}`
}

/** How many ids are tried for policies whose names give the same one. */
const mostAlike = 10

export const renewalPolicyService = ({ db, policies, audit, clock, onPolicyChanged }: Deps) => {
  const insert = async (tx: Tx, row: RenewalPolicyRow, hasChosenId: boolean): Promise<RenewalPolicyRow> => {
    const candidates = hasChosenId
      ? [row.id]
      : Array.from({ length: mostAlike }, (_, i) => (i === 0 ? row.id : `${row.id}-${i + 1}`))
    for (const id of candidates) {
      const policy = await policies.insert(tx, { ...row, id })
      if (policy !== null) return policy
      if (await policies.hasName(tx, row.name)) throw nameTaken(row.name)
    }
    throw new AppError("conflict", `a renewal policy with the id "${row.id}" exists already`)
  }

  return {
    /** By name. `total` counts all policies that match. */
    async list(filter: TextFilter, slice: Slice) {
      const [rows, total] = await Promise.all([policies.list(filter, slice), policies.total(filter)])
      return { rows, total }
    },

    async get(id: string): Promise<RenewalPolicyRow> {
      const policy = await policies.get(id)
      if (policy === null) throw notFound(id)
      return policy
    },

    /** Without an id the policy gets one made from its name. Fails with `conflict` when the name or a chosen id is taken. */
    create: ({ id, ...settings }: NewRenewalPolicy, actor: Actor): Promise<RenewalPolicyRow> =>
      explainRefusals({ reference: unknownGroup(settings.agentGroupId) }, () =>
        db.transaction(async (tx) => {
          const now = clock.now()
          const policy = await insert(
            tx,
            {
              ...settings,
              id: id ?? policySlug(settings.name),
              certificateProfileId: null,
              createdAt: now,
              updatedAt: now,
            },
            id !== undefined,
          )
          await audit.append(tx, {
            action: "create_renewal_policy",
            actor,
            resourceType: "renewal_policy",
            resourceId: policy.id,
          })
          return policy
        }),
      ),

    /** Keys that are absent keep their value. */
    update: (id: string, patch: RenewalPolicyPatch, actor: Actor): Promise<RenewalPolicyRow> =>
      explainRefusals({ duplicate: () => nameTaken(patch.name), reference: unknownGroup(patch.agentGroupId) }, () =>
        db.transaction(async (tx) => {
          const updatedAt = clock.now()
          // Locks the row and shows it as it was: a change at the same moment must not hide that ours is one.
          const before = await policies.update(tx, id, { updatedAt })
          const policy = await policies.update(tx, id, { ...patch, updatedAt })
          if (before === null || policy === null) throw notFound(id)
          const changesCertificates =
            policy.renewalWindowDays !== before.renewalWindowDays || policy.agentGroupId !== before.agentGroupId
          if (changesCertificates) await onPolicyChanged(tx, id)
          await audit.append(tx, {
            action: "update_renewal_policy",
            actor,
            resourceType: "renewal_policy",
            resourceId: id,
            details: { changed: Object.keys(patch) },
          })
          return policy
        }),
      ),

    /** Fails with `conflict` while certificates use it. */
    remove: (id: string, actor: Actor): Promise<void> =>
      explainRefusals(
        { reference: () => new AppError("conflict", `renewal policy ${id} is still used by certificates`) },
        () =>
          db.transaction(async (tx) => {
            if (!(await policies.remove(tx, id))) throw notFound(id)
            await audit.append(tx, {
              action: "delete_renewal_policy",
              actor,
              resourceType: "renewal_policy",
              resourceId: id,
            })
          }),
      ),
  }
}

export type RenewalPolicyService = ReturnType<typeof renewalPolicyService>
