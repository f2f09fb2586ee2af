/** Renewal policies on the wire. Rows with values outside these ranges stay readable: they were written by older versions. */
import * as v from "valibot"
import { documentedAs } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, mapOf, OptionalReference, ResourceName, withoutUndefined } from "../server/resource.schema"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { NewRenewalPolicy, RenewalPolicyPatch } from "./renewal-policy.service"
import type { RenewalPolicyRow } from "./renewal-policy.store"

const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))

const tiers = ["informational", "warning", "critical"] as const
const channels = ["Email", "Webhook", "Slack", "Teams", "PagerDuty", "OpsGenie"] as const

const rollouts = ["one_first", "all_at_once"] as const

const Thresholds = v.pipe(
  v.array(whole(0, 365)),
  v.maxLength(366),
  v.transform((days) => [...new Set(days)].sort((a, b) => b - a)),
)
const Channels = mapOf(v.array(v.picklist(channels)), v.picklist(tiers))
const Severities = mapOf(
  v.picklist(tiers),
  v.pipe(
    v.string(),
    documentedAs({ type: "string", pattern: "^([0-9]{1,2}|[0-2][0-9]{2}|3[0-5][0-9]|36[0-5])$" }),
    v.check((day) => /^\d{1,3}$/.test(day) && Number(day) <= 365, "must be days between 0 and 365"),
  ),
)

const settings = {
  name: ResourceName,
  renewal_window_days: whole(1, 365),
  auto_renew: v.boolean(),
  max_retries: whole(0, 10),
  retry_interval_seconds: whole(60, 86_400),
  alert_thresholds_days: Thresholds,
  rollout: v.pipe(
    v.picklist(rollouts),
    v.description("one_first: a certificate with several targets goes to one, and on when that one is verified"),
  ),
  agent_group_id: OptionalReference,
  alert_channels: Channels,
  alert_severity_map: Severities,
}

const Patch = v.partial(v.object(settings))

const columnsOf = (body: v.InferOutput<typeof Patch>): RenewalPolicyPatch =>
  withoutUndefined({
    name: body.name,
    renewalWindowDays: body.renewal_window_days,
    autoRenew: body.auto_renew,
    maxRetries: body.max_retries,
    retryIntervalSeconds: body.retry_interval_seconds,
    alertThresholdsDays: body.alert_thresholds_days,
    rollout: body.rollout,
    agentGroupId: body.agent_group_id,
    alertChannels: body.alert_channels,
    alertSeverityMap: body.alert_severity_map,
  })

export const NewRenewalPolicyBody = v.pipe(
  v.object({ ...Patch.entries, id: ChosenId, name: settings.name }),
  v.transform(
    ({ id, name, ...rest }): NewRenewalPolicy => ({
      renewalWindowDays: 30,
      autoRenew: true,
      maxRetries: 3,
      retryIntervalSeconds: 3600,
      alertThresholdsDays: [30, 14, 7, 0],
      rollout: "one_first",
      agentGroupId: null,
      alertChannels: {},
      alertSeverityMap: {},
      ...columnsOf(rest),
      id,
      name,
    }),
  ),
)

export const RenewalPolicyPatchBody = v.pipe(Patch, v.transform(columnsOf))

export const RenewalPolicyAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    renewal_window_days: v.number(),
    auto_renew: v.boolean(),
    max_retries: v.number(),
    retry_interval_seconds: v.number(),
    alert_thresholds_days: v.array(v.number()),
    rollout: v.pipe(v.optional(v.picklist(rollouts)), v.description("Absent: one_first")),
    certificate_profile_id: v.optional(v.string()),
    agent_group_id: v.optional(v.string()),
    alert_channels: v.optional(v.record(v.string(), v.array(v.string()))),
    alert_severity_map: v.optional(v.record(v.string(), v.string())),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "RenewalPolicy" }),
)

export const RenewalPolicyListAnswer = pagedListOf(RenewalPolicyAnswer)

export const RenewalPolicyQuery = v.object(listParams(["id", "name"]))

const unlessEmpty = <T extends object>(map: T): T | undefined => (Object.keys(map).length === 0 ? undefined : map)

export const renewalPolicyAnswer = (policy: RenewalPolicyRow) =>
  withoutAbsent({
    id: policy.id,
    name: policy.name,
    renewal_window_days: policy.renewalWindowDays,
    auto_renew: policy.autoRenew,
    max_retries: policy.maxRetries,
    retry_interval_seconds: policy.retryIntervalSeconds,
    alert_thresholds_days: policy.alertThresholdsDays,
    rollout: policy.rollout === "one_first" ? undefined : policy.rollout,
    certificate_profile_id: policy.certificateProfileId,
    agent_group_id: policy.agentGroupId,
    alert_channels: unlessEmpty(policy.alertChannels),
    alert_severity_map: unlessEmpty(policy.alertSeverityMap),
    created_at: requiredTime(policy.createdAt),
    updated_at: requiredTime(policy.updatedAt),
  })
