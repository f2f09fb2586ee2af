/** Lists of certificates: what is in them, in which order, and how many there are. */
import {
  and,
  asc,
  count,
  desc,
  eq,
  getTableColumns,
  gt,
  gte,
  inArray,
  isNotNull,
  isNull,
  lt,
  lte,
  or,
  type SQL,
  sql,
} from "drizzle-orm"
import { ofAnyIssuer } from "../db/any-issuer"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot } from "../db/hot"
import { listing, type Slice, unordered } from "../db/listing"
import { narrowing, searchedTotal } from "../db/narrowing"
import type { CertificateStatus } from "./certificate.machine"
import type { CertificateRow } from "./certificate.store"
import { certificateIndex, type WayToFind } from "./certificate-index.store"
import { certificateTotal } from "./certificate-total.store"

/** As it is shown: with the ids of the targets it is mapped to, in their order. */
export type MappedCertificate = CertificateRow & { readonly targetIds: readonly string[] }

export interface CertificateFilter {
  status?: CertificateStatus
  environment?: string
  ownerId?: string
  teamId?: string
  issuerId?: string
  profileId?: string
  agentId?: string
  expiresBefore?: Date
  expiresAfter?: Date
  createdAfter?: Date
  updatedAfter?: Date
  /** Until then, inclusive. */
  createdUntil?: Date
  source?: string
  ids?: readonly string[]
  /** Text found in the name, the common name, a SAN or the id, ignoring case; or a whole serial or fingerprint. */
  search?: string
  /** The status as lists show it: Active is judged by the date, as the statistics do. */
  shownStatus?: { status: CertificateStatus; now: Date; expiringUntil: Date }
}

export interface CertificateSort {
  column: "expiresAt" | "createdAt" | "updatedAt" | "commonName" | "name" | "status" | "environment"
  descending: boolean
}

/** A serial or fingerprint, written plainly or with colons; null when the text is neither. */
const hexIn = (text: string): string | null => {
  const plain = text.toLowerCase().replace(/[:\s]/g, "")
  return /^[0-9a-f]{16,64}$/.test(plain) ? plain : null
}

export interface CertificatePage {
  readonly rows: MappedCertificate[]
  readonly total: number
}

