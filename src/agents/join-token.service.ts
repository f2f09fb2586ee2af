/** One-use tokens with which an agent registers. The token carries the fingerprint of the server's CA, so that the agent can verify the server before it says anything. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { type Actor, actorName } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { AppError } from "../errors"
import type { JoinTokenRow, JoinTokenStore } from "./agent.store"

interface Deps {
  db: Pick<Db, "transaction">
  tokens: JoinTokenStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** SHA-256 hex of the server's own CA certificate; empty when its certificate comes from elsewhere. */
  caFingerprint: () => string
}

const defaultTtlSeconds = 3600
export const longestTtlSeconds = 7 * 86_400

const hashOf = (secret: string): string => createHash("sha256").update(secret).digest("hex")

export const joinTokenService = ({ db, tokens, audit, clock, caFingerprint }: Deps) => ({
  /** The token itself is only ever in this answer. */
  async create(
    { ttlSeconds = defaultTtlSeconds }: { ttlSeconds?: number },
    actor: Actor,
  ): Promise<JoinTokenRow & { token: string }> {
    const secret = randomBytes(32).toString("base64url")
    const now = clock.now()
    const row: JoinTokenRow = {
      id: newId("jt-"),
      hash: hashOf(secret),
      createdBy: actorName(actor),
      createdAt: now,
      expiresAt: new Date(now.getTime() + ttlSeconds * 1000),
      usedAt: null,
      agentId: null,
    }
    await db.transaction(async (tx) => {
      await tokens.insert(tx, row)
      await audit.append(tx, {
        actor,
        action: "join_token_created",
        resourceType: "join_token",
        resourceId: row.id,
        details: { expires_at: row.expiresAt.toISOString() },
      })
    })
    return { ...row, token: `${row.id}.${secret}.${caFingerprint()}` }
  },

  async list(filter: TextFilter, slice: Slice) {
    const [rows, total] = await Promise.all([tokens.list(filter, slice), tokens.total(filter)])
    return { rows, total }
  },

  /** Whether the token would let somebody in now. Registering spends it. */
  async check(token: string): Promise<JoinTokenRow | null> {
    const [id = "", secret = ""] = token.split(".")
    const row = id === "" || secret === "" ? null : await tokens.get(id)
    // Compared also where there is no such token, so that the answer takes the same time.
    const presented = Buffer.from(hashOf(secret))
    const isSame = timingSafeEqual(presented, Buffer.from(row?.hash ?? hashOf("")))
    if (row === null || !isSame || row.usedAt !== null || row.expiresAt <= clock.now()) return null
    return row
  },

  spend: tokens.spend,

  /** @throws AppError `not_found` */
  remove: (id: string, actor: Actor): Promise<void> =>
    db.transaction(async (tx) => {
      if (!(await tokens.remove(tx, id))) throw new AppError("not_found", `join token ${id} does not exist`)
      await audit.append(tx, {
        actor,
        action: "join_token_deleted",
        resourceType: "join_token",
        resourceId: id,
      })
    }),
})

export type JoinTokenService = ReturnType<typeof joinTokenService>
