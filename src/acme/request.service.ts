/** Who signed a request, and what it says (RFC 8555 section 6). */

import type { AccountRow, AccountStore } from "./account.store"
import { acmeProblem } from "./acme.problem"
import type { Door, Doors } from "./door"
import { isSignedBy, type PublicJwk, readJwk, readStoredKey } from "./jwk"
import { readJws, readPayload } from "./jws"
import type { NonceService } from "./nonce.service"

export interface SignedRequest {
  /** As the client was told to ask for, without query. */
  readonly url: string
  readonly contentType: string | undefined
  readonly body: string
}

export interface Verified {
  /** null: an empty payload, which only reads. */
  readonly payload: Readonly<Record<string, unknown>> | null
  readonly url: string
}

export type VerifiedAccount = Verified & { readonly account: AccountRow }
export type VerifiedKey = Verified & { readonly jwk: PublicJwk }

interface Deps {
  accounts: Pick<AccountStore, "get">
  nonces: Pick<NonceService, "spend">
  doors: Pick<Doors, "accountIdIn">
}

const mediaType = (contentType: string | undefined): string =>
  (contentType ?? "").split(";")[0]?.trim().toLowerCase() ?? ""

export const requestService = ({ accounts, nonces, doors }: Deps) => {
  const accountOf = async (kid: string, door: Door): Promise<AccountRow> => {
    const id = doors.accountIdIn(kid, door)
    const account = id === null ? null : await accounts.get(id)
    if (account === null || account.profileId !== door.profile.id) {
      throw acmeProblem("accountDoesNotExist", "kid is no account of this directory")
    }
    if (account.status !== "valid") throw acmeProblem("unauthorized", `the account is ${account.status}`)
    return account
  }

  const verify = async (door: Door, { url, contentType, body }: SignedRequest, by: "account" | "key" | "either") => {
    if (mediaType(contentType) !== "application/jose+json") {
      throw acmeProblem("malformed", "the content type must be application/jose+json", {
        code: "unsupported_media_type",
      })
    }
    const jws = readJws(body, { nonce: "required" })
    if (jws.url !== url) throw acmeProblem("unauthorized", "the url of the signature is not the one that was asked")
    if (by === "account" && jws.kid === null) throw acmeProblem("malformed", "this request must be signed with kid")
    if (by === "key" && jws.kid !== null) throw acmeProblem("malformed", "this request must be signed with jwk")
    const account = jws.kid === null ? null : await accountOf(jws.kid, door)
    const jwk = account === null ? readJwk(jws.jwk) : null
    const key = jwk?.key ?? readStoredKey(account?.jwkPem ?? "")
    if (!isSignedBy(key, jws.algorithm, jws.signed, jws.signature)) {
      throw acmeProblem("malformed", "the signature is not valid")
    }
    // Last, so that nobody but the signer can use a client's nonce up.
    if (!(await nonces.spend(jws.nonce))) {
      throw acmeProblem(
        "badNonce",
        "the nonce was not given here, was used before or has expired; a fresh one is in Replay-Nonce",
      )
    }
    return { account, jwk, payload: readPayload(jws.payload), url }
  }

  return {
    /** @throws AppError the problems of RFC 8555 section 6 */
    async byAccount(door: Door, request: SignedRequest): Promise<VerifiedAccount> {
      const { account, payload, url } = await verify(door, request, "account")
      if (account === null) throw acmeProblem("malformed", "this request must be signed with kid")
      return { account, payload, url }
    },

    async byKey(door: Door, request: SignedRequest): Promise<VerifiedKey> {
      const { jwk, payload, url } = await verify(door, request, "key")
      if (jwk === null) throw acmeProblem("malformed", "this request must be signed with jwk")
      return { jwk, payload, url }
    },

    /** Exactly one of account and key is there. */
    byEither: (door: Door, request: SignedRequest) => verify(door, request, "either"),
  }
}

export type RequestService = ReturnType<typeof requestService>
