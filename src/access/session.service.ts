/**
 * Sessions of the console. A session holds no rights of its own: each request asks again whose key opened it, so it ends with the
 * key, on every server, whether the key is stored or comes from the environment.
 */
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { logger } from "../logging"
import type { SessionFacts } from "../server/operation"
import type { Actor } from "./actor"
import type { ApiKeyService } from "./api-key.service"
import { failedSignIns } from "./failed-sign-ins"
import type { LoginThrottle } from "./login-throttle"
import { newSecret, secretHash } from "./secrets"
import type { SessionStore } from "./session.store"

const absoluteMs = 12 * 3_600_000
const idleMs = 3_600_000
const stampEveryMs = 60_000

const log = logger("access")

interface Deps {
  readonly db: Pick<Db, "transaction">
  readonly sessions: SessionStore
  readonly keys: Pick<ApiKeyService, "holderOf" | "holderOfHash">
  readonly throttle: LoginThrottle
  readonly audit: Pick<AuditService, "append">
  readonly clock: Clock
}

/** Names a session in the audit trail: enough to tell two apart, of no use to find one. */
const shortId = (idHash: string): string => idHash.slice(0, 16)

export interface SignedIn {
  readonly actor: Actor
  readonly session: SessionFacts
}

export const sessionService = ({ db, sessions, keys, throttle, audit, clock }: Deps) => {
  const failures = failedSignIns({ db, audit, clock })
  return {
    /**
     * Opens a session. `token` is the cookie's value; it is stored hashed.
     * @param address of the client, for throttling
     * @throws AppError `unauthenticated` for a key that does not open the console; `rate_limited` with `body.retry_after` in seconds
     */
    async signIn(key: string, address: string): Promise<SignedIn & { token: string }> {
      const wait = throttle.waitSeconds(address)
      if (wait > 0) {
        throw new AppError("rate_limited", `too many failed attempts; try again in ${Math.ceil(wait / 60)} minutes`, {
          body: { retry_after: wait },
        })
      }
      const holder = await keys.holderOf(key)
      // An agent's own key is for its routes only.
      if (holder === null || holder.actor.role === "agent") {
        throttle.failed(address)
        await failures.record(address, throttle.waitSeconds(address) > 0)
        throw new AppError("unauthenticated", "Invalid API key")
      }
      throttle.succeeded(address)
      const now = clock.now()
      const token = newSecret()
      const session = {
        idHash: secretHash(token),
        apiKeyId: holder.apiKeyId,
        keyHash: holder.keyHash,
        createdAt: now,
        lastSeenAt: now,
        expiresAt: new Date(now.getTime() + absoluteMs),
      }
      await db.transaction(async (tx) => {
        await sessions.insert(tx, session)
        await audit.append(tx, {
          action: "signed_in",
          actor: holder.actor,
          resourceType: "session",
          resourceId: shortId(session.idHash),
          details: { client_address: address },
        })
      })
      return { token, actor: holder.actor, session }
    },

    /**
     * Who is signed in with this cookie value; null when nobody is (any longer).
     * @param isActivity false for questions that the server asks by itself: they must not keep an idle session alive
     */
    async find(token: string, isActivity = true): Promise<SignedIn | null> {
      const now = clock.now()
      const session = await sessions.findLive(secretHash(token), now, new Date(now.getTime() - idleMs))
      if (session === null) return null
      const holder = await keys.holderOfHash(session.keyHash)
      if (holder === null || holder.actor.role === "agent") return null
      if (isActivity && now.getTime() - session.lastSeenAt.getTime() >= stampEveryMs) {
        try {
          await db.transaction((tx) => sessions.touch(tx, session.idHash, now))
        } catch (error) {
          // A page must not fail because the idle time could not be extended.
          log.warn("could not extend a session", { error })
        }
      }
      return { actor: holder.actor, session: { idHash: session.idHash, expiresAt: session.expiresAt } }
    },

    /** Ends the session. Signing out twice is fine. */
    async signOut(idHash: string, actor: Actor): Promise<void> {
      await db.transaction(async (tx) => {
        if (!(await sessions.delete(tx, idHash))) return
        await audit.append(tx, { action: "signed_out", actor, resourceType: "session", resourceId: shortId(idHash) })
      })
    },

    /** Removes rows of sessions that ended by time. */
    async sweep(): Promise<void> {
      const now = clock.now()
      await db.transaction((tx) => sessions.deleteDead(tx, now, new Date(now.getTime() - idleMs)))
    },
  }
}

export type SessionService = ReturnType<typeof sessionService>
