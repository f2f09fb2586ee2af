/** Stored API keys: hashes only. */
import { and, count, eq, isNull, lt, or, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"

export type KeyRole = "admin" | "operator" | "viewer"

export interface ApiKey {
  readonly id: string
  readonly name: string
  /** SHA-256 of the key, lower-case hex. */
  readonly hash: string
  /** The identity behind the key: two keys of one principal overlap while one replaces the other. */
  readonly principal: string
  readonly role: KeyRole
  readonly createdAt: Date
  readonly lastUsedAt: Date | null
  readonly disabledAt: Date | null
}

export const apiKeyStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const { id, createdAt, name, principal } = t.apiKeys
  const listed = listing({ id, time: createdAt, text: [id, name, principal] })

  // With every request: building a query takes ten times as long as running it.
  const activeByHash = hot("api_key_by_hash", (query: Query) =>
    query
      .select()
      .from(t.apiKeys)
      .where(and(eq(t.apiKeys.hash, sql.placeholder("hash")), isNull(t.apiKeys.disabledAt))),
  )

  return {
    /** null when the name is taken. */
    async insert(tx: Tx, key: ApiKey): Promise<ApiKey | null> {
      const [row] = await tx.insert(t.apiKeys).values(key).onConflictDoNothing().returning()
      return row ?? null
    },
    /** Newest first. `total` counts all keys that match. */
    async list({ search }: TextFilter, slice: Slice) {
      const rows: ApiKey[] = await listed.read(read.select().from(t.apiKeys), listed.matches(search), slice)
      const [counted] = await read.select({ total: count() }).from(t.apiKeys).where(listed.matches(search))
      return { rows, total: counted?.total ?? 0 }
    },
    async find(id: string): Promise<ApiKey | null> {
      const [row] = await read.select().from(t.apiKeys).where(eq(t.apiKeys.id, id))
      return row ?? null
    },
    async findActiveByHash(hash: string): Promise<ApiKey | null> {
      return (await activeByHash(read, { hash }))[0] ?? null
    },
    async isEmpty(): Promise<boolean> {
      return (await read.select({ id: t.apiKeys.id }).from(t.apiKeys).limit(1)).length === 0
    },
    /** Replaces the hash of a key that is not disabled and still has `formerHash`. null: it was changed meanwhile. */
    async replaceHash(tx: Tx, id: string, formerHash: string, hash: string): Promise<ApiKey | null> {
      const [row] = await tx
        .update(t.apiKeys)
        .set({ hash })
        .where(and(eq(t.apiKeys.id, id), eq(t.apiKeys.hash, formerHash), isNull(t.apiKeys.disabledAt)))
        .returning()
      return row ?? null
    },
    /** The key as it was when it was disabled; null: it was disabled already. */
    async disable(tx: Tx, id: string, at: Date): Promise<ApiKey | null> {
      const [row] = await tx
        .update(t.apiKeys)
        .set({ disabledAt: at })
        .where(and(eq(t.apiKeys.id, id), isNull(t.apiKeys.disabledAt)))
        .returning()
      return row ?? null
    },
    /** Stamps the use of a key unless it was stamped since `notSince`. */
    async touch(tx: Tx, id: string, at: Date, notSince: Date): Promise<void> {
      await tx
        .update(t.apiKeys)
        .set({ lastUsedAt: at })
        .where(and(eq(t.apiKeys.id, id), or(isNull(t.apiKeys.lastUsedAt), lt(t.apiKeys.lastUsedAt, notSince))))
    },
  }
}

export type ApiKeyStore = ReturnType<typeof apiKeyStore>
