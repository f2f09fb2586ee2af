/**
 * Finds which certificates violate which rules. At most one violation exists per rule and certificate: it comes when the rule is
 * first violated, keeps its age while that lasts, and goes when the rule holds again. Violations never block anything.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Query, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { PolicyRuleRow, PolicyStore, SubjectRow, ViolationRow } from "./policy.store"
import { type RuleCheck, ruleCheck } from "./policy-rules"

interface Deps {
  db: Pick<Db, "transaction" | "read">
  policies: PolicyStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Hears of every new violation, in the transaction that found it. */
  onViolated?: (
    tx: Tx,
    certificateId: string,
    violation: { ruleName: string; severity: "Warning" | "Error" | "Critical"; message: string },
  ) => Promise<void>
  /** A rule that cannot be read, or certificates that could not be looked at; the others go on. */
  onRowError: (id: string, error: unknown) => void
}

/** Certificates read at once by a sweep; small, so that requests get their turn in between. */
const pageSize = 200
/** Certificates of one transaction: nobody else can change them meanwhile. */
const batchSize = 25
/** Violations removed by one transaction. */
const dropSize = 2000

/** Rules that are kept as they were read. */
const mostChecks = 500

interface ReadRule {
  readonly row: PolicyRuleRow
  readonly check: RuleCheck
}

interface Rules {
  readonly readable: readonly ReadRule[]
  /** Ids of rules whose configuration cannot be read: their violations stay as they are. */
  readonly unreadable: ReadonlySet<string>
}

type Wanted = Pick<ViolationRow, "certificateId" | "ruleId" | "message" | "severity"> & { readonly ruleName: string }

/** What has to change so that the violations of some certificates are right. */
interface Drift {
  readonly missing: readonly Wanted[]
  readonly outdated: readonly (Pick<ViolationRow, "id" | "message" | "severity"> & { readonly certificateId: string })[]
  readonly obsolete: readonly ViolationRow[]
}

