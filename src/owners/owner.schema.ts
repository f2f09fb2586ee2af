/** Owners on the wire. There an owner of no team has the team id "". */
import * as v from "valibot"
import { documentedAs } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, OptionalReference, ResourceName } from "../server/resource.schema"
import { requiredTime, WireTime } from "../server/wire"
import type { OwnerPatch } from "./owner.service"
import type { OwnerRow } from "./owner.store"

const Email = v.pipe(
  v.string(),
  v.maxLength(255),
  documentedAs({ anyOf: [{ const: "" }, { type: "string", format: "email", maxLength: 255 }] }),
  v.check((text) => text === "" || v.is(v.pipe(v.string(), v.rfcEmail()), text), "must be a mail address"),
)

export const NewOwnerBody = v.pipe(
  v.object({
    id: ChosenId,
    name: ResourceName,
    email: v.optional(Email, ""),
    team_id: v.optional(OptionalReference, ""),
  }),
  v.transform(({ team_id, ...rest }) => ({ ...rest, teamId: team_id })),
)

export const OwnerPatchBody = v.pipe(
  v.partial(v.object({ name: ResourceName, email: Email, team_id: OptionalReference })),
  v.transform(({ team_id, ...rest }): OwnerPatch => (team_id === undefined ? rest : { ...rest, teamId: team_id })),
)

export const OwnerAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    email: v.string(),
    team_id: v.string(),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "Owner" }),
)

export const OwnerListAnswer = pagedListOf(OwnerAnswer)

export const OwnerQuery = v.object(listParams(["id", "name", "email"]))

export const ownerAnswer = ({ id, name, email, teamId, createdAt, updatedAt }: OwnerRow) => ({
  id,
  name,
  email,
  team_id: teamId ?? "",
  created_at: requiredTime(createdAt),
  updated_at: requiredTime(updatedAt),
})
