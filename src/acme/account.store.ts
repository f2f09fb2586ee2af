/** SQL of ACME accounts and of the keys that let clients open them. */
import { and, count, desc, eq, gt, inArray, isNull, or } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"
import { accountMoves, sourcesOf } from "./acme.machine"

export type AccountRow = Tables["acmeAccounts"]["$inferSelect"]
export type ExternalAccountRow = Tables["acmeExternalAccounts"]["$inferSelect"]

export const accountStore = ({ t, read }: Db) => {
  const { acmeAccounts: accounts, acmeExternalAccounts: externals } = t
  const listed = listing({
    id: accounts.id,
    time: accounts.createdAt,
    text: [accounts.id, accounts.jwkThumbprint],
  })
  return {
    async get(id: string): Promise<AccountRow | null> {
      return (await read.select().from(accounts).where(eq(accounts.id, id)))[0] ?? null
    },

    async byKey(profileId: string, thumbprint: string, query: Pick<Tx, "select"> = read): Promise<AccountRow | null> {
      const rows = await query
        .select()
        .from(accounts)
        .where(and(eq(accounts.profileId, profileId), eq(accounts.jwkThumbprint, thumbprint)))
      return rows[0] ?? null
    },

    /** null when the key has an account already. */
    async insert(tx: Tx, row: AccountRow): Promise<AccountRow | null> {
      return (await tx.insert(accounts).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** Holds the row until the transaction ends, if the account is still valid; of two orders at one moment the second counts the first. */
    async lockValid(tx: Tx, id: string, now: Date): Promise<boolean> {
      const locked = await tx
        .update(accounts)
        .set({ updatedAt: now })
        .where(and(eq(accounts.id, id), eq(accounts.status, "valid")))
        .returning({ id: accounts.id })
      return locked.length > 0
    },

    /** null when it is not valid any more. */
    async setContact(tx: Tx, id: string, contact: string[], now: Date): Promise<AccountRow | null> {
      const changed = await tx
        .update(accounts)
        .set({ contact, updatedAt: now })
        .where(and(eq(accounts.id, id), eq(accounts.status, "valid")))
        .returning()
      return changed[0] ?? null
    },

    /** null when it was not in a state that leads there. */
    async setStatus(tx: Tx, id: string, to: "deactivated" | "revoked", now: Date): Promise<AccountRow | null> {
      const changed = await tx
        .update(accounts)
        .set({ status: to, updatedAt: now })
        .where(and(eq(accounts.id, id), inArray(accounts.status, sourcesOf(accountMoves, to))))
        .returning()
      return changed[0] ?? null
    },

    /** False when the account has another key by now. Rejects as a duplicate when another account has the new one. */
    async setKey(
      tx: Tx,
      id: string,
      from: string,
      key: Pick<AccountRow, "jwkThumbprint" | "jwkPem">,
      now: Date,
    ): Promise<boolean> {
      const changed = await tx
        .update(accounts)
        .set({ ...key, updatedAt: now })
        .where(and(eq(accounts.id, id), eq(accounts.jwkThumbprint, from), eq(accounts.status, "valid")))
        .returning({ id: accounts.id })
      return changed.length > 0
    },

    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(accounts), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      return (await read.select({ n: count() }).from(accounts).where(listed.matches(search)))[0]?.n ?? 0
    },

    async insertExternal(tx: Tx, row: ExternalAccountRow): Promise<void> {
      await tx.insert(externals).values(row)
    },

    async external(id: string): Promise<ExternalAccountRow | null> {
      return (await read.select().from(externals).where(eq(externals.id, id)))[0] ?? null
    },

    /** False when it is bound to an account already or has expired. */
    async bindExternal(tx: Tx, id: string, accountId: string, now: Date): Promise<boolean> {
      const bound = await tx
        .update(externals)
        .set({ accountId, boundAt: now })
        .where(
          and(
            eq(externals.id, id),
            isNull(externals.boundAt),
            or(isNull(externals.expiresAt), gt(externals.expiresAt, now)),
          ),
        )
        .returning({ id: externals.id })
      return bound.length > 0
    },

    listExternals: () =>
      read.select().from(externals).orderBy(desc(externals.createdAt), desc(externals.id)).limit(500),

    async removeExternal(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(externals).where(eq(externals.id, id)).returning({ id: externals.id })).length > 0
    },
  }
}

export type AccountStore = ReturnType<typeof accountStore>
