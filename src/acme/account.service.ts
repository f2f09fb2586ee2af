/** ACME accounts (RFC 8555 section 7.3): a key, and what its holder may do. */
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { explainRefusals } from "../db/refusals"
import { type SlidingLimit, slidingLimit } from "../enrolment/sliding-limit"
import { AppError } from "../errors"
import { typedSanProblem } from "../pki/names"
import { parseInput } from "../server/validation"
import type { AccountRow, AccountStore } from "./account.store"
import { acmeProblem, storedProblem } from "./acme.problem"
import { AccountPayload, KeyChangePayload, NewAccountPayload } from "./acme.schema"
import { acmeActor } from "./acme-actor"
import { type Door, type Doors, demandIssuing } from "./door"
import type { ExternalAccountService } from "./external-account.service"
import { isSignedBy, readJwk } from "./jwk"
import { readJwsParts, readPayload } from "./jws"
import type { OrderStore } from "./order.store"
import type { VerifiedAccount, VerifiedKey } from "./request.service"

interface Deps {
  db: Pick<Db, "transaction">
  accounts: AccountStore
  orders: Pick<OrderStore, "abandonAll">
  externals: Pick<ExternalAccountService, "verify">
  doors: Pick<Doors, "accountIdIn">
  audit: Pick<AuditService, "append">
  clock: Clock
  settings: {
    readonly termsOfServiceUrl: string | null
    readonly externalAccountRequired: boolean
    readonly limits: { readonly keyChangesPerHour: number }
  }
}

const hourMs = 3_600_000

/** RFC 8555 section 7.3: mail addresses at least, and of a mailto URL neither several nor header fields. */
const checkContact = (contact: readonly string[]): void => {
  for (const entry of contact) {
    const [, address] = /^mailto:(.*)$/i.exec(entry) ?? []
    if (address === undefined) throw acmeProblem("unsupportedContact", "contacts must be mailto: addresses")
    if (/[,?]/.test(address) || typedSanProblem({ type: "email", value: address }) !== null) {
      throw acmeProblem("invalidContact", "a contact must be mailto: with one mail address")
    }
  }
}

