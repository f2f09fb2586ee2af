/**
 * Who hears of what happens to certificates, in the transaction in which it happens: policies judge them anew, owners are
 * told. The services of this feature only say what happened.
 */
import type { Query, Tx } from "../db/db"
import type { CertificateRow, CertificateStore } from "./certificate.store"

type Policy = NonNullable<Awaited<ReturnType<CertificateStore["rules"]>>["policy"]>

export interface CertificateNews {
  /** Created, changed or archived; as it is now. */
  changed(tx: Tx, certificate: CertificateRow): Promise<void>
  /** A version of each was stored, and status and dates follow from it already. */
  issued(tx: Tx, ...certificates: readonly CertificateRow[]): Promise<void>
  /** Its current versions were revoked. */
  revoked(tx: Tx, certificateId: string, facts: { readonly reason: string; readonly actor: string }): Promise<void>
  /** Ids of those about which `checked` would have something to say. */
  unsaid(
    query: Query | Tx,
    looked: readonly { readonly certificate: CertificateRow; readonly policy: Policy | null }[],
  ): Promise<ReadonlySet<string>>
  /** The renewal check has looked at it; `policy` is null where its renewal policy is gone. */
  checked(tx: Tx, certificate: CertificateRow, policy: Policy | null): Promise<void>
}

/** Where nobody listens. */
export const noNews: CertificateNews = {
  changed: async () => {},
  issued: async () => {},
  revoked: async () => {},
  unsaid: async () => new Set(),
  checked: async () => {},
}
