/**
 * API keys: making, replacing and disabling the stored ones, and finding out whose a presented key is. Keys come from the
 * environment, from the table and from agents; a key is shown once, when it is made.
 */
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import { logger } from "../logging"
import type { Actor } from "./actor"
import { canMove, stateOf } from "./api-key.machine"
import type { ApiKey, ApiKeyStore, KeyRole } from "./api-key.store"
import { newSecret, sameHash, secretHash } from "./secrets"
import type { SessionStore } from "./session.store"

/** A key of the environment. */
export interface ConfiguredKey {
  readonly name: string
  readonly key: string
  readonly role: "admin" | "operator"
}

export interface KeyHolder {
  readonly actor: Actor
  readonly keyHash: string
  /** Row of a stored key; null for keys of the environment and of agents. */
  readonly apiKeyId: string | null
}

interface Deps {
  readonly db: Pick<Db, "transaction">
  readonly keys: ApiKeyStore
  readonly sessions: Pick<SessionStore, "deleteOfKey">
  readonly audit: Pick<AuditService, "append">
  readonly clock: Clock
  readonly configured: readonly ConfiguredKey[]
  /** The agent whose own key has this hash, retired ones included: they must be able to learn that they are. */
  readonly findAgentByKeyHash: (
    hash: string,
  ) => Promise<{ readonly id: string; readonly retiredAt: Date | null } | null>
  /** A first key was made by hand: the generated one need not lie around in a file any longer. */
  readonly onCreated?: () => Promise<void>
}

export interface NewKey {
  readonly name: string
  readonly role: KeyRole
  readonly principal?: string
}

const keyPrefix = "certctl_"
const stampEveryMs = 60_000
/** Keys remembered as stamped, or as those of agents; more are simply stamped again (the database decides), or looked for twice. */
const mostRemembered = 10_000

const log = logger("access")

export const apiKeyService = ({
  db,
  keys,
  sessions,
  audit,
  clock,
  configured,
  findAgentByKeyHash,
  onCreated,
}: Deps) => {
  const environment = configured.map(({ name, key, role }) => ({ name, role, hash: secretHash(key) }))
  const stampedAt = new Map<string, number>()
  /** Where to look first; what is found there counts, not what is remembered. */
  const hashesOfAgents = new Set<string>()
  const stamping = new Set<Promise<void>>()

  /** Never delays the answer; the clock decides at most once a minute, the row decides among servers. */
  const stamp = (id: string): void => {
    const now = clock.now()
    if (now.getTime() - (stampedAt.get(id) ?? Number.NEGATIVE_INFINITY) < stampEveryMs) return
    if (stampedAt.size >= mostRemembered) stampedAt.clear()
    stampedAt.set(id, now.getTime())
    const writing = db
      .transaction((tx) => keys.touch(tx, id, now, new Date(now.getTime() - stampEveryMs)))
      .catch((error: unknown) => log.warn("could not record the use of a key", { error, api_key_id: id }))
      .finally(() => stamping.delete(writing))
    stamping.add(writing)
  }

  const userOf = async (hash: string): Promise<KeyHolder | null> => {
    const stored = await keys.findActiveByHash(hash)
    if (stored === null) return null
    const actor: Actor = { name: stored.principal, type: "User", role: stored.role }
    return { actor, keyHash: hash, apiKeyId: stored.id }
  }

  const agentOf = async (hash: string): Promise<KeyHolder | null> => {
    const agent = await findAgentByKeyHash(hash)
    if (agent === null) return null
    if (hashesOfAgents.size >= mostRemembered) hashesOfAgents.clear()
    hashesOfAgents.add(hash)
    const { id, retiredAt } = agent
    const actor: Actor = { name: id, type: "Agent", role: "agent", agentId: id, isRetired: retiredAt !== null }
    return { actor, keyHash: hash, apiKeyId: null }
  }

  const holderOfHash = async (hash: string): Promise<KeyHolder | null> => {
    // All of them, even after a hit: the time must not tell which one it was.
    const match = environment.reduce<(typeof environment)[number] | null>(
      (found, key) => (sameHash(key.hash, hash) && found === null ? key : found),
      null,
    )
    if (match !== null) {
      return { actor: { name: match.name, type: "User", role: match.role }, keyHash: hash, apiKeyId: null }
    }
    const wasAgents = hashesOfAgents.has(hash)
    const holder = wasAgents ? await agentOf(hash) : await userOf(hash)
    return holder ?? (wasAgents ? await userOf(hash) : await agentOf(hash))
  }

  const get = async (id: string): Promise<ApiKey> => {
    const key = await keys.find(id)
    if (key === null) throw new AppError("not_found", `API key ${id} does not exist`)
    return key
  }

  return {
    get,

    /** Whose key this is, by its hash; null for an unknown or disabled one. */
    holderOfHash,

    /** Whose key this is; its use is stamped. */
    async holderOf(key: string): Promise<KeyHolder | null> {
      const holder = await holderOfHash(secretHash(key))
      if (holder?.apiKeyId != null) stamp(holder.apiKeyId)
      return holder
    },

    list: keys.list,

    /** Returns the only copy of the key. Throws `conflict` when the name is taken. */
    async create({ name, role, principal = name }: NewKey, actor: Actor): Promise<{ row: ApiKey; key: string }> {
      const key = newSecret(keyPrefix)
      const row = await db.transaction(async (tx) => {
        const inserted = await keys.insert(tx, {
          id: newId("key-"),
          name,
          hash: secretHash(key),
          principal,
          role,
          createdAt: clock.now(),
          lastUsedAt: null,
          disabledAt: null,
        })
        if (inserted === null) throw new AppError("conflict", `an API key with the name ${name} exists already`)
        await audit.append(tx, {
          action: "key_created",
          actor,
          resourceType: "api_key",
          resourceId: inserted.id,
          details: { label: name, principal, role },
        })
        return inserted
      })
      await onCreated?.()
      return { row, key }
    },

    /** The former key and the sessions it opened end at once. */
    async rotate(id: string, actor: Actor): Promise<{ row: ApiKey; key: string }> {
      const former = await get(id)
      if (!canMove(stateOf(former), "active")) throw new AppError("invalid_state", `API key ${id} is disabled`)
      const key = newSecret(keyPrefix)
      const row = await db.transaction(async (tx) => {
        const changed = await keys.replaceHash(tx, id, former.hash, secretHash(key))
        if (changed === null) throw new AppError("conflict", `API key ${id} was changed by somebody else`)
        await sessions.deleteOfKey(tx, former.hash)
        await audit.append(tx, {
          action: "key_rotated",
          actor,
          resourceType: "api_key",
          resourceId: id,
          details: { label: former.name, principal: former.principal },
        })
        return changed
      })
      return { row, key }
    },

    /** Refused from now on, on every server, and its sessions end. Disabling it again changes nothing. */
    async disable(id: string, actor: Actor): Promise<void> {
      if (!canMove(stateOf(await get(id)), "disabled")) return
      await db.transaction(async (tx) => {
        const key = await keys.disable(tx, id, clock.now())
        if (key === null) return
        await sessions.deleteOfKey(tx, key.hash)
        await audit.append(tx, {
          action: "key_disabled",
          actor,
          resourceType: "api_key",
          resourceId: id,
          details: { label: key.name, principal: key.principal },
        })
      })
    },

    /** Waits for stamps under way. */
    async close(): Promise<void> {
      await Promise.all(stamping)
    },
  }
}

export type ApiKeyService = ReturnType<typeof apiKeyService>
