/** Teams: who, beside the owner, answers for certificates. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { TeamRow, TeamStore } from "./team.store"

export interface NewTeam {
  id?: string
  name: string
  description: string
}

export type TeamPatch = Partial<Pick<TeamRow, "name" | "description">>

interface Deps {
  db: Pick<Db, "transaction">
  teams: TeamStore
  audit: Pick<AuditService, "append">
  clock: Clock
}

const notFound = (id: string) => new AppError("not_found", `team ${id} does not exist`)

export const teamService = ({ db, teams, audit, clock }: Deps) => ({
  /** Newest first. `total` counts all teams that match. */
  async list(filter: TextFilter, slice: Slice) {
    const [rows, total] = await Promise.all([teams.list(filter, slice), teams.total(filter)])
    return { rows, total }
  },

  async get(id: string): Promise<TeamRow> {
    const team = await teams.get(id)
    if (team === null) throw notFound(id)
    return team
  },

  /** Fails with `conflict` when the name or the id is taken. */
  create: ({ id, name, description }: NewTeam, actor: Actor): Promise<TeamRow> =>
    db.transaction(async (tx) => {
      const now = clock.now()
      const team = await teams.insert(tx, { id: id ?? newId("t-"), name, description, createdAt: now, updatedAt: now })
      if (team === null) {
        throw new AppError("conflict", `a team with the name "${name}"${id ? ` or the id "${id}"` : ""} exists already`)
      }
      await audit.append(tx, { action: "create_team", actor, resourceType: "team", resourceId: team.id })
      return team
    }),

  /** Keys that are absent keep their value. Fails with `conflict` when another team has the name. */
  update: (id: string, patch: TeamPatch, actor: Actor): Promise<TeamRow> =>
    explainRefusals(
      { duplicate: () => new AppError("conflict", `a team with the name "${patch.name}" exists already`) },
      () =>
        db.transaction(async (tx) => {
          const team = await teams.update(tx, id, { ...patch, updatedAt: clock.now() })
          if (team === null) throw notFound(id)
          await audit.append(tx, {
            action: "update_team",
            actor,
            resourceType: "team",
            resourceId: id,
            details: { changed: Object.keys(patch) },
          })
          return team
        }),
    ),

  /** Fails with `conflict` while owners or certificates refer to it: certificates are never left without an answerable team. */
  remove: (id: string, actor: Actor): Promise<void> =>
    explainRefusals(
      {
        reference: () =>
          new AppError("conflict", `team ${id} is still referred to by owners or certificates; reassign them first`),
      },
      () =>
        db.transaction(async (tx) => {
          if (!(await teams.remove(tx, id))) throw notFound(id)
          await audit.append(tx, { action: "delete_team", actor, resourceType: "team", resourceId: id })
        }),
    ),
})

export type TeamService = ReturnType<typeof teamService>
