/** Renewal policies. */
import { Hono } from "hono"
import { NewRenewalPolicyBody, RenewalPolicyPatchBody } from "../../src/renewal-policies/renewal-policy.schema"
import type { RenewalPolicyService } from "../../src/renewal-policies/renewal-policy.service"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { alertTiers, renewalPoliciesPage, renewalPolicySections } from "../pages/renewal-policies.page"
import type { FormValues } from "../parts/fields"
import { html } from "../parts/markup"
import { durationText } from "../parts/time"
import { operators, type Resource, resourceForms, type Typed } from "./resource.room"
import { type ConsoleDeps, frameOf, listOf, page } from "./room"

type Policy = Awaited<ReturnType<RenewalPolicyService["get"]>>

const daysIn = (typed: Typed, name: string): string[] =>
  typed
    .text(name)
    .split(/[\s,;]+/)
    .filter((day) => day !== "")

/** @param stored kept where a tier has no tick and had none before: an empty list silences it, an absent one means the usual */
const channelsOf = (typed: Typed, stored: Policy["alertChannels"]) =>
  Object.fromEntries(
    alertTiers.flatMap((tier) => {
      const chosen = typed.texts(`alert_channels.${tier}`)
      return chosen.length > 0 ? [[tier, chosen]] : stored[tier]?.length === 0 ? [[tier, []]] : []
    }),
  )

const bodyOf = (typed: Typed, stored: Policy["alertChannels"]) => ({
  name: typed.text("name"),
  renewal_window_days: typed.number("renewal_window_days"),
  agent_group_id: typed.text("agent_group_id"),
  auto_renew: typed.isTicked("auto_renew"),
  rollout: typed.text("rollout") || undefined,
  max_retries: typed.number("max_retries"),
  retry_interval_seconds: typed.number("retry_interval_seconds"),
  alert_thresholds_days: daysIn(typed, "alert_thresholds_days").map(Number),
  alert_severity_map: Object.fromEntries([
    ...daysIn(typed, "critical_days").map((day) => [day, "critical"]),
    ...daysIn(typed, "informational_days").map((day) => [day, "informational"]),
  ]),
  alert_channels: channelsOf(typed, stored),
})

const valuesOf = (policy: Policy): FormValues => {
  const daysOf = (tier: string) =>
    Object.entries(policy.alertSeverityMap)
      .filter(([, given]) => given === tier)
      .map(([day]) => Number(day))
      .sort((a, b) => b - a)
      .join(", ")
  return {
    name: policy.name,
    renewal_window_days: String(policy.renewalWindowDays),
    agent_group_id: policy.agentGroupId ?? "",
    auto_renew: String(policy.autoRenew),
    rollout: policy.rollout,
    max_retries: String(policy.maxRetries),
    retry_interval_seconds: String(policy.retryIntervalSeconds),
    alert_thresholds_days: policy.alertThresholdsDays.join(", "),
    critical_days: daysOf("critical"),
    informational_days: daysOf("informational"),
    ...Object.fromEntries(
      Object.entries(policy.alertChannels).map(([tier, channels]) => [`alert_channels.${tier}`, channels]),
    ),
  }
}

export const renewalPoliciesRoom = (deps: ConsoleDeps) => {
  const { renewalPolicies, inventory } = deps

  const resource: Resource = {
    path: "/renewal-policies",
    noun: "renewal policy",
    label: "Renewal policies",
    gate: operators,
    hasPage: false,
    fieldOf: { alert_severity_map: "critical_days" },
    preset: () => ({
      renewal_window_days: "30",
      auto_renew: "true",
      rollout: "one_first",
      max_retries: "3",
      retry_interval_seconds: "3600",
      alert_thresholds_days: "30, 14, 7, 0",
    }),
    async sections() {
      const groups = await inventory.usage.groupChoices()
      return renewalPolicySections(groups.map(({ id, name }) => ({ value: id, label: name })))
    },
    async find(id) {
      const policy = await renewalPolicies.get(id)
      return { name: policy.name, kind: "", values: valuesOf(policy) }
    },
    create: async (typed, _, actor) =>
      (await renewalPolicies.create(await parseInput(NewRenewalPolicyBody, bodyOf(typed, {})), actor)).id,
    async update(id, typed, _, actor) {
      const { alertChannels } = await renewalPolicies.get(id)
      return renewalPolicies.update(id, await parseInput(RenewalPolicyPatchBody, bodyOf(typed, alertChannels)), actor)
    },
    remove: renewalPolicies.remove,
    removal: () => html`<p>A policy that certificates still follow cannot be deleted: give them another one first.</p>`,
  }

  return new Hono<ApiEnv>()
    .get("/renewal-policies", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }, groups] = await Promise.all([
        frameOf(deps, c),
        renewalPolicies.list({ search: state.params.q }, range),
        inventory.usage.groupChoices(),
      ])
      const certificatesOf = await inventory.usage.certificatesOfRenewalPolicies(rows.map(({ id }) => id))
      return page(
        c,
        renewalPoliciesPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: rows.map((row) => ({
            id: row.id,
            name: row.name,
            windowDays: row.renewalWindowDays,
            autoRenew: row.autoRenew,
            retryWords:
              row.maxRetries === 0
                ? "no retries"
                : `${row.maxRetries} ${row.maxRetries === 1 ? "retry" : "retries"}, ${durationText(row.retryIntervalSeconds * 1000)} apart`,
            thresholds: row.alertThresholdsDays,
            group: groups.find(({ id }) => id === row.agentGroupId) ?? null,
            certificates: certificatesOf.get(row.id) ?? 0,
            createdAt: row.createdAt,
          })),
        }),
      )
    })
    .route("/", resourceForms(deps, resource))
}
