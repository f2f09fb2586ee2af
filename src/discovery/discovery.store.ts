/** SQL of certificates found outside our own inventory, and of the scans that found them. */
import { and, count, desc, eq, inArray, type SQL } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { listing, type Slice, type TextFilter, unordered } from "../db/listing"
import { forUpdate } from "../db/locking"
import { narrowing } from "../db/narrowing"
import { rowCounts } from "../db/row-counts"
import type { Tables } from "../db/tables/tables"
import { equalities } from "../db/unindexed"

export type DiscoveredRow = Tables["discoveredCertificates"]["$inferSelect"]
export type NewDiscovered = Tables["discoveredCertificates"]["$inferInsert"]
export type ScanRow = Tables["discoveryScans"]["$inferSelect"]
export type DiscoveryStatus = DiscoveredRow["status"]

export interface DiscoveredFilter extends TextFilter {
  readonly agentId?: string
  readonly status?: DiscoveryStatus
  readonly ids?: readonly string[]
}

export interface ScanFilter extends TextFilter {
  readonly agentId?: string
}

/** Rows per INSERT: 22 parameters each, below SQLite's 32,766. */
const insertChunk = 500

export const discoveryStore = (db: Db) => {
  const { t, read, scan, dialect } = db
  const { discoveredCertificates: found, discoveryScans: scans } = t

  const listedFound = listing({
    id: found.id,
    time: found.createdAt,
    text: [
      found.id,
      found.commonName,
      found.sans,
      found.subjectDn,
      found.issuerDn,
      found.serialNumber,
      found.fingerprintSha256,
      found.sourcePath,
    ],
    order: [desc(found.lastSeenAt), desc(found.id)],
  })
  const listedScans = listing({
    id: scans.id,
    time: scans.startedAt,
    text: [scans.id, scans.agentId, scans.directories],
  })

  const counts = rowCounts({ t, read })
  const readerFor = (list: typeof listedFound, { search }: { search?: string | undefined }) =>
    list.matches(search) === undefined ? read : scan

  const texts = narrowing<DiscoveredFilter>(db, "discovered_certificate")
  const foundWhere = ({ agentId, status, search, ids }: DiscoveredFilter): SQL | undefined =>
    and(
      ids === undefined ? undefined : inArray(found.id, [...ids]),
      equalities(dialect, [
        [found.agentId, agentId],
        [found.status, status],
      ]),
      listedFound.matches(search),
    )
  const countAll = async (filter: DiscoveredFilter): Promise<number> => {
    const { agentId, status, ids } = filter
    if (ids === undefined) return await counts.total("discoveredCertificates", { agentId, status })
    const [row] = await read.select({ n: count() }).from(found).where(foundWhere(filter))
    return row?.n ?? 0
  }
  const countSome = async (filter: DiscoveredFilter, most: number): Promise<number> => {
    const some = scan.select({ id: found.id }).from(found).where(foundWhere(filter)).limit(most).as("some")
    const [row] = await scan.select({ n: count() }).from(some)
    return row?.n ?? 0
  }
  const scansWhere = ({ agentId, search }: ScanFilter): SQL | undefined =>
    and(agentId === undefined ? undefined : eq(scans.agentId, agentId), listedScans.matches(search))

  return {
    /** Last seen first. */
    async list(asked: DiscoveredFilter, slice: Slice): Promise<DiscoveredRow[]> {
      const filter = await texts.narrow(asked)
      // A few named rows are found by their names and sorted; SQLite would go through all in the order of the list.
      const isInOrder = filter.ids === undefined || dialect !== "sqlite"
      const order = isInOrder ? undefined : [desc(unordered(found.lastSeenAt)), desc(found.id)]
      const rows = readerFor(listedFound, filter).select().from(found)
      return await listedFound.read(rows, foundWhere(filter), slice, order, isInOrder)
    },

    /** Of those that have a text at most `searchedTotal`. */
    total: (filter: DiscoveredFilter): Promise<number> => texts.total(filter, countAll, countSome),

    async get(id: string): Promise<DiscoveredRow | null> {
      return (await read.select().from(found).where(eq(found.id, id)))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<DiscoveredRow | null> {
      return (await forUpdate(tx.select().from(found).where(eq(found.id, id))))[0] ?? null
    },

    async update(tx: Tx, id: string, set: Partial<DiscoveredRow>): Promise<void> {
      await tx.update(found).set(set).where(eq(found.id, id))
    },

    async countByStatus(): Promise<{ status: DiscoveryStatus; n: number }[]> {
      const groups = await counts.byValue("discoveredCertificates", "status")
      return groups.map(({ value, count }) => ({ status: value as DiscoveryStatus, n: count }))
    },

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
    scans: (filter: ScanFilter, slice: Slice) =>
      listedScans.read(readerFor(listedScans, filter).select().from(scans), scansWhere(filter), slice),

    async totalScans(filter: ScanFilter): Promise<number> {
      const { search, agentId } = filter
      if (listedScans.matches(search) === undefined) return await counts.total("discoveryScans", { agentId })
      const [row] = await scan.select({ n: count() }).from(scans).where(scansWhere(filter))
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
