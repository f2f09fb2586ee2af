/** Orders (RFC 8555 section 7.4): which names an account wants a certificate for, and what becomes of that. */
import { randomBytes } from "node:crypto"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { AcmeIdentifier, challengeTypes } from "../db/tables/acme.tables"
import { parseInput } from "../server/validation"
import type { AccountRow, AccountStore } from "./account.store"
import { acmeProblem, storedProblem } from "./acme.problem"
import { AuthorizationPayload, NewOrderPayload } from "./acme.schema"
import { acmeActor } from "./acme-actor"
import { type Door, demandIssuing } from "./door"
import { readIdentifiers } from "./identifiers"
import type { AuthorizationRow, ChallengeRow, OrderRow, OrderStore } from "./order.store"
import type { RenewalInfoService } from "./renewal-info.service"
import type { VerifiedAccount } from "./request.service"

interface Deps {
  db: Pick<Db, "transaction">
  orders: OrderStore
  accounts: Pick<AccountStore, "lockValid">
  renewalInfo: Pick<RenewalInfoService, "find">
  audit: Pick<AuditService, "append">
  clock: Clock
  settings: {
    readonly orderTtlMs: number
    readonly authorizationTtlMs: number
    readonly limits: { readonly ordersPerHour: number; readonly openOrders: number }
  }
}

export interface OrderWithParts {
  readonly order: OrderRow
  readonly authorizations: readonly AuthorizationRow[]
}

export interface AuthorizationWithParts {
  readonly authorization: AuthorizationRow
  readonly challenges: readonly ChallengeRow[]
}

type ChallengeType = (typeof challengeTypes)[number]

const hourMs = 3_600_000

/** RFC 8555 section 8.4 and RFC 8737 section 3: a whole zone is proven in DNS only. */
const offered = (isWildcard: boolean): readonly ChallengeType[] =>
  isWildcard ? ["dns-01"] : ["http-01", "dns-01", "tls-alpn-01"]

const limited = (detail: string, seconds: number) =>
  acmeProblem("rateLimited", detail, { headers: { "retry-after": String(Math.max(1, seconds)) } })

