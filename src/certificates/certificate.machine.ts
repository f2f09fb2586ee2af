/** The states of a managed certificate and every move between them. What is not listed is illegal. */
import type { certificateStatuses } from "../db/tables/certificate.tables"

export type CertificateStatus = (typeof certificateStatuses)[number]

const moves: Readonly<Record<CertificateStatus, readonly CertificateStatus[]>> = {
  Pending: ["RenewalInProgress", "Active", "Expiring", "Expired", "Revoked", "Archived"],
  Active: ["RenewalInProgress", "Expiring", "Expired", "Revoked", "Archived"],
  Expiring: ["RenewalInProgress", "Active", "Expired", "Revoked", "Archived"],
  Expired: ["RenewalInProgress", "Active", "Expiring", "Revoked", "Archived"],
  // Failed: the run ended and nothing was ever issued.
  RenewalInProgress: ["Active", "Expiring", "Expired", "Failed", "Revoked", "Archived"],
  Failed: ["RenewalInProgress", "Active", "Expiring", "Expired", "Revoked", "Archived"],
  Revoked: ["Archived"],
  Archived: [],
}

export const canMove = (from: CertificateStatus, to: CertificateStatus): boolean => moves[from].includes(to)

/** No longer managed: nothing is issued, renewed or deployed for it. */
export const isTerminal = (status: CertificateStatus): boolean => status === "Revoked" || status === "Archived"

/** Enrolled by a client of its own, which renews it too. */
export const isRenewedByItsClient = (source: string): boolean => ["EST", "SCEP", "ACME"].includes(source)
