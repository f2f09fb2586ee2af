/** Policy rules: the list, one with its violations, and the forms. */
import { Hono } from "hono"
import { NewPolicyRuleBody, PolicyRulePatchBody } from "../../src/policies/policy.schema"
import type { PolicyService } from "../../src/policies/policy.service"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { type PolicyRow, policiesPage, policyKinds, policyPage, policySections } from "../pages/policies.page"
import type { FormValues } from "../parts/fields"
import { html } from "../parts/markup"
import { deletionOf, operators, type Resource, resourceForms, type Typed } from "./resource.room"
import { type ConsoleDeps, frameOf, listOf, page } from "./room"

type Rule = Awaited<ReturnType<PolicyService["get"]>>
type Config = Readonly<Record<string, unknown>>

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === "string") : []
const count = (value: unknown): number => (typeof value === "number" ? value : 0)
const listed = (entries: readonly string[]): string =>
  entries.length <= 3 ? entries.join(", ") : `${entries.slice(0, 3).join(", ")} and ${entries.length - 3} more`

/** What a rule demands, as a sentence. */
const summaryOf = (
  { type, config }: Pick<Rule, "type" | "config">,
  issuerNames: ReadonlyMap<string, string>,
): string => {
  const one = (key: string): string[] => texts((config as Config)[key])
  switch (type) {
    case "AllowedIssuers": {
      const ids = one("allowed_issuer_ids")
      return ids.length === 0
        ? "Must have an issuer"
        : `Issued by ${listed(ids.map((id) => issuerNames.get(id) ?? id))}`
    }
    case "AllowedDomains": {
      const domains = one("allowed_domains")
      return domains.length === 0 ? "Must have a subject alternative name" : `Names within ${listed(domains)}`
    }
    case "RequiredMetadata": {
      const keys = one("required_keys")
      return keys.length === 0 ? "Must carry tags" : `Tagged with ${listed(keys)}`
    }
    case "AllowedEnvironments": {
      const names = one("allowed")
      return names.length === 0 ? "Must name an environment" : `Environment ${listed(names)}`
    }
    case "RenewalLeadTime":
      return `Renewed ${count((config as Config).lead_time_days) || 30} days before expiry`
    default: {
      const days = count((config as Config).max_days)
      return days <= 0 ? "Any lifetime" : `Valid for at most ${days} days`
    }
  }
}

/** The keys of the configuration that the form of the type holds. */
const configOf = (type: string, typed: Typed): Config => {
  switch (type) {
    case "AllowedIssuers":
      return { allowed_issuer_ids: typed.texts("config.allowed_issuer_ids") }
    case "AllowedDomains":
      return { allowed_domains: typed.lines("config.allowed_domains") }
    case "RequiredMetadata":
      return { required_keys: typed.lines("config.required_keys") }
    case "AllowedEnvironments":
      return { allowed: typed.lines("config.allowed") }
    case "RenewalLeadTime":
      return { lead_time_days: typed.number("config.lead_time_days") }
    default:
      return { max_days: typed.number("config.max_days") }
  }
}

const valuesOf = ({ name, type, severity, enabled, config }: Rule): FormValues => ({
  name,
  severity,
  enabled: String(enabled),
  ...Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      `config.${key}`,
      type === "AllowedIssuers" ? texts(value) : Array.isArray(value) ? texts(value).join("\n") : String(value),
    ]),
  ),
})

export const policiesRoom = (deps: ConsoleDeps) => {
  const { policies, inventory } = deps

  const bodyOf = (typed: Typed, kind: string, kept: Config) => ({
    name: typed.text("name"),
    type: kind,
    severity: typed.text("severity"),
    enabled: typed.isTicked("enabled"),
    config: { ...kept, ...configOf(kind, typed) },
  })

  const rowsOf = async (rules: readonly Rule[]): Promise<PolicyRow[]> => {
    const [violations, { issuers }] = await Promise.all([
      inventory.usage.violationsOfRules(rules.map(({ id }) => id)),
      inventory.choices(),
    ])
    const names = new Map(issuers.map(({ id, name }) => [id, name]))
    return rules.map((rule) => ({
      id: rule.id,
      name: rule.name,
      typeWords: policyKinds.find(({ type }) => type === rule.type)?.label ?? rule.type,
      summary: summaryOf(rule, names),
      severity: rule.severity,
      enabled: rule.enabled,
      violations: violations.get(rule.id) ?? 0,
      createdAt: rule.createdAt,
      updatedAt: rule.updatedAt,
    }))
  }

  const resource: Resource = {
    path: "/policies",
    noun: "rule",
    label: "Policies",
    gate: operators,
    kinds: policyKinds,
    hasPage: true,
    preset: () => ({ severity: "Warning", enabled: "true" }),
    async sections(kind) {
      const { issuers } = await inventory.choices()
      return policySections(
        kind,
        issuers.map(({ id, name }) => ({ value: id, label: name })),
      )
    },
    async find(id) {
      const rule = await policies.get(id)
      return { name: rule.name, kind: rule.type, values: valuesOf(rule) }
    },
    async create(typed, kind, actor) {
      const body = await parseInput(NewPolicyRuleBody, bodyOf(typed, kind, {}), "form")
      return (await policies.create(body, actor)).id
    },
    async update(id, typed, { kind }, actor) {
      const { config } = await policies.get(id)
      const body = await parseInput(PolicyRulePatchBody, bodyOf(typed, kind, config), "form")
      return policies.update(id, body, actor)
    },
    remove: policies.remove,
    removal: () => html`<p>What it found is dropped with it. The certificates themselves stay as they are.</p>`,
    enable: (id, enabled, actor) => policies.update(id, { enabled }, actor),
  }

  return new Hono<ApiEnv>()
    .get("/policies", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }, severities] = await Promise.all([
        frameOf(deps, c),
        policies.list({ search: state.params.q }, range),
        inventory.usage.ruleSeverities(),
      ])
      const paging = { page: number, pageSize, total }
      return page(c, policiesPage({ frame, state, paging, rows: await rowsOf(rows), severities }))
    })
    .route("/", resourceForms(deps, resource))
    .get("/policies/:id", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const rule = await policies.get(c.req.param("id"))
      const [frame, [policy], { rows, total }] = await Promise.all([
        frameOf(deps, c),
        rowsOf([rule]),
        policies.violations({ ruleId: rule.id, search: state.params.q }, range),
      ])
      if (policy === undefined) throw new Error(`rule ${rule.id} has no row`)
      const { certificates } = await inventory.subjectsOf(
        rows.map(({ certificateId }) => ({ certificateId, targetId: null, agentId: null })),
      )
      return page(
        c,
        policyPage({
          frame,
          policy,
          state,
          paging: { page: number, pageSize, total },
          violations: rows.map(({ id, certificateId, message, createdAt }) => ({
            id,
            message,
            createdAt,
            certificate: certificates.get(certificateId) ?? { id: certificateId, commonName: certificateId },
          })),
          deletion: deletionOf(resource, rule.id, rule.name),
        }),
      )
    })
}
