/** Issuers on the wire. Secrets of the configuration are masked in every answer. */
import * as v from "valibot"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, mapOf, ResourceName } from "../server/resource.schema"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { IssuerRow } from "./issuer.store"

const Config = mapOf(v.unknown())
const TypeName = v.pipe(v.string(), v.minLength(1), v.maxLength(255))

/** `tree`: leaves are signed by the deepest CA of the issuer's hierarchy. */
const HierarchyMode = v.picklist(["single", "tree"])

export const NewIssuerBody = v.object({
  id: ChosenId,
  name: ResourceName,
  type: TypeName,
  config: v.optional(Config, {}),
  enabled: v.optional(v.boolean(), true),
  hierarchy_mode: v.optional(HierarchyMode),
})

/** A body with the names that the service uses. */
export const inOurNames = <B extends { hierarchy_mode?: "single" | "tree" | undefined }>({
  hierarchy_mode,
  ...rest
}: B) => ({
  ...rest,
  ...(hierarchy_mode === undefined ? {} : { hierarchyMode: hierarchy_mode }),
})

export const IssuerPatchBody = v.partial(
  v.object({
    name: ResourceName,
    type: TypeName,
    config: Config,
    enabled: v.boolean(),
    hierarchy_mode: HierarchyMode,
  }),
)

export const IssuerAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    type: v.string(),
    config: Config,
    enabled: v.boolean(),
    last_tested_at: v.optional(WireTime),
    test_status: v.picklist(["untested", "success", "failed"]),
    source: v.picklist(["database", "env"]),
    hierarchy_mode: v.optional(HierarchyMode),
    degraded_since: v.optional(WireTime),
    degraded_reason: v.optional(v.string()),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "Issuer" }),
)

export const IssuerListAnswer = pagedListOf(IssuerAnswer)

export const IssuerQuery = v.object(listParams(["id", "name", "type"]))

export const IssuerTestAnswer = v.object({ status: v.literal("connection_successful") })

export const issuerAnswer = (issuer: IssuerRow) =>
  withoutAbsent({
    id: issuer.id,
    name: issuer.name,
    type: issuer.type,
    config: issuer.config,
    enabled: issuer.enabled,
    last_tested_at: optionalTime(issuer.lastTestedAt),
    test_status: issuer.testStatus,
    source: issuer.source,
    hierarchy_mode: issuer.hierarchyMode === "tree" ? issuer.hierarchyMode : null,
    degraded_since: optionalTime(issuer.degradedSince),
    degraded_reason: issuer.degradedReason,
    created_at: requiredTime(issuer.createdAt),
    updated_at: requiredTime(issuer.updatedAt),
  })
