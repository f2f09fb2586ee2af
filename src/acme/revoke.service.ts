/** Revocation by the account that ordered, by whoever holds the certificate's key, or by whoever has proven all its names (RFC 8555 section 7.6). */
import type { RevocationService } from "../certificates/revocation.service"
import type { VersionStore } from "../certificates/version.store"
import type { Clock } from "../clock"
import { AppError } from "../errors"
import { type CertificateFacts, parseCertificate } from "../pki/certificate"
import { parseInput } from "../server/validation"
import type { AccountRow, AccountStore } from "./account.store"
import { acmeProblem } from "./acme.problem"
import { RevocationPayload } from "./acme.schema"
import { acmeActor } from "./acme-actor"
import type { Door } from "./door"
import type { PublicJwk } from "./jwk"
import { decodeBase64url } from "./jws"
import type { OrderStore } from "./order.store"

interface Deps {
  orders: Pick<OrderStore, "ofVersion" | "provenNames">
  accounts: Pick<AccountStore, "get">
  versions: Pick<VersionStore, "byFingerprint">
  revocations: Pick<RevocationService, "revokeVersion">
  clock: Clock
}

interface Request {
  readonly account: AccountRow | null
  readonly jwk: PublicJwk | null
  readonly payload: Readonly<Record<string, unknown>> | null
}

/** RFC 5280 section 5.3.1, those that a subscriber may give. */
const reasons: Readonly<Record<number, Parameters<RevocationService["revokeVersion"]>[1]["reason"]>> = {
  0: "unspecified",
  1: "keyCompromise",
  3: "affiliationChanged",
  4: "superseded",
  5: "cessationOfOperation",
}

const readCertificate = (text: string): CertificateFacts => {
  try {
    return parseCertificate(decodeBase64url(text, "certificate"))
  } catch (error) {
    if (error instanceof AppError) throw acmeProblem("malformed", error.message, { cause: error })
    throw error
  }
}

export const revokeService = ({ orders, accounts, versions, revocations, clock }: Deps) => {
  const mayRevoke = async (account: AccountRow, orderedBy: string, { sans }: CertificateFacts): Promise<boolean> => {
    if (account.id === orderedBy) return true
    const proven = new Set(await orders.provenNames(account.id, clock.now()))
    return sans.length > 0 && sans.every(({ value }) => proven.has(value.toLowerCase()))
  }

  return {
    /** @throws AppError `malformed`, `unauthorized`, `badRevocationReason`, `alreadyRevoked` */
    async revoke(door: Door, { account, jwk, payload }: Request): Promise<void> {
      const asked = await parseInput(RevocationPayload, payload ?? {}, "payload")
      const certificate = readCertificate(asked.certificate)
      const reason = asked.reason === undefined ? "unspecified" : reasons[Number(asked.reason)]
      if (reason === undefined || (asked.reason !== undefined && typeof asked.reason !== "number")) {
        throw acmeProblem("badRevocationReason", `reason must be one of ${Object.keys(reasons).join(", ")}`)
      }
      const version = await versions.byFingerprint(certificate.fingerprint)
      const order = version === null ? null : await orders.ofVersion(version.id)
      const owner = order === null ? null : await accounts.get(order.accountId)
      if (version === null || owner === null || owner.profileId !== door.profile.id) {
        throw acmeProblem("malformed", "the certificate was not issued here", { code: "not_found" })
      }
      const isAllowed =
        account === null
          ? jwk?.spkiDer.equals(certificate.spkiDer) === true
          : await mayRevoke(account, owner.id, certificate)
      if (!isAllowed) throw acmeProblem("unauthorized", "neither the account nor the key may revoke this certificate")
      const actor = acmeActor(account?.id ?? owner.id)
      if (!(await revocations.revokeVersion(version, { reason, actor }))) {
        throw acmeProblem("alreadyRevoked", "the certificate is revoked already")
      }
    },
  }
}

export type RevokeService = ReturnType<typeof revokeService>
