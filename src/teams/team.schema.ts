/** Teams on the wire. */
import * as v from "valibot"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, ResourceName } from "../server/resource.schema"
import { requiredTime, WireTime } from "../server/wire"
import type { TeamRow } from "./team.store"

const Description = v.pipe(v.string(), v.maxLength(4000))

export const NewTeamBody = v.object({
  id: ChosenId,
  name: ResourceName,
  description: v.optional(Description, ""),
})

export const TeamPatchBody = v.partial(v.object({ name: ResourceName, description: Description }))

export const TeamAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    description: v.string(),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "Team" }),
)

export const TeamListAnswer = pagedListOf(TeamAnswer)

export const TeamQuery = v.object(listParams(["id", "name", "description"]))

export const teamAnswer = ({ id, name, description, createdAt, updatedAt }: TeamRow) => ({
  id,
  name,
  description,
  created_at: requiredTime(createdAt),
  updated_at: requiredTime(updatedAt),
})
