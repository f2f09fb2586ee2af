/** The roots of an issuer that certctl keeps itself: which there are, and their roll-over. */
import type { Actor } from "../access/actor"
import type { Clock } from "../clock"
import { AppError } from "../errors"
import type { Authority } from "../pki/authority"
import { type CertificateFacts, parseCertificate } from "../pki/certificate"
import type { KeyType } from "../pki/keys"
import type { CaKeyRow, CaKeyStore } from "./ca-key.store"
import type { HeldAuthorityService } from "./held-authority.service"
import type { IssuerService } from "./issuer.service"

interface Deps {
  caKeys: Pick<CaKeyStore, "rootsOf">
  issuers: Pick<IssuerService, "get" | "connectorFor">
  heldAuthorities: Pick<HeldAuthorityService, "rollOver" | "retire">
  /** Where the server publishes what a CA of the issuer has revoked; empty when nowhere. */
  crlUrls: (issuerId: string, authority: Authority) => readonly string[]
  clock: Clock
}

/** `active` signs; a `former` one still leads its clients to the active one; a `retired` one only tells of revocations. */
export type RootState = "active" | "former" | "retired"

export interface Root {
  readonly ski: string
  readonly state: RootState
  readonly facts: CertificateFacts
  /** Its key certified by the one before it, and the reverse; null for the first. */
  readonly newWithOldPem: string | null
  readonly oldWithNewPem: string | null
  readonly createdAt: Date
}

export const rootService = ({ caKeys, issuers, heldAuthorities, crlUrls, clock }: Deps) => {
  const list = async (issuerId: string): Promise<Root[]> => {
    await issuers.get(issuerId)
    const rows = await caKeys.rootsOf(issuerId)
    const now = clock.now()
    const leadsOn = ({ ski }: CaKeyRow): boolean =>
      rows.some(({ formerSki, bridgedUntil }) => formerSki === ski && bridgedUntil !== null && bridgedUntil > now)
    return rows.map((row) => ({
      ski: row.ski,
      state: row.state === "active" ? "active" : leadsOn(row) ? "former" : "retired",
      facts: parseCertificate(row.certPem),
      newWithOldPem: row.newWithOldPem,
      oldWithNewPem: row.oldWithNewPem,
      createdAt: row.createdAt,
    }))
  }

  return {
    /** Newest first; empty where others sign, and before the first certificate. Fails with `not_found`. */
    list,

    /**
     * A new root takes over; resolves with all of them. `keyType` null: what new roots have on this server.
     * @throws AppError `not_found`; `not_supported` its CA is not a root that is kept here; `conflict`
     */
    async rollOver(issuerId: string, keyType: KeyType | null, actor: Actor): Promise<Root[]> {
      const { hierarchyMode } = await issuers.get(issuerId)
      const { heldRoot } = (await issuers.connectorFor(issuerId)).connector
      if (heldRoot === undefined || hierarchyMode === "tree") {
        throw new AppError("not_supported", `issuer ${issuerId} does not sign with a root that is kept here`)
      }
      const published = heldRoot.crlUrls
      await heldAuthorities.rollOver(
        issuerId,
        { keyType: keyType ?? undefined, crlUrls: (authority) => published ?? crlUrls(issuerId, authority) },
        actor,
      )
      return list(issuerId)
    },

    /** No client is left that trusts only this former root. Fails with `not_found`, `conflict`. */
    async retire(issuerId: string, ski: string, actor: Actor): Promise<Root[]> {
      await issuers.get(issuerId)
      await heldAuthorities.retire(issuerId, ski.toLowerCase(), actor)
      return list(issuerId)
    },
  }
}

export type RootService = ReturnType<typeof rootService>
