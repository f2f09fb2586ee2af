/**
 * How many certificates a list has over all its pages. Numbers kept up to date answer most filters; the rest is counted, over an
 * index where there is one that fits.
 */
import { and, count, eq, gte, lt, type SQL } from "drizzle-orm"
import type { Db } from "../db/db"
import { type CountFilter, rowCounts, type TimeRange } from "../db/row-counts"
import { certificateIndex } from "./certificate-index.store"
import type { CertificateFilter } from "./certificate-list.store"

/** Times are whole milliseconds. */
const justAfter = (time: Date): Date => new Date(time.getTime() + 1)

const isAsked = (filter: object): boolean => Object.values(filter).some((value) => value !== undefined && value !== "")

/** @param conditions what a filter is in SQL */
export const certificateTotal = (
  { t, read, scan, dialect }: Pick<Db, "t" | "read" | "scan" | "dialect">,
  conditions: (filter: CertificateFilter) => SQL | undefined,
) => {
  const { certificates } = t
  const counts = rowCounts({ t, read })
  const index = certificateIndex({ t, read, dialect })

  const counted = async (where: SQL | undefined, query = scan): Promise<number> => {
    const [row] = await query.select({ n: count() }).from(certificates).where(where)
    return row?.n ?? 0
  }

  /** Rows that expire or were created in a range; of one status, team or the like, or of any. */
  const inRange = (by: "certificateExpiries" | "certificateCreations", filter: CertificateFilter, range: TimeRange) => {
    const { status, environment, issuerId, profileId, teamId } = filter
    const column = by === "certificateExpiries" ? certificates.expiresAt : certificates.createdAt
    // The index of statuses goes on with the expiry; any other value is looked at in the rows of the piece.
    const where = index.equalities(
      { status, environment, issuerId, profileId, teamId },
      status === undefined ? "few" : "count",
    )
    const inPiece = ({ from, until }: { from: Date; until: Date }) =>
      counted(and(where, gte(column, from), lt(column, until)), read)
    return by === "certificateExpiries"
      ? counts.within(by, range, inPiece, { status, environment, issuerId, profileId, teamId })
      : counts.within(by, range, inPiece, { status })
  }

  /** What is stored as such, and the certificates stored as Active that their date moves in or out. */
  const shown = async (
    { status, now, expiringUntil }: NonNullable<CertificateFilter["shownStatus"]>,
    places: CountFilter<"certificates">,
    filter: CertificateFilter,
  ): Promise<number> => {
    const activeIn = ({ from, until }: TimeRange) =>
      isAsked(places)
        ? counted(
            and(
              conditions(filter),
              eq(certificates.status, "Active"),
              from === null ? undefined : gte(certificates.expiresAt, from),
              until === null ? undefined : lt(certificates.expiresAt, until),
            ),
          )
        : inRange("certificateExpiries", { status: "Active" }, { from, until })
    const stored = counts.total("certificates", { ...places, status })
    if (status === "Active") return (await stored) - (await activeIn({ from: null, until: expiringUntil }))
    if (status === "Expiring") return (await stored) + (await activeIn({ from: now, until: expiringUntil }))
    if (status === "Expired") return (await stored) + (await activeIn({ from: null, until: now }))
    return await stored
  }

  const total = async (filter: CertificateFilter): Promise<number> => {
    const { status, environment, ownerId, teamId, issuerId, profileId, shownStatus, ...rest } = filter
    const { expiresBefore, expiresAfter, createdAfter, createdUntil, ...uncounted } = rest
    const places = { environment, ownerId, teamId, issuerId, profileId }
    const expires = expiresBefore !== undefined || expiresAfter !== undefined
    const created = createdAfter !== undefined || createdUntil !== undefined
    if (isAsked(uncounted)) return await counted(conditions(filter))
    if (!expires && !created) {
      if (shownStatus === undefined) return await counts.total("certificates", { ...places, status })
      if (status === undefined) return await shown(shownStatus, places, { ...filter, shownStatus: undefined })
    }
    const [asked, ...more] = Object.values({ ...places, status }).filter((value) => value !== undefined)
    const isOne = more.length === 0 && (expires ? ownerId === undefined : asked === status)
    if (shownStatus === undefined && isOne && expires !== created) {
      return expires
        ? await inRange("certificateExpiries", filter, {
            from: expiresAfter === undefined ? null : justAfter(expiresAfter),
            until: expiresBefore ?? null,
          })
        : await inRange("certificateCreations", filter, {
            from: createdAfter === undefined ? null : justAfter(createdAfter),
            until: createdUntil === undefined ? null : justAfter(createdUntil),
          })
    }
    return await counted(conditions(filter))
  }

  return {
    of: total,

    /** As a part of another query; null where there are no numbers for such a filter. */
    term({
      status,
      environment,
      ownerId,
      teamId,
      issuerId,
      profileId,
      ...rest
    }: CertificateFilter): SQL<number> | null {
      if (isAsked(rest)) return null
      return counts.term.total("certificates", { status, environment, ownerId, teamId, issuerId, profileId })
    },
  }
}
