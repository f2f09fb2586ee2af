/** SQL of policy rules and their violations. */
import { and, asc, count, desc, eq, gt, inArray, type SQL, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate, keepUndeleted } from "../db/locking"
import { rowCounts } from "../db/row-counts"
import type { Tables } from "../db/tables/tables"

export type PolicyRuleRow = Tables["policyRules"]["$inferSelect"]
export type ViolationRow = Tables["policyViolations"]["$inferSelect"]

export interface ViolationFilter extends TextFilter {
  readonly ruleId: string
}

/** Rows per INSERT: six parameters each, below SQLite's 32,766. */
const insertChunk = 1000

export const policyStore = ({ t, read, scan, skipLocked, dialect }: Db) => {
  const { policyRules: rules, policyViolations: violations, certificates, certificateVersions: versions } = t

  const counts = rowCounts({ t, read })
  const readerFor = ({ search }: ViolationFilter) => (listedViolations.matches(search) === undefined ? read : scan)
  const subjectColumns = {
    id: certificates.id,
    status: certificates.status,
    issuerId: certificates.issuerId,
    sans: certificates.sans,
    environment: certificates.environment,
    tags: certificates.tags,
    expiresAt: certificates.expiresAt,
  }
  const listedRules = listing({ id: rules.id, time: rules.createdAt, text: [rules.id, rules.name, rules.type] })
  const listedViolations = listing({
    id: violations.id,
    time: violations.createdAt,
    text: [violations.id, violations.certificateId, violations.message],
  })
  const violationFilter = ({ ruleId, search }: ViolationFilter): SQL | undefined =>
    and(eq(violations.ruleId, ruleId), listedViolations.matches(search))
  const subjectsWhere = (query: Query | Tx, where: SQL | undefined) =>
    query.select(subjectColumns).from(certificates).where(where).orderBy(asc(certificates.id))

  // With every change of a certificate.
  const enabledRules = hot("enabled_rules", (tx: Tx) =>
    keepUndeleted(tx.select().from(rules).where(eq(rules.enabled, true)).orderBy(asc(rules.id))),
  )
  const lockedSubject = hot("lock_subject", (tx: Tx) =>
    forUpdate(subjectsWhere(tx, eq(certificates.id, sql.placeholder("id")))),
  )
  const newestOfOne = hot("newest_version_for_rules", (query: Query | Tx) =>
    query
      .select({ notBefore: versions.notBefore, notAfter: versions.notAfter })
      .from(versions)
      .where(eq(versions.certificateId, sql.placeholder("id")))
      .orderBy(desc(versions.createdAt), desc(versions.id))
      .limit(1),
  )
  const newestOfGiven = hot(null, (query: Query | Tx) => {
    const { certificateId, notBefore, notAfter, createdAt, id } = versions
    const rank = sql<number>`row_number() over (partition by ${certificateId} order by ${createdAt} desc, ${id} desc)`
    const ranked = query
      .select({ certificateId, notBefore, notAfter, rank: rank.as("rank") })
      .from(versions)
      .where(inGiven(dialect, certificateId, "ids"))
      .as("ranked")
    return query.select().from(ranked).where(eq(ranked.rank, 1))
  })
  const violationsOfOne = hot("violations_of_certificate", (query: Query | Tx) =>
    query
      .select()
      .from(violations)
      .where(eq(violations.certificateId, sql.placeholder("id"))),
  )

  const violationsOfGiven = hot(null, (query: Query | Tx) =>
    query
      .select()
      .from(violations)
      .where(inGiven(dialect, violations.certificateId, "ids")),
  )

  /** Removes some of the violations that match; returns how many. */
  const dropSome = async (tx: Tx, where: SQL | undefined, limit: number): Promise<number> => {
    const some = tx.select({ id: violations.id }).from(violations).where(where).limit(limit)
    return (await tx.delete(violations).where(inArray(violations.id, some)).returning({ id: violations.id })).length
  }

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listedRules.read(read.select().from(rules), listedRules.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(rules).where(listedRules.matches(search))
      return row?.n ?? 0
    },

    async get(id: string): Promise<PolicyRuleRow | null> {
      return (await read.select().from(rules).where(eq(rules.id, id)))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<PolicyRuleRow | null> {
      return (await forUpdate(tx.select().from(rules).where(eq(rules.id, id))))[0] ?? null
    },

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: PolicyRuleRow): Promise<PolicyRuleRow | null> {
      return (await tx.insert(rules).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such rule. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<PolicyRuleRow>): Promise<PolicyRuleRow | null> {
      return (await tx.update(rules).set(patch).where(eq(rules.id, id)).returning())[0] ?? null
    },

    /** Whether there was one. Its violations go with it. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(rules).where(eq(rules.id, id)).returning({ id: rules.id })).length > 0
    },

    enabled: () => read.select().from(rules).where(eq(rules.enabled, true)).orderBy(asc(rules.id)),

    /** The enabled rules, none of which can be deleted before the transaction ends. */
    enabledIn: (tx: Tx) => enabledRules(tx),

    /** Certificates by id, from after one on, with what rules look at. */
    subjectsAfter: (id: string, limit: number) => subjectsWhere(read, gt(certificates.id, id)).limit(limit),

    /** Holds the certificates until the transaction ends; leaves out those that another one holds. */
    lockFreeSubjects: (tx: Tx, ids: readonly string[]) =>
      skipLocked(subjectsWhere(tx, inArray(certificates.id, [...ids]))),

    lockSubject: (tx: Tx, id: string) => lockedSubject(tx, { id }),

    /** The validity of the newest version of each certificate that has one. */
    async newestVersions(query: Query | Tx, certificateIds: readonly string[]) {
      const [only] = certificateIds
      if (only !== undefined && certificateIds.length === 1) {
        return new Map((await newestOfOne(query, { id: only })).map((newest) => [only, newest]))
      }
      const rows = await newestOfGiven(query, { ids: idList(certificateIds) })
      return new Map(rows.map((row) => [row.certificateId, { notBefore: row.notBefore, notAfter: row.notAfter }]))
    },

    violationsOf: (query: Query | Tx, certificateIds: readonly string[]): Promise<ViolationRow[]> =>
      certificateIds.length === 1
        ? violationsOfOne(query, { id: certificateIds[0] })
        : violationsOfGiven(query, { ids: idList(certificateIds) }),

    /** Newest first. */
    violations: (filter: ViolationFilter, slice: Slice) =>
      listedViolations.read(readerFor(filter).select().from(violations), violationFilter(filter), slice),

    async totalViolations(filter: ViolationFilter): Promise<number> {
      const { search, ruleId } = filter
      if (listedViolations.matches(search) === undefined) return await counts.total("violations", { ruleId })
      const [row] = await scan.select({ n: count() }).from(violations).where(violationFilter(filter))
      return row?.n ?? 0
    },

    /** Returns those that were not there yet. */
    async insertViolations(tx: Tx, rows: readonly ViolationRow[]): Promise<ViolationRow[]> {
      const inserted: ViolationRow[] = []
      for (let from = 0; from < rows.length; from += insertChunk) {
        const chunk = rows.slice(from, from + insertChunk)
        inserted.push(...(await tx.insert(violations).values(chunk).onConflictDoNothing().returning()))
      }
      return inserted
    },

    async refreshViolation(tx: Tx, id: string, set: Pick<ViolationRow, "message" | "severity">): Promise<void> {
      await tx.update(violations).set(set).where(eq(violations.id, id))
    },

    async removeViolations(tx: Tx, ids: readonly string[]): Promise<void> {
      if (ids.length > 0) await tx.delete(violations).where(inArray(violations.id, [...ids]))
    },

    dropViolationsOf: (tx: Tx, ruleId: string, limit: number) => dropSome(tx, eq(violations.ruleId, ruleId), limit),

    dropViolationsOfDisabled: (tx: Tx, limit: number) => {
      const disabled = tx.select({ id: rules.id }).from(rules).where(eq(rules.enabled, false))
      return dropSome(tx, inArray(violations.ruleId, disabled), limit)
    },
  }
}

export type PolicyStore = ReturnType<typeof policyStore>
export type SubjectRow = Awaited<ReturnType<PolicyStore["subjectsAfter"]>>[number]
