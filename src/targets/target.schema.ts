/** Targets on the wire. Secrets of the configuration are masked in every answer. */
import * as v from "valibot"
import { type DeploymentWindows, isTimeZone, weekdays } from "../rollouts/deployment-window"
import { documentedAs } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, mapOf, ResourceName, withoutUndefined } from "../server/resource.schema"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { NewTarget, TargetPatch } from "./target.service"
import type { TargetRow } from "./target.store"

const Config = mapOf(v.unknown())
const RequiredText = v.pipe(v.string(), v.minLength(1), v.maxLength(255))

const TimeOfDay = v.pipe(v.string(), v.regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time of day such as 22:00"))
const EndOfWindow = v.pipe(
  v.string(),
  v.regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, "must be a time of day such as 04:00, or 24:00"),
)

const Window = v.pipe(
  v.object({
    days: v.pipe(
      v.array(v.picklist(weekdays)),
      v.minLength(1, "must name a day: a window without days can never be met"),
      v.maxLength(weekdays.length),
      v.transform((days) => weekdays.filter((day) => days.includes(day))),
      v.description("Days on which it begins"),
    ),
    from: TimeOfDay,
    to: v.pipe(EndOfWindow, v.description("Earlier than `from`: on the day after")),
  }),
  v.check(
    ({ from, to }) => from !== to,
    "must not end when it begins: it can never be met (the whole day is 00:00 to 24:00)",
  ),
)

const DeploymentWindowsBody = v.pipe(
  v.object({
    time_zone: v.pipe(
      v.string(),
      v.maxLength(64),
      v.check(isTimeZone, "must be the name of a time zone such as Europe/Berlin"),
      documentedAs({ type: "string", format: "time-zone", maxLength: 64 }),
    ),
    windows: v.pipe(
      v.array(Window),
      v.minLength(1, "must hold a window: without one it can never be met"),
      v.maxLength(50),
    ),
  }),
  v.transform(({ time_zone, windows }): DeploymentWindows => ({ timeZone: time_zone, windows })),
)

const DeploymentWindowsAnswer = v.object({
  time_zone: v.string(),
  windows: v.array(v.object({ days: v.array(v.picklist(weekdays)), from: v.string(), to: v.string() })),
})

const windowsField = v.pipe(
  v.nullish(DeploymentWindowsBody),
  v.description("When deployments may begin; null: at any time"),
)

export const NewTargetBody = v.pipe(
  v.object({
    id: ChosenId,
    name: ResourceName,
    type: RequiredText,
    agent_id: RequiredText,
    config: v.optional(Config, {}),
    enabled: v.optional(v.boolean(), true),
    deployment_windows: windowsField,
  }),
  v.transform(
    ({ agent_id, deployment_windows, ...rest }): NewTarget => ({
      ...rest,
      agentId: agent_id,
      deploymentWindows: deployment_windows ?? null,
    }),
  ),
)

export const TargetPatchBody = v.pipe(
  v.partial(
    v.object({
      name: ResourceName,
      type: RequiredText,
      agent_id: RequiredText,
      config: Config,
      enabled: v.boolean(),
      deployment_windows: windowsField,
    }),
  ),
  v.transform(
    ({ agent_id, deployment_windows, ...rest }): TargetPatch =>
      withoutUndefined({ ...rest, agentId: agent_id, deploymentWindows: deployment_windows }),
  ),
)

export const TargetAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    type: v.string(),
    agent_id: v.string(),
    config: Config,
    enabled: v.boolean(),
    deployment_windows: v.optional(DeploymentWindowsAnswer),
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
    deployment_windows:
      target.deploymentWindows === null
        ? undefined
        : { time_zone: target.deploymentWindows.timeZone, windows: target.deploymentWindows.windows },
    last_tested_at: optionalTime(target.lastTestedAt),
    test_status: target.testStatus,
    source: target.source,
    retired_at: optionalTime(target.retiredAt),
    retired_reason: target.retiredReason,
    created_at: requiredTime(target.createdAt),
    updated_at: requiredTime(target.updatedAt),
  })
