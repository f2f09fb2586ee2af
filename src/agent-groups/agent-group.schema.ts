/** Agent groups on the wire. */
import * as v from "valibot"
import { documentedAs } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, ResourceName, withoutUndefined } from "../server/resource.schema"
import { requiredTime, WireTime } from "../server/wire"
import { parseRange } from "./address-range"
import type { AgentGroupPatch, NewAgentGroup } from "./agent-group.service"
import type { AgentGroupRow } from "./agent-group.store"

const text = (most: number) => v.pipe(v.string(), v.maxLength(most))

const settings = {
  name: ResourceName,
  description: text(4000),
  match_os: text(100),
  match_architecture: text(100),
  match_version: text(50),
  match_ip_cidr: v.pipe(
    text(45),
    documentedAs({ anyOf: [{ const: "" }, { type: "string", format: "address-range", maxLength: 45 }] }),
    v.check(
      (cidr) => cidr === "" || parseRange(cidr) !== null,
      "must be an IP address or a range such as 10.0.0.0/8 or 2001:db8::/32",
    ),
  ),
  enabled: v.boolean(),
}

const Patch = v.partial(v.object(settings))

const columnsOf = (body: v.InferOutput<typeof Patch>): AgentGroupPatch =>
  withoutUndefined({
    name: body.name,
    description: body.description,
    matchOs: body.match_os,
    matchArchitecture: body.match_architecture,
    matchVersion: body.match_version,
    matchIpCidr: body.match_ip_cidr,
    enabled: body.enabled,
  })

export const NewAgentGroupBody = v.pipe(
  v.object({ ...Patch.entries, id: ChosenId, name: settings.name }),
  v.transform(
    ({ id, name, ...rest }): NewAgentGroup => ({
      description: "",
      matchOs: "",
      matchArchitecture: "",
      matchVersion: "",
      matchIpCidr: "",
      enabled: true,
      ...columnsOf(rest),
      id,
      name,
    }),
  ),
)

export const AgentGroupPatchBody = v.pipe(Patch, v.transform(columnsOf))

export const AgentGroupAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    description: v.string(),
    match_os: v.string(),
    match_architecture: v.string(),
    match_version: v.string(),
    match_ip_cidr: v.string(),
    enabled: v.boolean(),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "AgentGroup" }),
)

export const AgentGroupListAnswer = pagedListOf(AgentGroupAnswer)

export const AgentGroupQuery = v.object(listParams(["id", "name", "description"]))

export const agentGroupAnswer = (group: AgentGroupRow) => ({
  id: group.id,
  name: group.name,
  description: group.description,
  match_os: group.matchOs,
  match_architecture: group.matchArchitecture,
  match_version: group.matchVersion,
  match_ip_cidr: group.matchIpCidr,
  enabled: group.enabled,
  created_at: requiredTime(group.createdAt),
  updated_at: requiredTime(group.updatedAt),
})
