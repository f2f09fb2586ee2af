/** SQL of the search over everything: rows by number or id where an index knows them, and what a result shows of each row. */
import { and, desc, gte, inArray, lt, or, type SQL } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import { ofAnyIssuer } from "../db/any-issuer"
import type { Db } from "../db/db"
import { searchIndex } from "../db/search-index"
import type { IdKind, SearchKind } from "./search-kinds"

/** What a result shows of a row. */
export interface Described {
  readonly id: string
  readonly title: string
  readonly subtitle: string
  readonly status: string | null
  /** The certificate that the row belongs to, where the row has no page of its own. */
  readonly certificateId: string | null
}

export interface VersionHit {
  readonly id: string
  readonly serialNumber: string
  readonly fingerprintSha256: string
}

/** Digits of a serial number or fingerprint from which on a beginning of it is enough. */
const shortestPiece = 8

/** Two spellings of one serial number may differ in these. */
export const withoutZeros = (digits: string): string => digits.replace(/^0+(?=.)/, "")

export const searchStore = (db: Db) => {
  const { t, read } = db
  const index = searchIndex(db)
  const whoeverIssued = ofAnyIssuer(db)

  /** Hexadecimal text that begins with `digits`, in whatever order the database sorts text: digits come before letters, and f before g. */
  const beginsWith = (column: SQLiteColumn, digits: string): SQL | undefined =>
    and(gte(column, digits), lt(column, `${digits}g`))

  const plain = { status: null, certificateId: null }
  const enabled = (isEnabled: boolean) => (isEnabled ? "enabled" : "disabled")

  const certificateNames = async (ids: readonly string[]): Promise<Map<string, string>> => {
    const { id, commonName } = t.certificates
    const rows = await read
      .select({ id, commonName })
      .from(t.certificates)
      .where(inArray(id, [...ids]))
    return new Map(rows.map((row) => [row.id, row.commonName]))
  }

  /** Of rows that belong to a certificate; its common name is the title. */
  const ofCertificates = async <R extends { readonly certificateId: string | null }>(
    rows: readonly R[],
    shape: (row: R, commonName: string | null) => Described,
  ): Promise<Described[]> => {
    const names = await certificateNames(rows.flatMap(({ certificateId }) => certificateId ?? []))
    return rows.map((row) => shape(row, names.get(row.certificateId ?? "") ?? row.certificateId))
  }

  const describers: Readonly<Record<SearchKind, (ids: string[]) => Promise<Described[]>>> = {
    async certificate(ids) {
      const { id, name, commonName, sans, status } = t.certificates
      const rows = await read
        .select({ id, name, commonName, sans, status })
        .from(t.certificates)
        .where(inArray(id, ids))
      return rows.map((row) => {
        const others = row.sans.filter((san) => san !== row.commonName)
        const more = others.length > 2 ? ` and ${others.length - 2} more` : ""
        return {
          ...plain,
          id: row.id,
          title: row.commonName,
          subtitle: [row.name, ...others.slice(0, 2)].filter((text) => text !== row.commonName).join(", ") + more,
          status: row.status,
        }
      })
    },
    async discovered_certificate(ids) {
      const { id, commonName, subjectDn, sourcePath, status, fingerprintSha256 } = t.discoveredCertificates
      const rows = await read
        .select({ id, commonName, subjectDn, sourcePath, status, fingerprintSha256 })
        .from(t.discoveredCertificates)
        .where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.commonName || row.subjectDn || row.fingerprintSha256,
        subtitle: row.sourcePath,
        status: row.status,
      }))
    },
    async agent(ids) {
      const { id, name, hostname, status, retiredAt } = t.agents
      const rows = await read.select({ id, name, hostname, status, retiredAt }).from(t.agents).where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: row.hostname,
        status: row.retiredAt === null ? row.status : "Retired",
      }))
    },
    async target(ids) {
      const { id, name, type, agentId, enabled: isEnabled, retiredAt } = t.deploymentTargets
      const rows = await read
        .select({ id, name, type, agentId, isEnabled, retiredAt })
        .from(t.deploymentTargets)
        .where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: `${row.type} of ${row.agentId}`,
        status: row.retiredAt === null ? enabled(row.isEnabled) : "retired",
      }))
    },
    async issuer(ids) {
      const { id, name, type, enabled: isEnabled } = t.issuers
      const rows = await read.select({ id, name, type, isEnabled }).from(t.issuers).where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: row.type,
        status: enabled(row.isEnabled),
      }))
    },
    async owner(ids) {
      const { id, name, email } = t.owners
      const rows = await read.select({ id, name, email }).from(t.owners).where(inArray(id, ids))
      return rows.map((row) => ({ ...plain, id: row.id, title: row.name, subtitle: row.email }))
    },
    async team(ids) {
      const { id, name, description } = t.teams
      const rows = await read.select({ id, name, description }).from(t.teams).where(inArray(id, ids))
      return rows.map((row) => ({ ...plain, id: row.id, title: row.name, subtitle: row.description }))
    },
    async profile(ids) {
      const { id, name, description, enabled: isEnabled } = t.certificateProfiles
      const rows = await read
        .select({ id, name, description, isEnabled })
        .from(t.certificateProfiles)
        .where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: row.description,
        status: enabled(row.isEnabled),
      }))
    },
    async policy(ids) {
      const { id, name, type, enabled: isEnabled } = t.policyRules
      const rows = await read.select({ id, name, type, isEnabled }).from(t.policyRules).where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: row.type,
        status: enabled(row.isEnabled),
      }))
    },
    async renewal_policy(ids) {
      const { id, name, renewalWindowDays } = t.renewalPolicies
      const rows = await read.select({ id, name, renewalWindowDays }).from(t.renewalPolicies).where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: `${row.renewalWindowDays} days before expiry`,
      }))
    },
    async agent_group(ids) {
      const { id, name, description, enabled: isEnabled } = t.agentGroups
      const rows = await read.select({ id, name, description, isEnabled }).from(t.agentGroups).where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.name,
        subtitle: row.description,
        status: enabled(row.isEnabled),
      }))
    },
    async health_check(ids) {
      const { id, endpoint, certSubject, status } = t.healthChecks
      const rows = await read.select({ id, endpoint, certSubject, status }).from(t.healthChecks).where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: row.endpoint,
        subtitle: row.certSubject,
        status: row.status,
      }))
    },
    async version(ids) {
      const { id, certificateId, serialNumber } = t.certificateVersions
      const rows = await read
        .select({ id, certificateId, serialNumber })
        .from(t.certificateVersions)
        .where(inArray(id, ids))
      return await ofCertificates(rows, (row, commonName) => ({
        ...plain,
        id: row.id,
        title: commonName ?? row.id,
        subtitle: `serial ${row.serialNumber}`,
        certificateId: row.certificateId,
      }))
    },
    async job(ids) {
      const { id, type, status, certificateId } = t.jobs
      const rows = await read.select({ id, type, status, certificateId }).from(t.jobs).where(inArray(id, ids))
      return await ofCertificates(rows, (row, commonName) => ({
        ...plain,
        id: row.id,
        title: `${row.type} ${row.id}`,
        subtitle: commonName ?? "",
        status: row.status,
      }))
    },
    async approval(ids) {
      const { id, certificateId, state, requestedBy } = t.approvalRequests
      const rows = await read
        .select({ id, certificateId, state, requestedBy })
        .from(t.approvalRequests)
        .where(inArray(id, ids))
      return await ofCertificates(rows, (row, commonName) => ({
        ...plain,
        id: row.id,
        title: `Approval ${row.id}`,
        subtitle: `${commonName}, asked for by ${row.requestedBy}`,
        status: row.state,
      }))
    },
    async notification(ids) {
      const { id, type, channel, recipient, status } = t.notifications
      const rows = await read
        .select({ id, type, channel, recipient, status })
        .from(t.notifications)
        .where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: `${row.type} ${row.id}`,
        subtitle: `${row.channel} to ${row.recipient}`,
        status: row.status,
      }))
    },
    async audit_event(ids) {
      const { id, action, actor, resourceType, resourceId } = t.auditEvents
      const rows = await read
        .select({ id, action, actor, resourceType, resourceId })
        .from(t.auditEvents)
        .where(inArray(id, ids))
      return rows.map((row) => ({
        ...plain,
        id: row.id,
        title: `${row.action} ${row.resourceId}`,
        subtitle: `${row.resourceType}, by ${row.actor}`,
      }))
    },
  }

  return {
    ...index,

    /** What a result shows of the rows that exist. */
    describe: (kind: SearchKind, ids: readonly string[]): Promise<Described[]> =>
      ids.length === 0 ? Promise.resolve([]) : describers[kind]([...ids]),

    /** Certificates with exactly this name or common name, newest first. */
    async certificatesNamed(names: readonly string[], limit: number): Promise<{ id: string; values: string[] }[]> {
      const { id, name, commonName, createdAt } = t.certificates
      const rows = await read
        .select({ id, name, commonName })
        .from(t.certificates)
        .where(or(inArray(name, [...names]), inArray(commonName, [...names])))
        .orderBy(desc(createdAt), desc(id))
        .limit(limit)
      return rows.map((row) => ({ id: row.id, values: [row.id, row.name, row.commonName] }))
    },

    /**
     * Versions whose serial number or fingerprint is the number or, for a longer one, begins with it.
     * @param digits lower-case hexadecimal
     */
    async versionsByNumber(digits: string, limit: number): Promise<VersionHit[]> {
      const { id, serialNumber, fingerprintSha256 } = t.certificateVersions
      const by = async (where: SQL | undefined, order: SQLiteColumn): Promise<VersionHit[]> =>
        await read
          .select({ id, serialNumber, fingerprintSha256 })
          .from(t.certificateVersions)
          .where(where)
          .orderBy(order)
          .limit(limit)
      const serials = ["", "0", "00"].map((zeros) => zeros + withoutZeros(digits))
      const found = await Promise.all(
        digits.length < shortestPiece
          ? [by(and(inArray(serialNumber, serials), whoeverIssued), serialNumber)]
          : [
              ...serials.map((serial) => by(and(beginsWith(serialNumber, serial), whoeverIssued), serialNumber)),
              by(beginsWith(fingerprintSha256, digits), fingerprintSha256),
            ],
      )
      return [...new Map(found.flat().map((row) => [row.id, row])).values()]
    },

    /** Which of the ids are rows of the kind. */
    async existing(kind: IdKind, ids: readonly string[]): Promise<string[]> {
      const tables = {
        version: t.certificateVersions,
        job: t.jobs,
        approval: t.approvalRequests,
        notification: t.notifications,
        audit_event: t.auditEvents,
      }
      const table = tables[kind]
      const rows = await read
        .select({ id: table.id })
        .from(table)
        .where(inArray(table.id, [...ids]))
      return rows.map((row) => row.id)
    },
  }
}

export type SearchStore = ReturnType<typeof searchStore>
