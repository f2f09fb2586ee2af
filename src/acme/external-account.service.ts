/**
 * External account binding (RFC 8555 section 7.3.4): keys that an administrator hands out, each good for one account. What they
 * know of the holder, such as the owner of its certificates, goes to the account.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { Actor } from "../access/actor"
import { actorName } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { Sealer } from "../secrets/sealing"
import type { AccountStore, ExternalAccountRow } from "./account.store"
import { acmeProblem } from "./acme.problem"
import type { Door } from "./door"
import { type PublicJwk, readJwk } from "./jwk"
import { readJwsParts, readPayload } from "./jws"

const digests: Readonly<Record<string, string>> = { HS256: "sha256", HS384: "sha384", HS512: "sha512" }

interface Deps {
  db: Pick<Db, "transaction">
  accounts: AccountStore
  sealer: Pick<Sealer, "seal" | "unseal">
  audit: Pick<AuditService, "append">
  clock: Clock
}

interface NewExternalAccount {
  readonly profileId: string
  readonly ownerId: string | null
  /** null: until somebody deletes it. */
  readonly ttlSeconds: number | null
}

export type ExternalAccount = Omit<ExternalAccountRow, "encryptedKey">

const refuse = () => acmeProblem("unauthorized", "the external account binding is not valid")

export const externalAccountService = ({ db, accounts, sealer, audit, clock }: Deps) => {
  const event = (action: string, actor: Actor, { id, profileId }: Pick<ExternalAccountRow, "id" | "profileId">) => ({
    action,
    actor,
    resourceType: "acme_account",
    resourceId: id,
    details: { profile_id: profileId },
  })

  return {
    /** `key`: base64url, told only now. */
    async create(asked: NewExternalAccount, actor: Actor): Promise<ExternalAccount & { key: string }> {
      const secret = randomBytes(32)
      const now = clock.now()
      const row: ExternalAccountRow = {
        id: newId("acme-eab-"),
        profileId: asked.profileId,
        ownerId: asked.ownerId,
        encryptedKey: sealer.seal(secret),
        createdBy: actorName(actor),
        createdAt: now,
        expiresAt: asked.ttlSeconds === null ? null : new Date(now.getTime() + asked.ttlSeconds * 1000),
        accountId: null,
        boundAt: null,
      }
      await explainRefusals(
        { reference: () => new AppError("bad_reference", "profile_id or owner_id does not exist") },
        () =>
          db.transaction(async (tx) => {
            await accounts.insertExternal(tx, row)
            await audit.append(tx, event("acme_external_account_created", actor, row))
          }),
      )
      return { ...row, key: secret.toString("base64url") }
    },

    /** Newest first, at most 500. */
    list: (): Promise<ExternalAccount[]> => accounts.listExternals(),

    /** The account that was opened with it goes on. Fails with `not_found`. */
    async remove(id: string, actor: Actor): Promise<void> {
      const row = await accounts.external(id)
      await db.transaction(async (tx) => {
        if (row === null || !(await accounts.removeExternal(tx, id))) {
          throw new AppError("not_found", `external account ${id} does not exist`)
        }
        await audit.append(tx, event("acme_external_account_deleted", actor, row))
      })
    },

    /**
     * The key behind a binding, if it was made with it for this account key and this URL.
     * @throws AppError `malformed`, `unauthorized`
     */
    async verify(
      door: Door,
      binding: Readonly<Record<string, unknown>>,
      { jwk, url }: { jwk: PublicJwk; url: string },
    ): Promise<ExternalAccountRow> {
      const jws = readJwsParts(binding, { nonce: "absent", algorithms: Object.keys(digests) })
      if (jws.kid === null) throw acmeProblem("malformed", "the external account binding must have a kid")
      if (jws.url !== url)
        throw acmeProblem("malformed", "the external account binding must have the url of the request")
      const row = await accounts.external(jws.kid)
      // A key for nobody costs as much as a wrong one.
      const key = row === null ? randomBytes(32) : await sealer.unseal(row.encryptedKey, `external account ${row.id}`)
      const made = createHmac(digests[jws.algorithm] ?? "sha256", key)
        .update(jws.signed)
        .digest()
      const isMade = made.length === jws.signature.length && timingSafeEqual(made, jws.signature)
      if (row === null || !isMade || row.profileId !== door.profile.id) throw refuse()
      if (readJwk(readPayload(jws.payload)).thumbprint !== jwk.thumbprint) {
        throw acmeProblem("malformed", "the external account binding is for another key")
      }
      return row
    },
  }
}

export type ExternalAccountService = ReturnType<typeof externalAccountService>
