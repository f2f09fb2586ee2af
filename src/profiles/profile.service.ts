/** Certificate profiles: what may be issued. They are enforced where certificates are issued. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { ProfileRow, ProfileStore } from "./profile.store"

type Settings = Omit<ProfileRow, "id" | "createdAt" | "updatedAt">

export type NewProfile = Settings & { id?: string }
export type ProfilePatch = Partial<Settings>

interface Deps {
  db: Pick<Db, "transaction">
  profiles: ProfileStore
  audit: Pick<AuditService, "append">
  clock: Clock
}

/** Certificates that live shorter than this need no revocation: no CRL entry, OCSP answers good. */
const shortLivedBelowSeconds = 3600

type Lifetime = Pick<ProfileRow, "allowShortLived" | "maxTtlSeconds">

const demandConsistency = ({ allowShortLived, maxTtlSeconds }: Lifetime): void => {
  if (allowShortLived && maxTtlSeconds >= shortLivedBelowSeconds) {
    throw new AppError(
      "validation",
      `max_ttl_seconds must be below ${shortLivedBelowSeconds} in a profile with allow_short_lived`,
    )
  }
}

const notFound = (id: string) => new AppError("not_found", `profile ${id} does not exist`)
const stillAsked = (id: string) =>
  new AppError("conflict", `profile ${id} cannot be deleted: approval requests point to it; it can be disabled`)
const noIssuer = (id: string | null | undefined) =>
  new AppError("bad_reference", `acme_issuer_id: issuer ${id} does not exist`)
const nameTaken = (name: string | undefined, id?: string) =>
  new AppError("conflict", `a profile with the name "${name}"${id ? ` or the id "${id}"` : ""} exists already`)

export const profileService = ({ db, profiles, audit, clock }: Deps) => ({
  /** Newest first. `total` counts all profiles that match. */
  async list(filter: TextFilter, slice: Slice) {
    const [rows, total] = await Promise.all([profiles.list(filter, slice), profiles.total(filter)])
    return { rows, total }
  },

  async get(id: string): Promise<ProfileRow> {
    const profile = await profiles.get(id)
    if (profile === null) throw notFound(id)
    return profile
  },

  /** null when there is none. */
  find: (id: string): Promise<ProfileRow | null> => profiles.get(id),

  /** Fails with `conflict` when the name or the id is taken. */
  async create({ id, ...settings }: NewProfile, actor: Actor): Promise<ProfileRow> {
    demandConsistency(settings)
    return explainRefusals({ reference: () => noIssuer(settings.acmeIssuerId) }, () =>
      db.transaction(async (tx) => {
        const now = clock.now()
        const row = { ...settings, id: id ?? newId("prof-"), createdAt: now, updatedAt: now }
        const profile = await profiles.insert(tx, row)
        if (profile === null) throw nameTaken(settings.name, id)
        await audit.append(tx, { action: "create_profile", actor, resourceType: "profile", resourceId: profile.id })
        return profile
      }),
    )
  },

  /** Keys that are absent keep their value. */
  update: (id: string, patch: ProfilePatch, actor: Actor): Promise<ProfileRow> =>
    explainRefusals({ duplicate: () => nameTaken(patch.name), reference: () => noIssuer(patch.acmeIssuerId) }, () =>
      db.transaction(async (tx) => {
        const profile = await profiles.update(tx, id, { ...patch, updatedAt: clock.now() })
        if (profile === null) throw notFound(id)
        // Judged on the merged row: the other half of the rule may have been stored long ago.
        demandConsistency(profile)
        await audit.append(tx, {
          action: "update_profile",
          actor,
          resourceType: "profile",
          resourceId: id,
          details: { changed: Object.keys(patch) },
        })
        return profile
      }),
    ),

  /**
   * Certificates and renewal policies that name it go on without.
   * @throws AppError `not_found`; `conflict` approvals were asked for under it: their record keeps it
   */
  remove: (id: string, actor: Actor): Promise<void> =>
    explainRefusals({ reference: () => stillAsked(id) }, () =>
      db.transaction(async (tx) => {
        if (!(await profiles.remove(tx, id))) throw notFound(id)
        await audit.append(tx, { action: "delete_profile", actor, resourceType: "profile", resourceId: id })
      }),
    ),
})

export type ProfileService = ReturnType<typeof profileService>
