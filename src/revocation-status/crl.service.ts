/** Revocation lists: signed when something changed or the last one grows old, and served from memory in between. */
import { createHash } from "node:crypto"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { AppError, messageOf } from "../errors"
import type { Authority } from "../pki/authority"
import { signCrl } from "../pki/crl"
import type { CrlStore } from "./crl.store"
import { type ListedRevocations, listedRevocations } from "./listed-revocations"
import type { RevocationStatusStore } from "./revocation.store"
import type { RevocationFeed } from "./revocation-feed"

interface Deps {
  db: Pick<Db, "transaction">
  crls: CrlStore
  revocations: Pick<RevocationStatusStore, "listed" | "readsBeside" | "existsSince">
  feed: Pick<RevocationFeed, "hear" | "settle">
  /** Empty where somebody else publishes revocation. Fails with `not_found`. */
  authoritiesOf: (issuerId: string) => Promise<readonly Authority[]>
  /** Issuers that may have CAs of their own. */
  issuerIds: () => Promise<readonly string[]>
  clock: Clock
  onIssuerError: (issuerId: string, error: unknown) => void
  /** Bytes up to which a list is stored. Writing a longer one would hold the database's only writer, and it is made anew sooner. */
  mostStored?: number
}

export interface SignedCrl {
  readonly der: Buffer
  /** Weak entity tag over the bytes. */
  readonly etag: string
  readonly number: number
  readonly nextUpdate: Date
}

interface Held extends SignedCrl {
  /** How many changes of the issuer it knows of. */
  readonly changes: number
}

const hourMs = 3_600_000
const lifeMs = 24 * hourMs
/** A list is replaced when less than this is left, so that a client never finds one that is about to lapse. */
const renewedBeforeMs = 12 * hourMs
const overlapMs = 15_000
/** Issuers change rarely; which CA signs now is noticed after this time, and a new one that is asked for by name at once. */
const authoritiesMs = 1000
const keptGenerations = 20

const oneMiB = 1024 * 1024
/** Bytes that are hashed before others may work: a millisecond. */
const hashedAtOnce = oneMiB
const nothing = Buffer.alloc(0)

const etagOf = async (der: Buffer): Promise<string> => {
  const hash = createHash("sha256")
  for (let at = 0; at < der.length; at += hashedAtOnce) {
    if (at > 0) await new Promise((resolve) => setImmediate(resolve))
    hash.update(der.subarray(at, at + hashedAtOnce))
  }
  return `W/"${hash.digest("hex").slice(0, 16)}"`
}
const skiOf = (authority: Authority): string => authority.keyId.toString("hex")

