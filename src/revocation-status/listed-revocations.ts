/**
 * The encoded entries of an issuer's revocation list, kept so that one more revocation costs one more entry and not the
 * reading of all. A full reading drops what has expired.
 */
import { revocationReasonCodes } from "../connectors/issuers/contract"
import { encodeRevoked } from "../pki/crl"
import type { RevocationMark, RevocationStatusStore } from "./revocation.store"

const pageSize = 1000
/** See the feed: a row may become visible after younger ones. */
const overlapMs = 10_000
/** RFC 5280 section 3.3: a revoked certificate stays on the list until one was issued after its expiry. */
const keptAfterExpiryMs = 2 * 86_400_000
/** So many small pieces are put together into one. */
const mostPieces = 256

const codeOf = (reason: string): number =>
  reason in revocationReasonCodes ? revocationReasonCodes[reason as keyof typeof revocationReasonCodes] : 0

export const listedRevocations = (issuerId: string, revocations: Pick<RevocationStatusStore, "listed">) => {
  let pieces: Buffer[] = []
  let count = 0
  let mark: RevocationMark | null = null
  /** Ids and times (ms) of those that the look-back will find again. */
  let recent = new Map<string, number>()

  const readOn = async (now: Date): Promise<void> => {
    const expiredBefore = new Date(now.getTime() - keptAfterExpiryMs)
    let after: RevocationMark | null =
      mark === null ? null : { createdAt: new Date(mark.createdAt.getTime() - overlapMs), id: "" }
    for (;;) {
      const rows = await revocations.listed(issuerId, after, expiredBefore, pageSize)
      const fresh = rows.filter(({ id }) => !recent.has(id))
      pieces.push(
        encodeRevoked(
          fresh.map(({ serial, revokedAt, reason }) => ({ serial, revokedAt, reasonCode: codeOf(reason) })),
        ),
      )
      count += fresh.length
      for (const { id, createdAt } of fresh) recent.set(id, createdAt.getTime())
      const last = rows.at(-1)
      if (last !== undefined) {
        after = { createdAt: last.createdAt, id: last.id }
        if (mark === null || last.createdAt >= mark.createdAt) mark = after
      }
      const horizon = (mark?.createdAt.getTime() ?? 0) - 2 * overlapMs
      for (const [id, at] of recent) if (at < horizon) recent.delete(id)
      if (rows.length < pageSize) break
      // Requests are answered between two pages.
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (pieces.length > mostPieces) pieces = [Buffer.concat(pieces)]
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
