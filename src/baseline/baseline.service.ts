/**
 * What a new database begins with: a renewal policy, four policy rules and the issuers of the environment. Inserted once in the
 * life of a database, so that what somebody deletes stays deleted.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import type { IssuerService } from "../issuers/issuer.service"
import { type BaselineStore, systemRows } from "./baseline.store"

interface Deps {
  db: Pick<Db, "transaction">
  baseline: BaselineStore
  issuers: Pick<IssuerService, "insertFromEnvironment">
  audit: Pick<AuditService, "append">
  clock: Clock
}

const renewalPolicies = [
  {
    id: "rp-default",
    name: "default",
    renewalWindowDays: 30,
    autoRenew: true,
    maxRetries: 3,
    retryIntervalSeconds: 60,
    alertThresholdsDays: [30, 14, 7, 0],
    alertChannels: {},
    alertSeverityMap: {},
  },
]

const rules = [
  {
    id: "pr-require-owner",
    name: "require-owner",
    type: "RequiredMetadata",
    config: { required_keys: ["owner"] },
    severity: "Warning",
  },
  {
    id: "pr-allowed-environments",
    name: "allowed-environments",
    type: "AllowedEnvironments",
    config: { allowed: ["production", "staging", "development"] },
    severity: "Error",
  },
  {
    id: "pr-max-certificate-lifetime",
    name: "max-certificate-lifetime",
    type: "CertificateLifetime",
    config: { max_days: 90 },
    severity: "Critical",
  },
  {
    id: "pr-min-renewal-window",
    name: "min-renewal-window",
    type: "RenewalLeadTime",
    config: { lead_time_days: 14 },
    severity: "Warning",
  },
] as const

export const baselineService = ({ db, baseline, issuers, audit, clock }: Deps) => ({
  /** Owner, team and renewal policy of certificates that clients enrol for themselves; made anew where somebody deleted them. */
  async ensureSystemRows(tx: Tx): Promise<typeof systemRows> {
    if (await baseline.hasSystemRows(tx)) return systemRows
    const now = clock.now()
    const stamps = { createdAt: now, updatedAt: now }
    const { ownerId, teamId } = systemRows
    const made: [string, string, string][] = []
    // A team of that name may be somebody's own.
    for (const name of ["system", "certctl system"]) {
      if (await baseline.insertTeam(tx, { id: teamId, name, ...stamps })) made.push(["create_team", "team", teamId])
    }
    if (await baseline.insertOwner(tx, { id: ownerId, name: "system", teamId, ...stamps })) {
      made.push(["create_owner", "owner", ownerId])
    }
    const policyIds = await baseline.insertRenewalPolicies(
      tx,
      renewalPolicies.map((policy) => ({ ...policy, ...stamps })),
    )
    for (const id of policyIds) made.push(["create_renewal_policy", "renewal_policy", id])
    for (const [action, resourceType, resourceId] of made) {
      await audit.append(tx, { action, actor: systemActor, resourceType, resourceId })
    }
    return systemRows
  },

  /** For the start of a server. Does nothing on a database that had its baseline. */
  ensure: (): Promise<void> =>
    db.transaction(async (tx) => {
      const now = clock.now()
      if (!(await baseline.claim(tx, now))) return
      const stamps = { createdAt: now, updatedAt: now }
      const policyIds = await baseline.insertRenewalPolicies(
        tx,
        renewalPolicies.map((policy) => ({ ...policy, ...stamps })),
      )
      const ruleIds = await baseline.insertRules(
        tx,
        rules.map((rule) => ({ ...rule, ...stamps })),
      )
      await issuers.insertFromEnvironment(tx)
      const made = (action: string, resourceType: string) => (resourceId: string) => ({
        action,
        actor: systemActor,
        resourceType,
        resourceId,
      })
      await audit.append(
        tx,
        ...policyIds.map(made("create_renewal_policy", "renewal_policy")),
        ...ruleIds.map(made("policy_rule_created", "policy")),
      )
    }),
})
