/** Policy rules and their violations on the wire. */
import * as v from "valibot"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, mapOf, ResourceName, withoutUndefined } from "../server/resource.schema"
import { requiredTime, WireTime } from "../server/wire"
import type { NewPolicyRule, PolicyRulePatch } from "./policy.service"
import type { PolicyRuleRow, ViolationRow } from "./policy.store"
import { ruleTypes } from "./policy-rules"

const severities = ["Warning", "Error", "Critical"] as const
const Config = mapOf(v.unknown())

const settings = {
  name: ResourceName,
  type: v.picklist(ruleTypes),
  config: Config,
  enabled: v.boolean(),
  severity: v.picklist(severities),
}

export const NewPolicyRuleBody = v.pipe(
  v.object({
    name: settings.name,
    type: settings.type,
    id: ChosenId,
    config: v.nullish(Config, {}),
    enabled: v.optional(v.boolean(), true),
    // Clients that send whole forms send an empty text for what was not chosen.
    severity: v.optional(v.picklist([...severities, ""]), "Warning"),
  }),
  v.transform(
    ({ severity, ...rest }): NewPolicyRule => ({ ...rest, severity: severity === "" ? "Warning" : severity }),
  ),
)

export const PolicyRulePatchBody = v.pipe(
  v.partial(v.object(settings)),
  v.transform((patch): PolicyRulePatch => withoutUndefined(patch)),
)

export const PolicyRuleAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    type: v.picklist(ruleTypes),
    config: Config,
    enabled: v.boolean(),
    severity: v.picklist(severities),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "PolicyRule" }),
)

export const PolicyRuleListAnswer = pagedListOf(PolicyRuleAnswer)

export const PolicyRuleQuery = v.object(listParams(["id", "name", "type"]))

export const policyRuleAnswer = (rule: PolicyRuleRow) => ({
  id: rule.id,
  name: rule.name,
  type: rule.type,
  config: rule.config,
  enabled: rule.enabled,
  severity: rule.severity,
  created_at: requiredTime(rule.createdAt),
  updated_at: requiredTime(rule.updatedAt),
})

export const ViolationQuery = v.object(listParams(["id", "certificate_id", "message"]))

const ViolationAnswer = v.pipe(
  v.object({
    id: v.string(),
    certificate_id: v.string(),
    rule_id: v.string(),
    message: v.string(),
    severity: v.picklist(severities),
    created_at: WireTime,
  }),
  v.metadata({ ref: "PolicyViolation" }),
)

export const ViolationListAnswer = pagedListOf(ViolationAnswer)

export const violationAnswer = (violation: ViolationRow) => ({
  id: violation.id,
  certificate_id: violation.certificateId,
  rule_id: violation.ruleId,
  message: violation.message,
  severity: violation.severity,
  created_at: requiredTime(violation.createdAt),
})
