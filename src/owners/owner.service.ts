/** Owners: the people who answer for certificates and hear of them. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { OwnerRow, OwnerStore } from "./owner.store"

export interface NewOwner {
  id?: string
  name: string
  email: string
  /** null: of no team. */
  teamId: string | null
}

export type OwnerPatch = Partial<Pick<OwnerRow, "name" | "email" | "teamId">>

interface Deps {
  db: Pick<Db, "transaction">
  owners: OwnerStore
  audit: Pick<AuditService, "append">
  clock: Clock
}

const notFound = (id: string) => new AppError("not_found", `owner ${id} does not exist`)
const unknownTeam = (teamId: string | null | undefined) => () =>
  new AppError("bad_reference", `team_id must be the id of an existing team; there is no ${teamId}`)

export const ownerService = ({ db, owners, audit, clock }: Deps) => ({
  /** Newest first. `total` counts all owners that match. */
  async list(filter: TextFilter, slice: Slice) {
    const [rows, total] = await Promise.all([owners.list(filter, slice), owners.total(filter)])
    return { rows, total }
  },

  async get(id: string): Promise<OwnerRow> {
    const owner = await owners.get(id)
    if (owner === null) throw notFound(id)
    return owner
  },

  /** Fails with `conflict` when the id is taken; two owners may share a name. */
  create: ({ id, name, email, teamId }: NewOwner, actor: Actor): Promise<OwnerRow> =>
    explainRefusals({ reference: unknownTeam(teamId) }, () =>
      db.transaction(async (tx) => {
        const now = clock.now()
        const row = { id: id ?? newId("o-"), name, email, teamId, createdAt: now, updatedAt: now }
        const owner = await owners.insert(tx, row)
        if (owner === null) throw new AppError("conflict", `an owner with the id "${row.id}" exists already`)
        await audit.append(tx, { action: "create_owner", actor, resourceType: "owner", resourceId: owner.id })
        return owner
      }),
    ),

  /** Keys that are absent keep their value. */
  update: (id: string, patch: OwnerPatch, actor: Actor): Promise<OwnerRow> =>
    explainRefusals({ reference: unknownTeam(patch.teamId) }, () =>
      db.transaction(async (tx) => {
        const owner = await owners.update(tx, id, { ...patch, updatedAt: clock.now() })
        if (owner === null) throw notFound(id)
        await audit.append(tx, {
          action: "update_owner",
          actor,
          resourceType: "owner",
          resourceId: id,
          details: { changed: Object.keys(patch) },
        })
        return owner
      }),
    ),

  /** Fails with `conflict` while certificates refer to it. */
  remove: (id: string, actor: Actor): Promise<void> =>
    explainRefusals(
      {
        reference: () =>
          new AppError("conflict", `owner ${id} is still referred to by certificates; reassign them first`),
      },
      () =>
        db.transaction(async (tx) => {
          if (!(await owners.remove(tx, id))) throw notFound(id)
          await audit.append(tx, { action: "delete_owner", actor, resourceType: "owner", resourceId: id })
        }),
    ),
})

export type OwnerService = ReturnType<typeof ownerService>
