/** SQL of orders, their authorizations and challenges. Whatever changes one of an order's rows holds the order first. */
import { and, asc, count, eq, gt, inArray, isNull, lte, min, ne, or } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import type { AcmeIdentifier, StoredProblem } from "../db/tables/acme.tables"
import type { Tables } from "../db/tables/tables"
import {
  type AuthorizationStatus,
  authorizationMoves,
  type ChallengeStatus,
  challengeMoves,
  type OrderStatus,
  openOrderStatuses,
  orderMoves,
  sourcesOf,
} from "./acme.machine"

export type OrderRow = Tables["acmeOrders"]["$inferSelect"]
export type AuthorizationRow = Tables["acmeAuthorizations"]["$inferSelect"]
export type ChallengeRow = Tables["acmeChallenges"]["$inferSelect"]

/** A challenge with what it proves and for whom. */
export interface ChallengeContext {
  readonly challenge: ChallengeRow
  readonly authorization: AuthorizationRow
  readonly order: OrderRow
}

export const orderStore = ({ t, read }: Db) => {
  const { acmeOrders: orders, acmeAuthorizations: authorizations, acmeChallenges: challenges } = t
  const open = inArray(orders.status, [...openOrderStatuses])

  return {
    async get(id: string, query: Query | Tx = read): Promise<OrderRow | null> {
      return (await query.select().from(orders).where(eq(orders.id, id)))[0] ?? null
    },

    /** Holds the row until the transaction ends; null when it is gone. */
    async lock(tx: Tx, id: string, now: Date): Promise<OrderRow | null> {
      return (await tx.update(orders).set({ updatedAt: now }).where(eq(orders.id, id)).returning())[0] ?? null
    },

    /** False when another order replaces the same certificate. */
    async insert(
      tx: Tx,
      order: OrderRow,
      parts: readonly { authorization: AuthorizationRow; challenges: readonly ChallengeRow[] }[],
    ): Promise<boolean> {
      const inserted = await tx.insert(orders).values(order).onConflictDoNothing().returning({ id: orders.id })
      if (inserted.length === 0) return false
      await tx.insert(authorizations).values(parts.map(({ authorization }) => authorization))
      const all = parts.flatMap((part) => part.challenges)
      if (all.length > 0) await tx.insert(challenges).values(all)
      return true
    },

    /** How many the account made since, when the first of them was, and how many are open. */
    async usage(tx: Tx, accountId: string, since: Date, now: Date) {
      const [made] = await tx
        .select({ n: count(), first: min(orders.createdAt) })
        .from(orders)
        .where(and(eq(orders.accountId, accountId), gt(orders.createdAt, since)))
      const [opened] = await tx
        .select({ n: count() })
        .from(orders)
        .where(and(eq(orders.accountId, accountId), open, gt(orders.expiresAt, now)))
      return { made: made?.n ?? 0, firstMadeAt: made?.first ?? null, open: opened?.n ?? 0 }
    },

    /** False when it was in a state that does not lead there. */
    async move(
      tx: Tx,
      id: string,
      to: OrderStatus,
      change: Partial<Pick<OrderRow, "error" | "csrPem" | "versionId" | "certificateId">> & {
        readonly updatedAt: Date
      },
    ): Promise<boolean> {
      const moved = await tx
        .update(orders)
        .set({ ...change, status: to })
        .where(and(eq(orders.id, id), inArray(orders.status, sourcesOf(orderMoves, to))))
        .returning({ id: orders.id })
      return moved.length > 0
    },

    /** Takes up an order that waits for its issuer: false when somebody else did since it was read. */
    async claimProcessing(tx: Tx, { id, updatedAt }: OrderRow, now: Date): Promise<boolean> {
      const claimed = await tx
        .update(orders)
        .set({ updatedAt: now })
        .where(and(eq(orders.id, id), eq(orders.status, "processing"), eq(orders.updatedAt, updatedAt)))
        .returning({ id: orders.id })
      return claimed.length > 0
    },

    async setCertificate(tx: Tx, id: string, certificateId: string): Promise<void> {
      await tx.update(orders).set({ certificateId }).where(eq(orders.id, id))
    },

    /** Which of the managed certificates an account has ordered. */
    async certificatesOf(tx: Tx, accountId: string, ids: readonly string[]): Promise<string[]> {
      if (ids.length === 0) return []
      const rows = await tx
        .selectDistinct({ id: orders.certificateId })
        .from(orders)
        .where(and(eq(orders.accountId, accountId), inArray(orders.certificateId, [...ids])))
      return rows.flatMap(({ id }) => id ?? [])
    },

    /** The order that a version was issued for; null when it was for none. */
    async ofVersion(versionId: string): Promise<OrderRow | null> {
      return (await read.select().from(orders).where(eq(orders.versionId, versionId)).limit(1))[0] ?? null
    },

    /** Whether a version was issued for an order other than this one. */
    async isTaken(tx: Tx, versionId: string, orderId: string): Promise<boolean> {
      const others = and(eq(orders.versionId, versionId), ne(orders.id, orderId))
      return (await tx.select({ id: orders.id }).from(orders).where(others).limit(1)).length > 0
    },

    authorizationsOf: (orderId: string, query: Query | Tx = read): Promise<AuthorizationRow[]> =>
      query.select().from(authorizations).where(eq(authorizations.orderId, orderId)).orderBy(asc(authorizations.id)),

    async authorization(id: string): Promise<{ authorization: AuthorizationRow; order: OrderRow } | null> {
      const [row] = await read
        .select({ authorization: authorizations, order: orders })
        .from(authorizations)
        .innerJoin(orders, eq(orders.id, authorizations.orderId))
        .where(eq(authorizations.id, id))
      return row ?? null
    },

    challengesOf: (authorizationId: string): Promise<ChallengeRow[]> =>
      read.select().from(challenges).where(eq(challenges.authorizationId, authorizationId)).orderBy(asc(challenges.id)),

    async challenge(id: string): Promise<ChallengeContext | null> {
      const [row] = await read
        .select({ challenge: challenges, authorization: authorizations, order: orders })
        .from(challenges)
        .innerJoin(authorizations, eq(authorizations.id, challenges.authorizationId))
        .innerJoin(orders, eq(orders.id, authorizations.orderId))
        .where(eq(challenges.id, id))
      return row ?? null
    },

    async moveAuthorization(tx: Tx, id: string, to: AuthorizationStatus, updatedAt: Date): Promise<boolean> {
      const moved = await tx
        .update(authorizations)
        .set({ status: to, updatedAt })
        .where(and(eq(authorizations.id, id), inArray(authorizations.status, sourcesOf(authorizationMoves, to))))
        .returning({ id: authorizations.id })
      return moved.length > 0
    },

    async moveChallenge(
      tx: Tx,
      id: string,
      to: ChallengeStatus,
      change: Partial<Pick<ChallengeRow, "claimedUntil" | "validatedAt" | "error">>,
    ): Promise<boolean> {
      const moved = await tx
        .update(challenges)
        .set({ ...change, status: to })
        .where(and(eq(challenges.id, id), inArray(challenges.status, sourcesOf(challengeMoves, to))))
        .returning({ id: challenges.id })
      return moved.length > 0
    },

    /** Challenges whose server has not come back to them, now the caller's until `until`. */
    async claimAbandoned(tx: Tx, now: Date, until: Date, limit: number): Promise<string[]> {
      const late = await tx
        .select({ id: challenges.id })
        .from(challenges)
        .where(and(eq(challenges.status, "processing"), lte(challenges.claimedUntil, now)))
        .limit(limit)
      if (late.length === 0) return []
      const ids = late.map(({ id }) => id)
      const claimed = await tx
        .update(challenges)
        .set({ claimedUntil: until })
        .where(and(inArray(challenges.id, ids), eq(challenges.status, "processing"), lte(challenges.claimedUntil, now)))
        .returning({ id: challenges.id })
      return claimed.map(({ id }) => id)
    },

    /** The account's open orders fail, and what was still to be proven is given up. */
    async abandonAll(tx: Tx, accountId: string, error: StoredProblem, now: Date): Promise<void> {
      const ended = await tx
        .update(orders)
        .set({ status: "invalid", error, updatedAt: now })
        .where(and(eq(orders.accountId, accountId), inArray(orders.status, ["pending", "ready"])))
        .returning({ id: orders.id })
      if (ended.length === 0) return
      const ids = ended.map(({ id }) => id)
      await tx
        .update(authorizations)
        .set({ status: "deactivated", updatedAt: now })
        .where(and(inArray(authorizations.orderId, ids), inArray(authorizations.status, ["pending", "valid"])))
    },

    /** Ends open orders whose time is over, with their authorizations; returns them. */
    async expireOrders(tx: Tx, error: StoredProblem, now: Date, limit: number): Promise<OrderRow[]> {
      const late = tx
        .select({ id: orders.id })
        .from(orders)
        .where(and(open, lte(orders.expiresAt, now)))
        .limit(limit)
      return tx
        .update(orders)
        .set({ status: "invalid", error, updatedAt: now })
        .where(and(inArray(orders.id, late), open))
        .returning()
    },

    /** Returns how many. An order that waits for them fails with them. */
    async expireAuthorizations(tx: Tx, now: Date, limit: number): Promise<AuthorizationRow[]> {
      const alive = inArray(authorizations.status, sourcesOf(authorizationMoves, "expired"))
      const late = tx
        .select({ id: authorizations.id })
        .from(authorizations)
        .where(and(alive, lte(authorizations.expiresAt, now)))
        .limit(limit)
      return tx
        .update(authorizations)
        .set({ status: "expired", updatedAt: now })
        .where(and(inArray(authorizations.id, late), alive))
        .returning()
    },

    /** Orders that nobody has a use for: failed ones, and those whose certificate has expired. Returns how many. */
    async dropOld(tx: Tx, before: Date, limit: number): Promise<number> {
      const versions = t.certificateVersions
      const old = tx
        .select({ id: orders.id })
        .from(orders)
        .leftJoin(versions, eq(versions.id, orders.versionId))
        .where(
          and(
            lte(orders.expiresAt, before),
            or(eq(orders.status, "invalid"), and(eq(orders.status, "valid"), lte(versions.notAfter, before))),
          ),
        )
        .limit(limit)
      return (await tx.delete(orders).where(inArray(orders.id, old)).returning({ id: orders.id })).length
    },

    /** Whether every name of an order was proven by a challenge, not just trusted. */
    async isProven(orderId: string): Promise<boolean> {
      const unproven = await read
        .select({ id: authorizations.id })
        .from(authorizations)
        .leftJoin(challenges, and(eq(challenges.authorizationId, authorizations.id), eq(challenges.status, "valid")))
        .where(and(eq(authorizations.orderId, orderId), isNull(challenges.id)))
        .limit(1)
      return unproven.length === 0
    },

    /** Names that the account has proven by a challenge and may still use. */
    async provenNames(accountId: string, now: Date): Promise<string[]> {
      const rows = await read
        .selectDistinct({ identifier: authorizations.identifier, wildcard: authorizations.wildcard })
        .from(authorizations)
        .innerJoin(orders, eq(orders.id, authorizations.orderId))
        .innerJoin(challenges, eq(challenges.authorizationId, authorizations.id))
        .where(
          and(
            eq(orders.accountId, accountId),
            eq(authorizations.status, "valid"),
            gt(authorizations.expiresAt, now),
            eq(challenges.status, "valid"),
          ),
        )
      return rows.map(({ identifier, wildcard }) => (wildcard ? `*.${identifier.value}` : identifier.value))
    },
  }
}

export type OrderStore = ReturnType<typeof orderStore>

/** As the client wrote it, a wildcard's `*.` included. */
export const nameOf = ({ identifier, wildcard }: { identifier: AcmeIdentifier; wildcard: boolean }): string =>
  wildcard ? `*.${identifier.value}` : identifier.value
