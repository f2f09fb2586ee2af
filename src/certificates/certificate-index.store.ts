/**
 * Which index a list of certificates is read by. PostgreSQL knows how many rows have which value and finds out by itself. SQLite takes
 * all equalities for equally narrow, so it gets to see one of them; and it cannot tell a range of ten rows from one of a million, so
 * that is looked up.
 */
import { and, count, eq, gt, lt, lte, type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db } from "../db/db"
import { unordered } from "../db/listing"
import { unindexed } from "../db/unindexed"
import type { CertificateFilter } from "./certificate-list.store"

/** As many rows are sorted in two or three milliseconds. */
const few = 5000

/**
 * `in order`: along the list, each row looked at in passing; the narrowest equality may choose whose. `few`: by a range or by ids
 * that few rows are in, sorted then. `count`: there is no order.
 */
export type WayToFind = "in order" | "few" | "count"

type EqualityName = "status" | "environment" | "ownerId" | "teamId" | "issuerId" | "profileId"

/** The narrowest first. Most certificates are active, and few are of any other status. */
const orderOfNarrowness = ({ status }: CertificateFilter): readonly EqualityName[] =>
  status === "Active"
    ? ["ownerId", "teamId", "profileId", "issuerId", "environment", "status"]
    : ["ownerId", "status", "teamId", "profileId", "issuerId", "environment"]

export const certificateIndex = ({ t, read, dialect }: Pick<Db, "t" | "read" | "dialect">) => {
  const { certificates } = t
  const columns: Readonly<Record<EqualityName, SQLiteColumn>> = {
    status: certificates.status,
    environment: certificates.environment,
    ownerId: certificates.ownerId,
    teamId: certificates.teamId,
    issuerId: certificates.issuerId,
    profileId: certificates.certificateProfileId,
  }
  const hasFew = async (where: SQL | undefined): Promise<boolean> => {
    const some = read.select({ id: certificates.id }).from(certificates).where(where).limit(few).as("some")
    const [row] = await read.select({ n: count() }).from(some)
    return (row?.n ?? 0) < few
  }

  /** What a column without order is compared with, SQLite sees; what it is to pass over, it does not. */
  const seen = (column: SQLiteColumn, isSeen: boolean): SQL | SQLiteColumn =>
    isSeen || dialect !== "sqlite" ? column : unordered(column)

  return {
    equalities(filter: CertificateFilter, way: WayToFind = "in order"): SQL | undefined {
      const asked = orderOfNarrowness(filter).filter((name) => filter[name] !== undefined)
      return and(
        ...asked.map((name, place) =>
          dialect === "sqlite" && (way === "few" || place > 0)
            ? sql`${unindexed(columns[name])} = ${filter[name]}`
            : eq(columns[name], filter[name]),
        ),
      )
    },

    /** Of expiry and change. Times of creation are in the order of the list anyway. */
    ranges({ expiresBefore, expiresAfter, updatedAfter }: CertificateFilter, way: WayToFind): SQL | undefined {
      const { expiresAt, updatedAt } = certificates
      const compare = (column: SQLiteColumn, operator: "<" | ">", time: Date | undefined) =>
        time === undefined
          ? undefined
          : sql`${seen(column, way !== "in order")} ${sql.raw(operator)} ${sql.param(time, column)}`
      return and(
        compare(expiresAt, "<", expiresBefore),
        compare(expiresAt, ">", expiresAfter),
        compare(updatedAt, ">", updatedAfter),
      )
    },

    /** Whether a page is found without passing over thousands of rows: conditions on one column, or on an owner's certificates. */
    isQuick({ search, ids, agentId, shownStatus, ...filter }: CertificateFilter): boolean {
      if (search !== undefined && search.trim() !== "") return false
      const asked = Object.values({ ...filter, shownStatus }).filter((value) => value !== undefined)
      return asked.length <= 1 || filter.ownerId !== undefined || ids !== undefined || agentId !== undefined
    },

    async wayToFind(filter: CertificateFilter): Promise<"in order" | "few"> {
      if (dialect !== "sqlite") return "in order"
      const { agentId, ids, expiresBefore, expiresAfter, createdAfter, createdUntil, updatedAfter } = filter
      if (agentId !== undefined || ids !== undefined) return "few"
      const ranges = [
        [
          expiresBefore === undefined ? undefined : lt(certificates.expiresAt, expiresBefore),
          expiresAfter === undefined ? undefined : gt(certificates.expiresAt, expiresAfter),
        ],
        [
          createdAfter === undefined ? undefined : gt(certificates.createdAt, createdAfter),
          createdUntil === undefined ? undefined : lte(certificates.createdAt, createdUntil),
        ],
        [updatedAfter === undefined ? undefined : gt(certificates.updatedAt, updatedAfter)],
      ]
      for (const range of ranges) {
        if (range.some((end) => end !== undefined) && (await hasFew(and(...range)))) return "few"
      }
      return "in order"
    },
  }
}