export const violationService = ({ db, policies, audit, clock, onViolated, onRowError }: Deps) => {
  /** By type and configuration: reading one takes longer than judging a certificate by it. */
  const checks = new Map<string, RuleCheck>()
  const checkOf = ({ type, config }: PolicyRuleRow): RuleCheck => {
    const key = `${type} ${JSON.stringify(config)}`
    const known = checks.get(key)
    if (known !== undefined) return known
    const check = ruleCheck(type, config)
    if (checks.size >= mostChecks) checks.clear()
    checks.set(key, check)
    return check
  }

  const readRules = (rows: readonly PolicyRuleRow[]): Rules => {
    const readable: ReadRule[] = []
    const unreadable = new Set<string>()
    for (const row of rows) {
      try {
        readable.push({ row, check: checkOf(row) })
      } catch (error) {
        unreadable.add(row.id)
        onRowError(row.id, error)
      }
    }
    return { readable, unreadable }
  }

  const driftOf = async (query: Query | Tx, rules: Rules, subjects: readonly SubjectRow[]): Promise<Drift> => {
    const ids = subjects.map(({ id }) => id)
    const asksForVersions = rules.readable.some(({ row }) => row.type === "CertificateLifetime")
    const newest = asksForVersions ? await policies.newestVersions(query, ids) : new Map<string, never>()
    const present = new Map(
      (await policies.violationsOf(query, ids)).map((row) => [`${row.ruleId} ${row.certificateId}`, row]),
    )
    const now = clock.now()
    const missing: Drift["missing"][number][] = []
    const outdated: Drift["outdated"][number][] = []
    for (const subject of subjects) {
      // What is no longer managed complies with everything.
      if (subject.status === "Archived") continue
      for (const { row: rule, check } of rules.readable) {
        const message = check({ ...subject, newest: newest.get(subject.id) ?? null }, now)
        if (message === null) continue
        const { severity } = rule
        const key = `${rule.id} ${subject.id}`
        const found = present.get(key)
        present.delete(key)
        if (found === undefined) {
          missing.push({ certificateId: subject.id, ruleId: rule.id, ruleName: rule.name, message, severity })
        } else if (found.message !== message || found.severity !== severity) {
          outdated.push({ id: found.id, certificateId: subject.id, message, severity })
        }
      }
    }
    const obsolete = [...present.values()].filter(({ ruleId }) => !rules.unreadable.has(ruleId))
    return { missing, outdated, obsolete }
  }

  /** Sets the violations of certificates right; the caller holds them. */
  const settle = async (tx: Tx, subjects: readonly SubjectRow[]): Promise<void> => {
    if (subjects.length === 0) return
    const drift = await driftOf(tx, readRules(await policies.enabledIn(tx)), subjects)
    const ids = drift.obsolete.map(({ id }) => id)
    await policies.removeViolations(tx, ids)
    for (const { id, message, severity } of drift.outdated) {
      await policies.refreshViolation(tx, id, { message, severity })
    }
    const createdAt = clock.now()
    const added = await policies.insertViolations(
      tx,
      drift.missing.map(({ ruleName: _, ...violation }) => ({ ...violation, id: newId("pv-"), createdAt })),
    )
    const names = new Map(drift.missing.map(({ ruleId, ruleName }) => [ruleId, ruleName]))
    await audit.append(
      tx,
      ...added.map(({ certificateId, ruleId, severity, message }) => ({
        action: "policy_violation_detected",
        actor: systemActor,
        resourceType: "certificate",
        resourceId: certificateId,
        details: { rule_id: ruleId, rule_name: names.get(ruleId), severity, message },
      })),
    )
    for (const { certificateId, ruleId, severity, message } of added) {
      await onViolated?.(tx, certificateId, { ruleName: names.get(ruleId) ?? ruleId, severity, message })
    }
  }

  /** In transactions of its own. Those that somebody is changing at this moment are waited for, each by itself. */
  const settleAll = async (certificateIds: readonly string[]): Promise<void> => {
    const held = await db.transaction(async (tx) => {
      const free = await policies.lockFreeSubjects(tx, certificateIds)
      await settle(tx, free)
      const done = new Set(free.map(({ id }) => id))
      return certificateIds.filter((id) => !done.has(id))
    })
    for (const id of held) await db.transaction(async (tx) => settle(tx, await policies.lockSubject(tx, id)))
  }

  const repeatedly = async (drop: (tx: Tx) => Promise<number>): Promise<void> => {
    while ((await db.transaction(drop)) === dropSize) await nextTurn()
  }

  return {
    /**
     * Sets the violations of certificates right, in the transaction that changed them. The caller has them as they are now and holds
     * them: it has locked or inserted them.
     */
    judge: (tx: Tx, certificates: readonly SubjectRow[]): Promise<void> => settle(tx, certificates),

    /** Removes all violations of a rule, in steps. */
    clear: (ruleId: string): Promise<void> => repeatedly((tx) => policies.dropViolationsOf(tx, ruleId, dropSize)),

    /**
     * Looks at all certificates, page by page. Only those whose violations are not right cost a transaction, so that a pass over
     * an inventory that is in order writes nothing and holds up nobody.
     */
    async sweep({ signal, mostPages = Number.POSITIVE_INFINITY }: { signal?: AbortSignal; mostPages?: number } = {}) {
      const isAborted = () => signal?.aborted === true
      await repeatedly((tx) => policies.dropViolationsOfDisabled(tx, dropSize))
      const rules = readRules(await policies.enabled())
      if (rules.readable.length === 0) return
      let afterId = ""
      for (let page = 0; page < mostPages && !isAborted(); page += 1) {
        const subjects = await policies.subjectsAfter(afterId, pageSize)
        const { missing, outdated, obsolete } = await driftOf(db.read, rules, subjects)
        const drifted = [...new Set([...missing, ...outdated, ...obsolete].map(({ certificateId }) => certificateId))]
        for (let from = 0; from < drifted.length && !isAborted(); from += batchSize) {
          const batch = drifted.slice(from, from + batchSize)
          await settleAll(batch).catch((error: unknown) => onRowError(batch.join(", "), error))
        }
        const last = subjects.at(-1)
        if (last === undefined || subjects.length < pageSize) return
        afterId = last.id
        await nextTurn()
      }
    },
  }
}

export type ViolationService = ReturnType<typeof violationService>
