/** SQL of certificate versions: each X.509 that was issued, newest first. Versions are never changed, only their dates of renewal. */
import { and, count, desc, eq, isNull, type SQL, sql } from "drizzle-orm"
import { ofAnyIssuer } from "../db/any-issuer"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot, hotInsertCount } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"
import { updateEach } from "../db/update-each"
import { AppError } from "../errors"

export type VersionRow = Tables["certificateVersions"]["$inferSelect"]
export type NewVersion = Tables["certificateVersions"]["$inferInsert"]

/** What the renewal of a certificate depends on. */
export type VersionDates = Pick<VersionRow, "id" | "certificateId" | "agentId" | "notAfter" | "renewAt" | "createdAt">

export interface VersionFilter extends TextFilter {
  readonly certificateId: string
}

export const versionStore = ({ t, read, dialect }: Db) => {
  const newestFirst = [desc(t.certificateVersions.createdAt), desc(t.certificateVersions.id)] as const
  const { id, createdAt, serialNumber, fingerprintSha256, agentId } = t.certificateVersions
  const listed = listing({ id, time: createdAt, text: [id, serialNumber, fingerprintSha256, agentId] })
  const filterOf = ({ certificateId, search }: VersionFilter) =>
    and(eq(t.certificateVersions.certificateId, certificateId), listed.matches(search))
  const insertRows = hotInsertCount("insert_versions", t.certificateVersions, t.certificateVersions.id)
  const setRenewAtOf = updateEach(t.certificateVersions, { set: ["renewAt"], seen: [] })
  const insertNew = async (tx: Tx, version: NewVersion): Promise<boolean> => (await insertRows(tx, [version])) > 0

  // Several times in each renewal and deployment.
  const byId = hot("version_by_id", (query: Query) =>
    query
      .select()
      .from(t.certificateVersions)
      .where(eq(t.certificateVersions.id, sql.placeholder("id"))),
  )
  const newestWhere = (whose: SQL) => (query: Query) =>
    query
      .select()
      .from(t.certificateVersions)
      .where(and(eq(t.certificateVersions.certificateId, sql.placeholder("certificateId")), whose))
      .orderBy(...newestFirst)
      .limit(1)
  const newestOfAgent = hot(
    "newest_version_of_agent",
    newestWhere(eq(t.certificateVersions.agentId, sql.placeholder("agentId"))),
  )
  const newestOfGiven = hot(null, (query: Query) => {
    const { certificateVersions: versions } = t
    const ranked = query
      .select({
        id: versions.id,
        certificateId: versions.certificateId,
        agentId: versions.agentId,
        notAfter: versions.notAfter,
        renewAt: versions.renewAt,
        createdAt: versions.createdAt,
        rank: sql<number>`row_number() over (partition by ${versions.certificateId}, ${versions.agentId}
          order by ${versions.createdAt} desc, ${versions.id} desc)`.as("rank"),
      })
      .from(versions)
      .where(inGiven(dialect, versions.certificateId, "ids"))
      .as("ranked")
    return query
      .select({
        id: ranked.id,
        certificateId: ranked.certificateId,
        agentId: ranked.agentId,
        notAfter: ranked.notAfter,
        renewAt: ranked.renewAt,
        createdAt: ranked.createdAt,
      })
      .from(ranked)
      .where(eq(ranked.rank, 1))
      .orderBy(desc(ranked.createdAt), desc(ranked.id))
  })
  const newestOfNobody = hot("newest_version_of_nobody", newestWhere(isNull(t.certificateVersions.agentId)))

  return {
    async get(id: string, query: Query | Tx = read): Promise<VersionRow | null> {
      return (await byId(query, { id }))[0] ?? null
    },

    list: (filter: VersionFilter, slice: Slice) =>
      listed.read(read.select().from(t.certificateVersions), filterOf(filter), slice),

    async total(filter: VersionFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.certificateVersions).where(filterOf(filter))
      return row?.n ?? 0
    },

    /** The newest of an agent; of nobody where `agentId` is null. */
    async newestOf(query: Query | Tx, certificateId: string, agentId: string | null): Promise<VersionRow | null> {
      const rows = await (agentId === null
        ? newestOfNobody(query, { certificateId })
        : newestOfAgent(query, { certificateId, agentId }))
      return rows[0] ?? null
    },

    /** When the newest version of each agent of each certificate was issued, ends and is due; newest first. */
    newestOfEach: (query: Query | Tx, certificateIds: readonly string[]): Promise<VersionDates[]> =>
      newestOfGiven(query, { ids: idList(certificateIds) }),

    async newest(query: Query | Tx, certificateId: string): Promise<VersionRow | null> {
      const rows = await query
        .select()
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.certificateId, certificateId))
        .orderBy(...newestFirst)
        .limit(1)
      return rows[0] ?? null
    },

    async byFingerprint(fingerprint: string): Promise<VersionRow | null> {
      const rows = await read
        .select()
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.fingerprintSha256, fingerprint))
      return rows[0] ?? null
    },

    /** Serial numbers are unique per CA only. */
    bySerial: (serialNumber: string): Promise<VersionRow[]> =>
      read
        .select()
        .from(t.certificateVersions)
        .where(and(eq(t.certificateVersions.serialNumber, serialNumber), ofAnyIssuer({ t, dialect })))
        .limit(10),

    async exists(query: Query | Tx, certificateId: string): Promise<boolean> {
      const rows = await query
        .select({ id: t.certificateVersions.id })
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.certificateId, certificateId))
        .limit(1)
      return rows.length > 0
    },

    async insert(tx: Tx, version: NewVersion): Promise<void> {
      await tx.insert(t.certificateVersions).values(version)
    },

    /** False when the same X.509 is stored already. */
    insertNew,

    /** How many were stored: not those of an X.509 that is stored already. */
    insertAll: (tx: Tx, versions: readonly NewVersion[]): Promise<number> => insertRows(tx, versions),

    /**
     * Stores a version and returns its id. A CA that knows idempotency keys answers with the X.509 it has signed before, which
     * may have been stored as nobody's when it came too late: then the agent that waited for it takes it over.
     */
    async insertOrAdopt(tx: Tx, version: NewVersion & { id: string }): Promise<string> {
      if (await insertNew(tx, version)) return version.id
      const { agentId, createdAt, renewAt } = version
      const adopted = await tx
        .update(t.certificateVersions)
        .set({ agentId, createdAt, renewAt })
        .where(
          and(
            eq(t.certificateVersions.fingerprintSha256, version.fingerprintSha256),
            eq(t.certificateVersions.certificateId, version.certificateId),
            isNull(t.certificateVersions.agentId),
          ),
        )
        .returning({ id: t.certificateVersions.id })
      if (adopted[0] === undefined) {
        throw new AppError("upstream", "the issuer returned a certificate that was issued for something else before")
      }
      return adopted[0].id
    },

    async setRenewAt(tx: Tx, dates: readonly { readonly id: string; readonly renewAt: Date }[]): Promise<void> {
      await setRenewAtOf(
        tx,
        dates.map(({ id, renewAt }) => ({ id, set: { renewAt }, seen: {} })),
      )
    },
  }
}

export type VersionStore = ReturnType<typeof versionStore>