export const accountService = (deps: Deps) => {
  const { db, accounts, orders, externals, doors, audit, clock, settings } = deps
  const { keyChangesPerHour } = settings.limits
  const keyChanges: SlidingLimit | null =
    keyChangesPerHour === 0 ? null : slidingLimit(clock, { most: keyChangesPerHour, windowMs: hourMs })

  const event = (action: string, account: Pick<AccountRow, "id" | "profileId">, details: object = {}) => ({
    actor: acmeActor(account.id),
    action,
    resourceType: "acme_account",
    resourceId: account.id,
    details: { profile_id: account.profileId, ...details },
  })

  const existing = (account: AccountRow) => {
    // RFC 8555 section 7.3.6: a deactivated account's key opens nothing any more.
    if (account.status !== "valid") throw acmeProblem("unauthorized", `the account of this key is ${account.status}`)
    return { account, isNew: false }
  }

  const checkTerms = (agreed: boolean): void => {
    const { termsOfServiceUrl } = settings
    if (termsOfServiceUrl === null || agreed) return
    throw acmeProblem("userActionRequired", "the terms of service must be agreed to", {
      headers: { link: `<${termsOfServiceUrl}>;rel="terms-of-service"` },
    })
  }

  return {
    /** Opens an account for the key, or finds the one that it has. */
    async open(door: Door, { jwk, payload, url }: VerifiedKey): Promise<{ account: AccountRow; isNew: boolean }> {
      const asked = await parseInput(NewAccountPayload, payload ?? {}, "payload")
      const found = await accounts.byKey(door.profile.id, jwk.thumbprint)
      if (found !== null) return existing(found)
      if (asked.onlyReturnExisting) throw acmeProblem("accountDoesNotExist", "this key has no account here")
      demandIssuing(door)
      checkTerms(asked.termsOfServiceAgreed)
      const contact = asked.contact ?? []
      checkContact(contact)
      if (asked.externalAccountBinding === undefined && settings.externalAccountRequired) {
        throw acmeProblem(
          "externalAccountRequired",
          "an external account binding is needed: ask your administrator for its key",
        )
      }
      const external =
        asked.externalAccountBinding === undefined
          ? null
          : await externals.verify(door, asked.externalAccountBinding, { jwk, url })
      const now = clock.now()
      const row: AccountRow = {
        id: newId(`acme-acc-${jwk.thumbprint.replace(/[^A-Za-z0-9]/g, "").slice(0, 8)}-`),
        jwkThumbprint: jwk.thumbprint,
        jwkPem: jwk.pem,
        contact,
        status: "valid",
        profileId: door.profile.id,
        ownerId: external?.ownerId ?? null,
        createdAt: now,
        updatedAt: now,
      }
      return db.transaction(async (tx) => {
        const account = await accounts.insert(tx, row)
        if (account === null) {
          const winner = await accounts.byKey(door.profile.id, jwk.thumbprint, tx)
          if (winner === null) throw new AppError("conflict", "the account changed at this moment; try again")
          return existing(winner)
        }
        if (external !== null && !(await accounts.bindExternal(tx, external.id, account.id, now))) {
          throw acmeProblem("unauthorized", "the external account's key was used before or has expired")
        }
        await audit.append(
          tx,
          event("acme_account_created", account, external === null ? {} : { external_account_id: external.id }),
        )
        return { account, isNew: true }
      })
    },

    /** Reads, changes or deactivates the account that signed. */
    async update({ account, payload }: VerifiedAccount, id: string): Promise<AccountRow> {
      if (id !== account.id) throw acmeProblem("unauthorized", "this is another account's")
      if (payload === null) return account
      const { contact, status } = await parseInput(AccountPayload, payload, "payload")
      if (status !== undefined && status !== "valid" && status !== "deactivated") {
        throw acmeProblem("malformed", "status may only become deactivated")
      }
      if (contact !== undefined) checkContact(contact)
      if (status !== "deactivated" && contact === undefined) return account
      return db.transaction(async (tx) => {
        const now = clock.now()
        const changed =
          status === "deactivated"
            ? await accounts.setStatus(tx, id, "deactivated", now)
            : await accounts.setContact(tx, id, contact ?? [], now)
        if (changed === null) throw acmeProblem("unauthorized", "the account is not valid any more")
        if (status === "deactivated") {
          await orders.abandonAll(tx, id, storedProblem("unauthorized", "the account was deactivated"), now)
        }
        await audit.append(
          tx,
          event(status === "deactivated" ? "acme_account_deactivated" : "acme_account_updated", changed),
        )
        return changed
      })
    },

    /** Gives an account another key (RFC 8555 section 7.3.5): the old one signs the request, the new one what is in it. */
    async changeKey(door: Door, { account, payload, url }: VerifiedAccount): Promise<AccountRow> {
      const inner = readJwsParts(payload ?? {}, { nonce: "absent" })
      if (inner.kid !== null) throw acmeProblem("malformed", "the inner signature must have the new key as jwk")
      if (inner.url !== url) throw acmeProblem("malformed", "both signatures must have the same url")
      const next = readJwk(inner.jwk)
      if (!isSignedBy(next.key, inner.algorithm, inner.signed, inner.signature)) {
        throw acmeProblem("malformed", "the inner signature is not valid")
      }
      const { account: named, oldKey } = await parseInput(
        KeyChangePayload,
        readPayload(inner.payload) ?? {},
        "inner payload",
      )
      if (doors.accountIdIn(named, door) !== account.id) {
        throw acmeProblem("malformed", "the inner payload names another account")
      }
      if (readJwk(oldKey).thumbprint !== account.jwkThumbprint) {
        throw acmeProblem("malformed", "oldKey is not the account's key")
      }
      const wait = keyChanges?.waitSeconds(account.id) ?? 0
      if (wait > 0) {
        throw acmeProblem("rateLimited", "the account's key was changed too often", {
          headers: { "retry-after": String(wait) },
        })
      }
      const taken = async () => {
        const other = await accounts.byKey(door.profile.id, next.thumbprint)
        return acmeProblem("malformed", "the new key has an account already", {
          code: "conflict",
          headers: other === null ? {} : { location: `${door.base}/account/${other.id}` },
        })
      }
      if ((await accounts.byKey(door.profile.id, next.thumbprint)) !== null) throw await taken()
      keyChanges?.add(account.id)
      const changed = { jwkThumbprint: next.thumbprint, jwkPem: next.pem }
      await explainRefusals({ duplicate: () => new AppError("conflict", "the new key has an account already") }, () =>
        db.transaction(async (tx) => {
          if (!(await accounts.setKey(tx, account.id, account.jwkThumbprint, changed, clock.now()))) {
            throw new AppError("conflict", "the account changed at this moment")
          }
          await audit.append(
            tx,
            event("acme_account_key", account, { from: account.jwkThumbprint, to: next.thumbprint }),
          )
        }),
      )
      return { ...account, ...changed }
    },
  }
}

export type AccountService = ReturnType<typeof accountService>
