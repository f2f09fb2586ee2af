/**
 * The encoded entries of an issuer's revocation list, kept so that one more revocation costs one more entry and not the
 * reading of all. A full reading drops what has expired.
 */
import { revocationReasonCodes } from "../connectors/issuers/contract"
import { encodeRevoked } from "../pki/crl"
import type { RevocationMark, RevocationStatusStore } from "./revocation.store"

/** Some milliseconds of reading and encoding. */
const pageSize = 2000
/** See the feed: a row may become visible after younger ones. */
const overlapMs = 10_000
/** RFC 5280 section 3.3: a revoked certificate stays on the list until one was issued after its expiry. */
const keptAfterExpiryMs = 2 * 86_400_000
/** So many pieces are put together into fewer, none larger than the second number. */
const mostPieces = 256
const mostPieceBytes = 1024 * 1024

const codeOf = (reason: string): number =>
  reason in revocationReasonCodes ? revocationReasonCodes[reason as keyof typeof revocationReasonCodes] : 0

/** Requests are answered in between. */
const breath = () => new Promise((resolve) => setImmediate(resolve))

/** The same bytes in fewer pieces. Copying all of a long list at once would hold the requests. */
const joined = async (pieces: readonly Buffer[]): Promise<Buffer[]> => {
  const fewer: Buffer[] = []
  let group: Buffer[] = []
  let bytes = 0
  for (const piece of pieces) {
    if (bytes + piece.length > mostPieceBytes && group.length > 0) {
      fewer.push(Buffer.concat(group))
      group = []
      bytes = 0
      await breath()
    }
    group.push(piece)
    bytes += piece.length
  }
  return group.length === 0 ? fewer : [...fewer, Buffer.concat(group)]
}

export const listedRevocations = (
  issuerId: string,
  revocations: Pick<RevocationStatusStore, "listed" | "readsBeside">,
) => {
  let pieces: Buffer[] = []
  let count = 0
  let mark: RevocationMark | null = null
  /** Ids and times (ms) of those that the look-back will find again. */
  let recent = new Map<string, number>()

  const horizon = (): number => (mark?.createdAt.getTime() ?? 0) - 2 * overlapMs

  const readOn = async (now: Date): Promise<void> => {
    const expiredBefore = new Date(now.getTime() - keptAfterExpiryMs)
    const pageAfter = (after: RevocationMark) => {
      const page = revocations.listed(issuerId, after, expiredBefore, pageSize)
      // Heard of where it is awaited, which is a little later.
      page.catch(() => undefined)
      return page
    }
    let next = pageAfter({ createdAt: new Date(Math.max(0, (mark?.createdAt.getTime() ?? 0) - overlapMs)), id: "" })
    for (;;) {
      const rows: Awaited<typeof next> = await next
      const last = rows.at(-1)
      const after = last === undefined ? null : { createdAt: new Date(last.createdMs), id: last.id }
      const isLast = after === null || rows.length < pageSize
      if (!isLast && revocations.readsBeside) next = pageAfter(after)
      const fresh = recent.size === 0 ? rows : rows.filter(({ id }) => !recent.has(id))
      if (fresh.length > 0) {
        pieces.push(
          encodeRevoked(
            fresh.map(({ serial, revokedMs, reason }) => ({
              serial,
              revokedAt: new Date(revokedMs),
              reasonCode: codeOf(reason),
            })),
          ),
        )
        count += fresh.length
      }
      if (after !== null && (mark === null || after.createdAt >= mark.createdAt)) mark = after
      const near = horizon()
      for (const { id, createdMs } of fresh) if (createdMs >= near) recent.set(id, createdMs)
      if (isLast) break
      await breath()
      if (!revocations.readsBeside) next = pageAfter(after)
    }
    const near = horizon()
    for (const [id, at] of recent) if (at < near) recent.delete(id)
    if (pieces.length > mostPieces) pieces = await joined(pieces)
  }

  return {
    /** Brings the entries up to date, with `fully` from the beginning. Calls must not overlap. */
    async collect(now: Date, { fully }: { fully: boolean }): Promise<{ revoked: readonly Buffer[]; count: number }> {
      if (fully) {
        pieces = []
        count = 0
        mark = null
        recent = new Map()
      }
      await readOn(now)
      return { revoked: pieces, count }
    },
  }
}

export type ListedRevocations = ReturnType<typeof listedRevocations>
