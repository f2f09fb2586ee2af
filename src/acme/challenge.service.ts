/**
 * Challenges (RFC 8555 section 7.5.1). A client says that its proof is in place; the server looks in the background, a bounded
 * number at a time. Where a server dies meanwhile, another one takes the challenge over.
 */
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import type { challengeTypes, StoredProblem } from "../db/tables/acme.tables"
import { type SlidingLimit, slidingLimit } from "../enrolment/sliding-limit"
import type { AccountStore } from "./account.store"
import { acmeProblem, storedProblem } from "./acme.problem"
import { acmeActor } from "./acme-actor"
import { type ChallengeContext, nameOf, type OrderStore } from "./order.store"
import type { VerifiedAccount } from "./request.service"
import { bounded, keyAuthorizationOf, type Validator, validationProblem } from "./validation"

export type ChallengeType = (typeof challengeTypes)[number]

interface Deps {
  db: Pick<Db, "transaction">
  orders: OrderStore
  accounts: Pick<AccountStore, "get">
  /** With how many may run at once. */
  validators: Readonly<Record<ChallengeType, { readonly validate: Validator; readonly atOnce: number }>>
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Per challenge; 0: no limit. */
  responsesPerHour: number
  onOutcome: (type: ChallengeType, result: "valid" | "invalid") => void
  onError: (challengeId: string, error: unknown) => void
}

const hourMs = 3_600_000
const validationMs = 30_000
/** Longer than a validation takes, and long enough for some to wait in front of it. */
const claimMs = 120_000
const mostAbandoned = 100

export const challengeService = (deps: Deps) => {
  const { db, orders, accounts, validators, audit, clock, responsesPerHour, onOutcome, onError } = deps
  const responses: SlidingLimit | null =
    responsesPerHour === 0 ? null : slidingLimit(clock, { most: responsesPerHour, windowMs: hourMs })
  const lanes = Object.fromEntries(
    Object.entries(validators).map(([type, { atOnce }]) => [type, bounded(atOnce)]),
  ) as Record<ChallengeType, ReturnType<typeof bounded>>
  const inHand = new Map<string, Promise<void>>()

  const event = ({ challenge, authorization, order }: ChallengeContext, what: string, details: object = {}) => ({
    actor: acmeActor(order.accountId),
    action: `acme_challenge_${what}`,
    resourceType: "acme_order",
    resourceId: order.id,
    details: { challenge_id: challenge.id, type: challenge.type, identifier: nameOf(authorization), ...details },
  })

  const settleOrder = async (tx: Tx, { order }: ChallengeContext, error: StoredProblem | null, now: Date) => {
    const current = await orders.get(order.id, tx)
    if (current?.status !== "pending") return
    if (error !== null) await orders.move(tx, order.id, "invalid", { error, updatedAt: now })
    else if ((await orders.authorizationsOf(order.id, tx)).every(({ status }) => status === "valid")) {
      await orders.move(tx, order.id, "ready", { updatedAt: now })
    }
  }

  /** Writes what a look has found. Of two servers that looked, the first one counts. */
  const settle = async (context: ChallengeContext, error: StoredProblem | null): Promise<void> => {
    const { challenge, authorization, order } = context
    const result = error === null ? "valid" : "invalid"
    const isSettled = await db.transaction(async (tx) => {
      const now = clock.now()
      // Held first: two authorizations of one order that become valid at one moment must see each other.
      await orders.lock(tx, order.id, now)
      const change = error === null ? { validatedAt: now } : { error }
      if (!(await orders.moveChallenge(tx, challenge.id, result, { ...change, claimedUntil: null }))) return false
      // Given up or expired meanwhile: the proof changes nothing.
      if (await orders.moveAuthorization(tx, authorization.id, result, now)) await settleOrder(tx, context, error, now)
      await audit.append(tx, event(context, result, error === null ? {} : { reason: error.detail }))
      return true
    })
    if (isSettled) onOutcome(challenge.type, result)
  }

  const validate = async (id: string): Promise<void> => {
    const context = await orders.challenge(id)
    if (context === null || context.challenge.status !== "processing") return
    const { challenge, authorization, order } = context
    const account = await accounts.get(order.accountId)
    if (account === null) return
    if (account.status !== "valid") {
      await settle(context, storedProblem("unauthorized", `the account is ${account.status}`))
      return
    }
    try {
      await validators[challenge.type].validate({
        name: authorization.identifier.value,
        token: challenge.token,
        keyAuthorization: keyAuthorizationOf(challenge.token, account.jwkThumbprint),
        signal: AbortSignal.timeout(validationMs),
      })
    } catch (error) {
      await settle(context, validationProblem(error))
      return
    }
    await settle(context, null)
  }

  /** Does not wait for the outcome. */
  const start = (id: string, type: ChallengeType): void => {
    if (inHand.has(id)) return
    const work = lanes[type](() => validate(id))
      .catch((error: unknown) => onError(id, error))
      .finally(() => inHand.delete(id))
    inHand.set(id, work)
  }

  const respond = async (context: ChallengeContext): Promise<void> => {
    const { challenge, authorization, order } = context
    const now = clock.now()
    if (authorization.expiresAt <= now) throw acmeProblem("malformed", "the authorization has expired")
    const wait = responses?.waitSeconds(challenge.id) ?? 0
    if (wait > 0) {
      throw acmeProblem("rateLimited", "the challenge was answered too often", {
        headers: { "retry-after": String(wait) },
      })
    }
    responses?.add(challenge.id)
    const isMoved = await db.transaction(async (tx) => {
      await orders.lock(tx, order.id, now)
      const claimedUntil = new Date(now.getTime() + claimMs)
      if (!(await orders.moveChallenge(tx, challenge.id, "processing", { claimedUntil }))) return false
      await audit.append(tx, event(context, "responded"))
      return true
    })
    if (isMoved) start(challenge.id, challenge.type)
  }

  const get = async (id: string): Promise<ChallengeContext> => {
    const context = await orders.challenge(id)
    if (context === null) throw acmeProblem("malformed", "there is no such challenge", { code: "not_found" })
    return context
  }

  return {
    /** Reads a challenge; any payload but an empty one says that the proof is in place. */
    async respond({ account, payload }: VerifiedAccount, id: string): Promise<ChallengeContext> {
      const context = await get(id)
      if (context.order.accountId !== account.id)
        throw acmeProblem("unauthorized", "the challenge is another account's")
      if (payload === null) return context
      // One that was answered already stays as it is, so that a client may repeat itself.
      if (context.challenge.status === "pending" && context.authorization.status === "pending") await respond(context)
      return get(id)
    },

    /** Takes over what a server left behind that died while it looked. */
    async resume(): Promise<void> {
      const now = clock.now()
      const until = new Date(now.getTime() + claimMs)
      const ids = await db.transaction((tx) => orders.claimAbandoned(tx, now, until, mostAbandoned))
      for (const id of ids) {
        const context = await orders.challenge(id)
        if (context !== null) start(id, context.challenge.type)
      }
    },

    /** Resolves when nothing is being validated here. */
    async idle(): Promise<void> {
      while (inHand.size > 0) await Promise.all(inHand.values())
    },
  }
}

export type ChallengeService = ReturnType<typeof challengeService>