export const orderService = (deps: Deps) => {
  const { db, orders, accounts, renewalInfo, audit, clock, settings } = deps

  const partsOf = (door: Door, orderId: string, identifier: AcmeIdentifier, now: Date): AuthorizationWithParts => {
    const wildcard = identifier.value.startsWith("*.")
    const isTrusted = door.mode === "trust_authenticated"
    const authorization: AuthorizationRow = {
      id: newId("acme-authz-"),
      orderId,
      identifier: { type: "dns", value: wildcard ? identifier.value.slice(2) : identifier.value },
      status: isTrusted ? "valid" : "pending",
      expiresAt: new Date(now.getTime() + settings.authorizationTtlMs),
      wildcard,
      createdAt: now,
      updatedAt: now,
    }
    const challenges = (isTrusted ? [] : offered(wildcard)).map(
      (type): ChallengeRow => ({
        id: newId("acme-chall-"),
        authorizationId: authorization.id,
        type,
        status: "pending",
        // RFC 8555 section 8: at least 128 bits, base64url.
        token: randomBytes(32).toString("base64url"),
        validatedAt: null,
        error: null,
        claimedUntil: null,
        createdAt: now,
      }),
    )
    return { authorization, challenges }
  }

  /** RFC 9773 section 5: of this account, for one of these names at least. Resolves with the version's id. */
  const demandReplaceable = async (
    door: Door,
    account: AccountRow,
    certId: string,
    identifiers: readonly AcmeIdentifier[],
  ): Promise<string> => {
    const found = await renewalInfo.find(door, certId)
    if (found === null || found.order.accountId !== account.id) {
      throw acmeProblem("malformed", "replaces names no certificate of this account")
    }
    const names = new Set(found.order.identifiers.map(({ value }) => value))
    if (!identifiers.some(({ value }) => names.has(value))) {
      throw acmeProblem("malformed", "replaces names a certificate for other names")
    }
    return found.version.id
  }

  const own = async (account: AccountRow, id: string): Promise<OrderRow> => {
    const order = await orders.get(id)
    if (order === null) throw acmeProblem("malformed", "there is no such order", { code: "not_found" })
    if (order.accountId !== account.id) throw acmeProblem("unauthorized", "the order is another account's")
    return order
  }

  return {
    /** @throws AppError `rateLimited`, `rejectedIdentifier`, `unsupportedIdentifier`, `alreadyReplaced`, `malformed` */
    async create(door: Door, { account, payload }: VerifiedAccount): Promise<OrderWithParts> {
      demandIssuing(door)
      const asked = await parseInput(NewOrderPayload, payload ?? {}, "payload")
      if (asked.notBefore !== undefined || asked.notAfter !== undefined) {
        throw acmeProblem(
          "malformed",
          "notBefore and notAfter are not supported: the profile says how long certificates live",
        )
      }
      const identifiers = readIdentifiers(asked.identifiers, door.profile.requiredSanPatterns)
      const replacesId =
        asked.replaces === undefined ? null : await demandReplaceable(door, account, asked.replaces, identifiers)
      const { ordersPerHour, openOrders } = settings.limits
      return db.transaction(async (tx) => {
        const now = clock.now()
        if (!(await accounts.lockValid(tx, account.id, now)))
          throw acmeProblem("unauthorized", "the account is not valid any more")
        const usage = await orders.usage(tx, account.id, new Date(now.getTime() - hourMs), now)
        if (ordersPerHour > 0 && usage.made >= ordersPerHour) {
          const wait = Math.ceil(((usage.firstMadeAt ?? now).getTime() + hourMs - now.getTime()) / 1000)
          throw limited(`more than ${ordersPerHour} orders within an hour`, wait)
        }
        if (openOrders > 0 && usage.open >= openOrders) {
          throw limited(`more than ${openOrders} orders are open: finish them or let them expire`, 60)
        }
        const id = newId("acme-ord-")
        const order: OrderRow = {
          id,
          accountId: account.id,
          identifiers,
          status: door.mode === "trust_authenticated" ? "ready" : "pending",
          expiresAt: new Date(now.getTime() + settings.orderTtlMs),
          error: null,
          csrPem: null,
          certificateId: null,
          versionId: null,
          replacesId,
          createdAt: now,
          updatedAt: now,
        }
        const parts = identifiers.map((identifier) => partsOf(door, id, identifier, now))
        if (!(await orders.insert(tx, order, parts))) {
          throw acmeProblem("alreadyReplaced", "another order replaces this certificate already")
        }
        await audit.append(tx, {
          actor: acmeActor(account.id),
          action: "acme_order_created",
          resourceType: "acme_order",
          resourceId: id,
          details: { identifiers: identifiers.map(({ value }) => value), profile_id: door.profile.id, mode: door.mode },
        })
        return { order, authorizations: parts.map(({ authorization }) => authorization) }
      })
    },

    /** @throws AppError `malformed` (404) there is none, `unauthorized` it is another account's */
    own,

    async withParts(order: OrderRow): Promise<OrderWithParts> {
      return { order, authorizations: await orders.authorizationsOf(order.id) }
    },

    /** Reads an authorization, or gives it up where the payload says so (RFC 8555 section 7.5.2). */
    async authorization({ account, payload }: VerifiedAccount, id: string): Promise<AuthorizationWithParts> {
      const found = await orders.authorization(id)
      if (found === null) throw acmeProblem("malformed", "there is no such authorization", { code: "not_found" })
      if (found.order.accountId !== account.id)
        throw acmeProblem("unauthorized", "the authorization is another account's")
      const challenges = await orders.challengesOf(id)
      const { status } = await parseInput(AuthorizationPayload, payload ?? {}, "payload")
      if (status === undefined) return { authorization: found.authorization, challenges }
      if (status !== "deactivated") throw acmeProblem("malformed", "status may only become deactivated")
      const updatedAt = clock.now()
      await db.transaction(async (tx) => {
        await orders.lock(tx, found.order.id, updatedAt)
        if (!(await orders.moveAuthorization(tx, id, "deactivated", updatedAt))) {
          throw acmeProblem("malformed", `the authorization is ${found.authorization.status}`)
        }
        const error = storedProblem("unauthorized", "an authorization was deactivated")
        const order = await orders.get(found.order.id, tx)
        if (order?.status === "pending" || order?.status === "ready") {
          await orders.move(tx, order.id, "invalid", { error, updatedAt })
        }
      })
      return { authorization: { ...found.authorization, status: "deactivated" }, challenges }
    },
  }
}

export type OrderService = ReturnType<typeof orderService>