export const certificateList = (db: Db) => {
  const { t, read, scan } = db
  const { certificates, certificateTargets: mappings } = t
  const { id, name, commonName, sans, createdAt } = certificates
  const listed = listing({ id, time: createdAt, text: [name, commonName, sans, id] })

  const shownAs = ({ status, now, expiringUntil }: NonNullable<CertificateFilter["shownStatus"]>): SQL | undefined => {
    const { status: stored, expiresAt } = certificates
    const isActive = eq(stored, "Active")
    if (status === "Active") return and(isActive, or(isNull(expiresAt), gte(expiresAt, expiringUntil)))
    if (status === "Expiring") {
      return or(eq(stored, status), and(isActive, gte(expiresAt, now), lt(expiresAt, expiringUntil)))
    }
    return status === "Expired" ? or(eq(stored, status), and(isActive, lt(expiresAt, now))) : eq(stored, status)
  }

  /** Certificates with a version of that number. A serial number is stored with an even number of digits. */
  const idsByNumber = async (typed: string): Promise<string[]> => {
    const hex = hexIn(typed)
    if (hex === null) return []
    const { certificateId, fingerprintSha256, serialNumber } = t.certificateVersions
    const digits = hex.replace(/^0+(?=.)/, "")
    const withNumber = (where: SQL | undefined) =>
      read.selectDistinct({ id: certificateId }).from(t.certificateVersions).where(where).limit(searchedTotal)
    const [ofPrint, ofSerial] = await Promise.all([
      withNumber(eq(fingerprintSha256, hex)),
      withNumber(and(inArray(serialNumber, [digits, `0${digits}`, `00${digits}`]), ofAnyIssuer(db))),
    ])
    return [...ofPrint, ...ofSerial].map((row) => row.id)
  }
  const texts = narrowing<CertificateFilter>(db, "certificate", idsByNumber)

  const index = certificateIndex(db)

  const filterOf = (filter: CertificateFilter, way: WayToFind = "count"): SQL | undefined => {
    return and(
      index.equalities(filter, way),
      index.ranges(filter, way),
      filter.shownStatus === undefined ? undefined : shownAs(filter.shownStatus),
      filter.createdAfter === undefined ? undefined : gt(certificates.createdAt, filter.createdAfter),
      filter.createdUntil === undefined ? undefined : lte(certificates.createdAt, filter.createdUntil),
      filter.source === undefined ? undefined : eq(certificates.source, filter.source),
      filter.ids === undefined ? undefined : inArray(certificates.id, [...filter.ids]),
      filter.agentId === undefined
        ? undefined
        : inArray(
            certificates.id,
            read
              .select({ id: t.certificateTargets.certificateId })
              .from(t.certificateTargets)
              .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
              .where(eq(t.deploymentTargets.agentId, filter.agentId)),
          ),
      listed.matches(filter.search),
    )
  }

  const orderOf = (sort: CertificateSort | null, isInOrder: boolean): SQL[] => {
    const direction = sort?.descending === true ? desc : asc
    const first = certificates[sort?.column ?? "createdAt"]
    if (!isInOrder) return [direction(unordered(first)), direction(certificates.id)]
    if (sort === null) return [asc(certificates.createdAt), asc(certificates.id)]
    // Of two columns that most rows share a value in, the index goes on with the time of creation.
    const isShared = sort.column === "status" || sort.column === "environment"
    const columns = [certificates[sort.column], ...(isShared ? [certificates.createdAt] : []), certificates.id]
    return columns.map((column) => direction(column))
  }
  const targetIds =
    db.dialect === "sqlite"
      ? sql`(select json_group_array(target_id) from (select target_id from certificate_target_mappings
          where certificate_id = managed_certificates.id order by target_id))`
      : sql`(select coalesce(json_agg(target_id order by target_id), '[]') from certificate_target_mappings
          where certificate_id = managed_certificates.id)::text`
  const mapped = {
    ...getTableColumns(certificates),
    targetIds: targetIds.mapWith((json: string): string[] => JSON.parse(json)),
  }
  const mappedById = hot("mapped_certificate_by_id", (query: Query) =>
    query
      .select(mapped)
      .from(certificates)
      .where(eq(id, sql.placeholder("id"))),
  )
  const mappingsOf = hot(null, (query: Query) =>
    query
      .select()
      .from(mappings)
      .where(inGiven(db.dialect, mappings.certificateId, "ids"))
      .orderBy(asc(mappings.targetId)),
  )
  const withTargets = async (rows: readonly CertificateRow[]): Promise<MappedCertificate[]> => {
    const ids = new Map<string, string[]>(rows.map((row) => [row.id, []]))
    const found = rows.length === 0 ? [] : await mappingsOf(read, { ids: idList([...ids.keys()]) })
    for (const { certificateId, targetId } of found) ids.get(certificateId)?.push(targetId)
    return rows.map((row) => ({ ...row, targetIds: ids.get(row.id) ?? [] }))
  }

  /**
   * PostgreSQL tells the targets with the rows: each statement is a way there and back. SQLite, where it is none, would look for them
   * before it sorts, for thousands of rows that are on no page.
   */
  const readList = async (
    query: Query,
    where: SQL | undefined,
    sort: CertificateSort | null,
    slice: Slice,
    isInOrder: boolean,
  ): Promise<MappedCertificate[]> => {
    const order = orderOf(sort, isInOrder)
    return db.dialect === "sqlite"
      ? await withTargets(await listed.read(query.select().from(certificates), where, slice, order, isInOrder))
      : await listed.read(query.select(mapped).from(certificates), where, slice, order, isInOrder)
  }
  const countRows = async (where: SQL | undefined): Promise<number> => {
    const [row] = await scan.select({ n: count() }).from(certificates).where(where)
    return row?.n ?? 0
  }
  const totals = certificateTotal(db, (filter) => filterOf(filter))
  const countSome = async (filter: CertificateFilter, most: number): Promise<number> => {
    const some = scan.select({ id }).from(certificates).where(filterOf(filter)).limit(most).as("some")
    const [row] = await scan.select({ n: count() }).from(some)
    return row?.n ?? 0
  }

  /** Those that were never issued come last where the list is sorted by expiry. */
  const list = async (
    asked: CertificateFilter,
    sort: CertificateSort | null,
    slice: Slice,
  ): Promise<MappedCertificate[]> => {
    const filter = await texts.narrow(asked)
    const way = await index.wayToFind(filter)
    const where = filterOf(filter, way)
    const inOrder = way === "in order"
    const query = index.isQuick(filter) ? read : scan
    if (sort?.column !== "expiresAt" || "after" in slice) return await readList(query, where, sort, slice, inOrder)
    // Read one after the other: the dialects put NULL at different ends, and an order that says so has no index on one of them.
    const dated = and(where, isNotNull(certificates.expiresAt))
    const rows = await readList(query, dated, sort, slice, inOrder)
    if (rows.length === slice.limit) return rows
    const before = rows.length > 0 ? slice.offset : await countRows(dated)
    const rest = { limit: slice.limit - rows.length, offset: Math.max(0, slice.offset - before) }
    return [...rows, ...(await readList(query, and(where, isNull(certificates.expiresAt)), sort, rest, inOrder))]
  }

  /** Of those that have a text at most `searchedTotal`. */
  const total = (filter: CertificateFilter): Promise<number> => texts.total(filter, totals.of, countSome)

  return {
    filterOf,

    async mapped(id: string, query: Query | Tx = read): Promise<MappedCertificate | null> {
      return (await mappedById(query, { id }))[0] ?? null
    },

    list,
    total,

    /** A page, and how many there are on all; on PostgreSQL in one statement where numbers are kept for such a filter. */
    async page(filter: CertificateFilter, sort: CertificateSort | null, slice: Slice): Promise<CertificatePage> {
      const term = db.dialect === "postgres" && sort?.column !== "expiresAt" ? totals.term(filter) : null
      if (term !== null) {
        const numbered = read.select({ ...mapped, total: term }).from(certificates)
        const rows = await listed.read(numbered, filterOf(filter), slice, orderOf(sort, true))
        const [first] = rows
        if (first !== undefined) return { rows, total: first.total }
      }
      const [rows, count] = await Promise.all([list(filter, sort, slice), total(filter)])
      return { rows, total: count }
    },
  }
}
