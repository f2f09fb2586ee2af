/**
 * Which index a list of certificates is read by. PostgreSQL knows how many rows have which value and finds out by itself. SQLite takes
 * all equalities for equally narrow, so it gets to see one of them; and it cannot tell a range of ten rows from one of a million, so
 * that is looked up.
 */
import { and, count, eq, gt, lt, lte, type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db } from "../db/db"
import { unindexed } from "../db/unindexed"
import type { CertificateFilter } from "./certificate.store"

/** As many rows are sorted in two or three milliseconds. */
const few = 5000

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

  return {
    /** @param isSorted whether the rows are found in the order of the list; if not, another condition finds them */
    equalities(filter: CertificateFilter, isSorted = true): SQL | undefined {
      const asked = orderOfNarrowness(filter).filter((name) => filter[name] !== undefined)
      return and(
        ...asked.map((name, place) =>
          dialect === "sqlite" && !(isSorted && place === 0)
            ? sql`${unindexed(columns[name])} = ${filter[name]}`
            : eq(columns[name], filter[name]),
        ),
      )
    },

    /** Whether a page is found without passing over thousands of rows: conditions on one column, or on an owner's certificates. */
    isQuick({ search, ids, agentId, shownStatus, ...filter }: CertificateFilter): boolean {
      if (search !== undefined && search.trim() !== "") return false
      const asked = Object.values({ ...filter, shownStatus }).filter((value) => value !== undefined)
      return asked.length <= 1 || filter.ownerId !== undefined || ids !== undefined || agentId !== undefined
    },

    /**
     * Whether the rows are best found in the order of the list, each looked at in passing. Where few can match, they are better all
     * found by what makes them few, and sorted.
     */
    async findsInOrder(filter: CertificateFilter): Promise<boolean> {
      if (dialect !== "sqlite") return true
      const { agentId, ids, expiresBefore, expiresAfter, createdAfter, createdUntil, updatedAfter } = filter
      if (agentId !== undefined || ids !== undefined) return false
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
        if (range.some((end) => end !== undefined) && (await hasFew(and(...range)))) return false
      }
      return true
    },
  }
}
