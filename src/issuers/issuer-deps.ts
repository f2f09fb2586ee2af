/** What issuer connectors are given to work with. */
import type { Clock } from "../clock"
import type { IssuerDeps } from "../connectors/issuers/contract"
import { openAuthorityFiles } from "./authority-files"
import type { HeldAuthorityService } from "./held-authority.service"

interface Deps {
  fetch: typeof globalThis.fetch
  clock: Clock
  heldAuthorities: HeldAuthorityService
  /** Opens an encrypted key file of a subordinate CA. */
  caKeyPassphrase: string | null
  backdateMs: number
  /** Base of the addresses written into certificates; null writes none. */
  pkiUrl: string | null
}

export type IssuerDepsFor = (issuerId: string) => IssuerDeps

export const issuerDepsFor =
  ({ fetch, clock, heldAuthorities, caKeyPassphrase, backdateMs, pkiUrl }: Deps): IssuerDepsFor =>
  (issuerId) => ({
    fetch,
    clock,
    backdateMs,
    heldAuthority: (options) => heldAuthorities.open(issuerId, options),
    authorityFromFiles: (paths) => openAuthorityFiles({ ...paths, passphrase: caKeyPassphrase }),
    publicUrls({ keyId }) {
      if (pkiUrl === null) return { crl: [], ocsp: [] }
      const base = `${pkiUrl}/.well-known/pki`
      const id = encodeURIComponent(issuerId)
      // The key identifier keeps a certificate's address right after the issuer has moved on to another CA key.
      return { crl: [`${base}/crl/${id}?ca=${keyId.toString("hex")}`], ocsp: [`${base}/ocsp/${id}`] }
    },
  })
