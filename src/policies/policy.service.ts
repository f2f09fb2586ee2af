/** Policy rules: what certificates are expected to comply with. Finding who does not is violation.service.ts. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { PolicyRuleRow, PolicyStore, ViolationFilter } from "./policy.store"
import { ruleCheck } from "./policy-rules"
import type { ViolationService } from "./violation.service"

type Settings = Pick<PolicyRuleRow, "name" | "type" | "config" | "enabled" | "severity">

export type NewPolicyRule = Settings & { id?: string }
export type PolicyRulePatch = Partial<Settings>

/** Heard after a rule changed what it finds: the certificates are to be looked at again. */
export const policyTopic = "policy_rules"

/** Looked at before the change is answered: a small inventory shows its violations at once, the rest follows by the loop. */
const pagesAtOnce = 5

interface Deps {
  db: Pick<Db, "transaction" | "signal">
  policies: PolicyStore
  violations: Pick<ViolationService, "sweep" | "clear">
  audit: Pick<AuditService, "append">
  clock: Clock
  onRowError: (ruleId: string, error: unknown) => void
}

const notFound = (id: string) => new AppError("not_found", `policy rule ${id} does not exist`)
const nameTaken = (name: string | undefined, id?: string) =>
  new AppError("conflict", `a policy rule with the name "${name}"${id ? ` or the id "${id}"` : ""} exists already`)

export const policyService = ({ db, policies, violations, audit, clock, onRowError }: Deps) => {
  const get = async (id: string): Promise<PolicyRuleRow> => {
    const rule = await policies.get(id)
    if (rule === null) throw notFound(id)
    return rule
  }

  /** The rule is stored whatever becomes of this: the next pass of the loop sets right what is missing. */
  const applyNow = async ({ id, enabled }: PolicyRuleRow): Promise<void> => {
    try {
      await (enabled ? violations.sweep({ mostPages: pagesAtOnce }) : violations.clear(id))
    } catch (error) {
      onRowError(id, error)
    }
  }

  return {
    get,

    /** Newest first. `total` counts all rules that match. */
    async list(filter: TextFilter, slice: Slice) {
      const [rows, total] = await Promise.all([policies.list(filter, slice), policies.total(filter)])
      return { rows, total }
    },

    /** Newest first. @throws AppError `not_found` */
    async violations(filter: ViolationFilter, slice: Slice) {
      await get(filter.ruleId)
      const [rows, total] = await Promise.all([policies.violations(filter, slice), policies.totalViolations(filter)])
      return { rows, total }
    },

    /** @throws AppError `validation` type or configuration do not fit; `conflict` the name or the id is taken */
    async create({ id, ...settings }: NewPolicyRule, actor: Actor): Promise<PolicyRuleRow> {
      ruleCheck(settings.type, settings.config)
      const created = await db.transaction(async (tx) => {
        const now = clock.now()
        const rule = await policies.insert(tx, { ...settings, id: id ?? newId("pr-"), createdAt: now, updatedAt: now })
        if (rule === null) throw nameTaken(settings.name, id)
        await audit.append(tx, {
          action: "policy_rule_created",
          actor,
          resourceType: "policy",
          resourceId: rule.id,
          details: { type: rule.type, severity: rule.severity, enabled: rule.enabled },
        })
        db.signal(tx, policyTopic)
        return rule
      })
      await applyNow(created)
      return created
    },

    /**
     * Keys that are absent keep their value; a new type must fit the configuration that is stored or comes with it.
     * @throws AppError `not_found`; `validation`; `conflict` when another rule has the name
     */
    async update(id: string, patch: PolicyRulePatch, actor: Actor): Promise<PolicyRuleRow> {
      const { rule, findsOthers } = await explainRefusals({ duplicate: () => nameTaken(patch.name) }, () =>
        db.transaction(async (tx) => {
          const before = await policies.lock(tx, id)
          if (before === null) throw notFound(id)
          if (patch.type !== undefined || patch.config !== undefined) {
            ruleCheck(patch.type ?? before.type, patch.config ?? before.config)
          }
          const after = await policies.update(tx, id, { ...patch, updatedAt: clock.now() })
          if (after === null) throw notFound(id)
          await audit.append(tx, {
            action: "policy_rule_updated",
            actor,
            resourceType: "policy",
            resourceId: id,
            details: { changed: Object.keys(patch) },
          })
          const changed = (["type", "config", "enabled", "severity"] as const).some((key) => patch[key] !== undefined)
          if (changed) db.signal(tx, policyTopic)
          return { rule: after, findsOthers: changed }
        }),
      )
      if (findsOthers) await applyNow(rule)
      return rule
    },

    /** Its violations go with it. @throws AppError `not_found` */
    async remove(id: string, actor: Actor): Promise<void> {
      await get(id)
      // In steps beforehand: the cascade of a rule that everything violates could outlast one transaction.
      await violations.clear(id)
      await db.transaction(async (tx) => {
        if (!(await policies.remove(tx, id))) throw notFound(id)
        await audit.append(tx, { action: "policy_rule_deleted", actor, resourceType: "policy", resourceId: id })
      })
    },
  }
}

export type PolicyService = ReturnType<typeof policyService>
