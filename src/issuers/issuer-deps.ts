/** What issuer connectors are given to work with. */
import type { Clock } from "../clock"
import type { IssuerDeps } from "../connectors/issuers/contract"
import type { Authority } from "../pki/authority"
import { openAuthorityFiles } from "./authority-files"
import type { HeldAuthorityService } from "./held-authority.service"

interface Deps {
  fetch: typeof globalThis.fetch
  clock: Clock
  heldAuthorities: HeldAuthorityService
  /** The CA that signs for an issuer in tree mode; null for the others. */
  treeAuthority: (issuerId: string) => Promise<Authority | null>
  /** Opens an encrypted key file of a subordinate CA. */
  caKeyPassphrase: string | null
  backdateMs: number
  /** Base of the addresses written into certificates; null writes none. */
  pkiUrl: string | null
}

/** What is published of an issuer's CAs; `pkiUrl` null: nothing. */
export const publicUrlsOf =
  (pkiUrl: string | null, issuerId: string): IssuerDeps["publicUrls"] =>
  ({ keyId }) => {
    if (pkiUrl === null) return { crl: [], ocsp: [], caCertificate: [] }
    const base = `${pkiUrl}/.well-known/pki`
    const id = encodeURIComponent(issuerId)
    // The key identifier keeps a certificate's address right after the issuer has moved on to another CA key.
    const ca = `ca=${keyId.toString("hex")}`
    return {
      crl: [`${base}/crl/${id}?${ca}`],
      ocsp: [`${base}/ocsp/${id}`],
      caCertificate: [`${base}/ca/${id}?${ca}`],
    }
  }

export type IssuerDepsFor = (issuerId: string) => IssuerDeps

export const issuerDepsFor = ({
  fetch,
  clock,
  heldAuthorities,
  treeAuthority,
  caKeyPassphrase,
  backdateMs,
  pkiUrl,
}: Deps): IssuerDepsFor => {
  /** Issuances that come together ask once. */
  const asked = new Map<string, Promise<Authority | null>>()
  const treeOf = (issuerId: string): Promise<Authority | null> => {
    const running = asked.get(issuerId) ?? treeAuthority(issuerId).finally(() => asked.delete(issuerId))
    asked.set(issuerId, running)
    return running
  }
  return (issuerId) => ({
    fetch,
    clock,
    backdateMs,
    heldAuthority: async (options) => (await treeOf(issuerId)) ?? (await heldAuthorities.open(issuerId, options)),
    heldAuthorities: async (options) => heldAuthorities.openAll(issuerId, options, await treeOf(issuerId)),
    authorityFromFiles: (paths) => openAuthorityFiles({ ...paths, passphrase: caKeyPassphrase }),
    publicUrls: publicUrlsOf(pkiUrl, issuerId),
  })
}
