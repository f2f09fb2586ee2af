/** Targets on the wire. Secrets of the configuration are masked in every answer. */
import * as v from "valibot"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, mapOf, ResourceName, withoutUndefined } from "../server/resource.schema"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { NewTarget, TargetPatch } from "./target.service"
import type { TargetRow } from "./target.store"

const Config = mapOf(v.unknown())
const RequiredText = v.pipe(v.string(), v.minLength(1), v.maxLength(255))

export const NewTargetBody = v.pipe(
  v.object({
    id: ChosenId,
    name: ResourceName,
    type: RequiredText,
    agent_id: RequiredText,
    config: v.optional(Config, {}),
    enabled: v.optional(v.boolean(), true),
  }),
  v.transform(({ agent_id, ...rest }): NewTarget => ({ ...rest, agentId: agent_id })),
)

export const TargetPatchBody = v.pipe(
  v.partial(
    v.object({
      name: ResourceName,
      type: RequiredText,
      agent_id: RequiredText,
      config: Config,
      enabled: v.boolean(),
    }),
  ),
  v.transform(({ agent_id, ...rest }): TargetPatch => withoutUndefined({ ...rest, agentId: agent_id })),
)

export const TargetAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    type: v.string(),
    agent_id: v.string(),
    config: Config,
    enabled: v.boolean(),
    last_tested_at: v.optional(WireTime),
    test_status: v.picklist(["untested", "success", "failed"]),
    source: v.picklist(["database", "env"]),
    retired_at: v.optional(WireTime),
    retired_reason: v.optional(v.string()),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "Target" }),
)

export const TargetListAnswer = pagedListOf(TargetAnswer)

export const TargetQuery = v.object(listParams(["id", "name", "type", "agent_id"]))

export const TargetTestAnswer = v.object({ status: v.picklist(["success", "failed"]), message: v.string() })

export const targetAnswer = (target: TargetRow) =>
  withoutAbsent({
    id: target.id,
    name: target.name,
    type: target.type,
    agent_id: target.agentId,
    config: target.config,
    enabled: target.enabled,
    last_tested_at: optionalTime(target.lastTestedAt),
    test_status: target.testStatus,
    source: target.source,
    retired_at: optionalTime(target.retiredAt),
    retired_reason: target.retiredReason,
    created_at: requiredTime(target.createdAt),
    updated_at: requiredTime(target.updatedAt),
  })