export const crlService = (deps: Deps) => {
  const { db, crls, revocations, feed, authoritiesOf, clock, mostStored = oneMiB } = deps
  const signed = new Map<string, Held>()
  const recentAuthorities = new Map<string, { authorities: readonly Authority[]; readAt: number }>()
  const entries = new Map<string, ListedRevocations>()
  const numbers = new Map<string, number>()
  const changes = new Map<string, number>()
  /** Changes of which it is not known whose they are; counted for every issuer. */
  let changesOfAll = 0
  const underWay = new Map<string, Promise<void>>()

  feed.hear((revoked) => {
    if (revoked === null) changesOfAll += 1
    else changes.set(revoked.issuerId, (changes.get(revoked.issuerId) ?? 0) + 1)
  })
  const changesOf = (issuerId: string): number => (changes.get(issuerId) ?? 0) + changesOfAll

  const authorityOf = async (issuerId: string, ski: string | null): Promise<Authority> => {
    const isAsked = (authority: Authority) => ski === null || skiOf(authority) === ski.toLowerCase()
    const cached = recentAuthorities.get(issuerId)
    const isRecent = cached !== undefined && Math.abs(clock.now().getTime() - cached.readAt) < authoritiesMs
    const recent = isRecent ? cached.authorities.find(isAsked) : undefined
    if (recent !== undefined) return recent
    const authorities = await authoritiesOf(issuerId)
    recentAuthorities.set(issuerId, { authorities, readAt: clock.now().getTime() })
    if (authorities.length === 0) {
      throw new AppError("not_supported", `issuer ${issuerId} does not sign revocation lists here: ask its CA`)
    }
    const found = authorities.find(isAsked)
    if (found === undefined) throw new AppError("not_found", `issuer ${issuerId} has no CA with the key identifier ca`)
    return found
  }

  /** The list that a server signed before, ours or another, while nothing can have changed since. */
  const storedList = async (issuerId: string, ski: string, now: Date): Promise<Held | null> => {
    const known = changesOf(issuerId)
    const row = await crls.get(issuerId, ski)
    if (row === null || row.crlDer.length === 0 || row.nextUpdate.getTime() - now.getTime() < renewedBeforeMs)
      return null
    if (await revocations.existsSince(issuerId, new Date(row.thisUpdate.getTime() - overlapMs))) return null
    const { crlDer: der, crlNumber: number, nextUpdate } = row
    return { der, etag: await etagOf(der), number, nextUpdate, changes: known }
  }

  const sign = async (issuerId: string, authority: Authority, fully: boolean): Promise<Held> => {
    const known = changesOf(issuerId)
    const now = clock.now()
    const list = entries.get(issuerId) ?? listedRevocations(issuerId, revocations)
    entries.set(issuerId, list)
    const began = performance.now()
    const last = Math.max(numbers.get(issuerId) ?? 0, await crls.lastNumber(issuerId))
    // Seconds since 1970 keep it growing even when an older database is restored (RFC 5280 section 5.2.3).
    const number = Math.max(Math.floor(now.getTime() / 1000), last + 1)
    numbers.set(issuerId, number)
    const nextUpdate = new Date(now.getTime() + lifeMs)
    const generation = { id: newId("crlgen-"), issuerId, crlNumber: number, startedAt: now }
    try {
      const { revoked, count } = await list.collect(now, { fully })
      const der = await signCrl(authority, { number: BigInt(number), thisUpdate: now, nextUpdate, revoked })
      const etag = await etagOf(der)
      const durationMs = Math.round(performance.now() - began)
      await db.transaction(async (tx) => {
        await crls.put(tx, {
          issuerId,
          caSki: skiOf(authority),
          crlDer: der.length > mostStored ? nothing : der,
          crlNumber: number,
          thisUpdate: now,
          nextUpdate,
          generatedAt: now,
          generationDurationMs: durationMs,
          revokedCount: count,
          createdAt: now,
          updatedAt: now,
        })
        await crls.record(
          tx,
          { ...generation, durationMs, revokedCount: count, succeeded: true, error: null },
          keptGenerations,
        )
      })
      return { der, etag, number, nextUpdate, changes: known }
    } catch (error) {
      const durationMs = Math.round(performance.now() - began)
      const failed = { ...generation, durationMs, revokedCount: 0, succeeded: false, error: messageOf(error) }
      await db.transaction((tx) => crls.record(tx, failed, keptGenerations))
      throw error
    }
  }

  /** One at a time per issuer; whoever waits behind looks again afterwards. */
  const alone = (issuerId: string, work: () => Promise<void>): Promise<void> => {
    const running = underWay.get(issuerId)
    if (running !== undefined) return running
    const run = work().finally(() => underWay.delete(issuerId))
    underWay.set(issuerId, run)
    return run
  }

  return {
    /**
     * The newest list of an issuer's active CA, or of the one with key identifier `ski`. It knows every revocation committed
     * half a second ago, on whichever server.
     * @throws AppError `not_found`; `not_supported` where the CA's key is not held here
     */
    async current(issuerId: string, ski: string | null): Promise<SignedCrl> {
      await feed.settle()
      const authority = await authorityOf(issuerId, ski)
      const key = `${issuerId} ${skiOf(authority)}`
      const wanted = changesOf(issuerId)
      for (;;) {
        const held = signed.get(key)
        const isFresh = held !== undefined && held.nextUpdate.getTime() - clock.now().getTime() >= renewedBeforeMs
        if (held !== undefined && isFresh && held.changes >= wanted) return held
        await alone(issuerId, async () => {
          const stored = held === undefined ? await storedList(issuerId, skiOf(authority), clock.now()) : null
          signed.set(key, stored ?? (await sign(issuerId, authority, held === undefined)))
        })
      }
    },

    /** The CA's own certificate, DER. */
    async certificate(issuerId: string, ski: string | null): Promise<Buffer> {
      return (await authorityOf(issuerId, ski)).certDer
    },

    /** Signs every issuer's lists anew, though nothing may have changed: what has expired goes, and none grows old. */
    async refreshAll(signal: AbortSignal): Promise<void> {
      for (const issuerId of await deps.issuerIds()) {
        if (signal.aborted) return
        try {
          let fully = true
          for (const authority of await authoritiesOf(issuerId)) {
            await underWay.get(issuerId)
            const isFirst = fully
            await alone(issuerId, async () => {
              signed.set(`${issuerId} ${skiOf(authority)}`, await sign(issuerId, authority, isFirst))
            })
            fully = false
          }
        } catch (error) {
          deps.onIssuerError(issuerId, error)
        }
      }
    },

    /** Each issuer's newest list and the last times it was made. */
    async overview(generations: number) {
      const now = clock.now()
      const rows = await crls.summaries()
      const newest = new Map<string, (typeof rows)[number]>()
      for (const row of rows) if (!newest.has(row.issuerId)) newest.set(row.issuerId, row)
      const ids = new Set([...(await deps.issuerIds()), ...newest.keys()])
      const shown = await Promise.all(
        [...ids].sort().map(async (issuerId) => {
          const row = newest.get(issuerId) ?? null
          return {
            issuerId,
            list: row,
            isStale: row !== null && row.nextUpdate <= now,
            generations: await crls.generations(issuerId, generations),
          }
        }),
      )
      return { rows: shown, at: now }
    },
  }
}

export type CrlService = ReturnType<typeof crlService>
