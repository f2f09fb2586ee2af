/** SQL of certificates found outside our own inventory, and of the scans that found them. */
import { and, count, desc, eq, type SQL } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { containsText, olderThan } from "../db/list-filters"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"

export type DiscoveredRow = Tables["discoveredCertificates"]["$inferSelect"]
export type NewDiscovered = Tables["discoveredCertificates"]["$inferInsert"]
export type ScanRow = Tables["discoveryScans"]["$inferSelect"]
export type DiscoveryStatus = DiscoveredRow["status"]

export interface DiscoveredFilter {
  readonly agentId?: string
  readonly status?: DiscoveryStatus
  /** Text in a name, an issuer, the serial, the fingerprint or the place. */
  readonly search?: string
}

export interface ScanFilter {
  readonly agentId?: string
  /** Text in the folders or the agent's id. */
  readonly search?: string
}

type After = { readonly createdAt: Date; readonly id: string } | null

/** Rows per INSERT: 22 parameters each, below SQLite's 32,766. */
const insertChunk = 500

export const discoveryStore = ({ t, read }: Db) => {
  const { discoveredCertificates: found, discoveryScans: scans } = t

  const foundWhere = ({ agentId, status, search }: DiscoveredFilter): SQL | undefined =>
    and(
      agentId === undefined ? undefined : eq(found.agentId, agentId),
      status === undefined ? undefined : eq(found.status, status),
      containsText(search, [
        found.commonName,
        found.sans,
        found.subjectDn,
        found.issuerDn,
        found.serialNumber,
        found.fingerprintSha256,
        found.sourcePath,
      ]),
    )
  const scansWhere = ({ agentId, search }: ScanFilter): SQL | undefined =>
    and(
      agentId === undefined ? undefined : eq(scans.agentId, agentId),
      containsText(search, [scans.directories, scans.agentId]),
    )

  return {
    /** Last seen first. */
    list: (filter: DiscoveredFilter, { limit, offset }: { limit: number; offset: number }) =>
      read
        .select()
        .from(found)
        .where(foundWhere(filter))
        .orderBy(desc(found.lastSeenAt), desc(found.id))
        .limit(limit)
        .offset(offset),

    /** Newest first. */
    listAfter: (filter: DiscoveredFilter, after: After, limit: number) =>
      read
        .select()
        .from(found)
        .where(and(foundWhere(filter), olderThan(after, found.createdAt, found.id)))
        .orderBy(desc(found.createdAt), desc(found.id))
        .limit(limit),

    async total(filter: DiscoveredFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(found).where(foundWhere(filter))
      return row?.n ?? 0
    },

    async get(id: string): Promise<DiscoveredRow | null> {
      return (await read.select().from(found).where(eq(found.id, id)))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<DiscoveredRow | null> {
      return (await forUpdate(tx.select().from(found).where(eq(found.id, id))))[0] ?? null
    },

    async update(tx: Tx, id: string, set: Partial<DiscoveredRow>): Promise<void> {
      await tx.update(found).set(set).where(eq(found.id, id))
    },

    countByStatus: () => read.select({ status: found.status, n: count() }).from(found).groupBy(found.status),

    /**
     * Inserts what was never seen at its place; of the rest only the time, the scan and the change stamp are refreshed. The rows
     * are of different places. Returns the ids of the inserted ones.
     */
    async record(tx: Tx, rows: readonly NewDiscovered[]): Promise<string[]> {
      const own = new Set(rows.map(({ id }) => id))
      const stored: string[] = []
      for (let from = 0; from < rows.length; from += insertChunk) {
        const chunk = rows.slice(from, from + insertChunk)
        const [first] = chunk
        if (first === undefined) break
        const { lastSeenAt, discoveryScanId, updatedAt } = first
        const kept = await tx
          .insert(found)
          .values(chunk)
          .onConflictDoUpdate({
            target: [found.fingerprintSha256, found.agentId, found.sourcePath],
            set: { lastSeenAt, discoveryScanId, updatedAt },
          })
          .returning({ id: found.id })
        // A row that was there before answers with its own id.
        stored.push(...kept.map(({ id }) => id).filter((id) => own.has(id)))
      }
      return stored
    },

    async insertScan(tx: Tx, row: ScanRow): Promise<void> {
      await tx.insert(scans).values(row)
    },

    async setNewCount(tx: Tx, scanId: string, certificatesNew: number): Promise<void> {
      await tx.update(scans).set({ certificatesNew }).where(eq(scans.id, scanId))
    },

    /** Latest first. */
    scans: (filter: ScanFilter, { limit, offset }: { limit: number; offset: number }) =>
      read
        .select()
        .from(scans)
        .where(scansWhere(filter))
        .orderBy(desc(scans.startedAt), desc(scans.id))
        .limit(limit)
        .offset(offset),

    scansAfter: (filter: ScanFilter, after: After, limit: number) =>
      read
        .select()
        .from(scans)
        .where(and(scansWhere(filter), olderThan(after, scans.startedAt, scans.id)))
        .orderBy(desc(scans.startedAt), desc(scans.id))
        .limit(limit),

    async totalScans(filter: ScanFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(scans).where(scansWhere(filter))
      return row?.n ?? 0
    },

    async managedStatus(query: Query | Tx, certificateId: string): Promise<string | null> {
      const { id, status } = t.certificates
      const rows = await query.select({ status }).from(t.certificates).where(eq(id, certificateId))
      return rows[0]?.status ?? null
    },
  }
}

export type DiscoveryStore = ReturnType<typeof discoveryStore>
