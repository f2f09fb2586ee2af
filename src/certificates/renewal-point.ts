/**
 * When a certificate is due, and what its expiry date makes of its state. Pure: every rule here takes the moment as a
 * parameter.
 */
import { createHash } from "node:crypto"
import type { CertificateStatus } from "./certificate.machine"

const dayMs = 86_400_000
/** Below this lifetime a third is too late for a second try: half is used. */
const shortLifetimeMs = 10 * dayMs

export interface Validity {
  /** When it was issued. Not notBefore, which is backdated and must not shorten the window. */
  readonly issuedAt: Date
  readonly notAfter: Date
}

/** A number in [0, 1) fixed by the text: the same certificate always gets the same place within the jitter. */
const fractionOf = (text: string): number => createHash("sha256").update(text).digest().readUInt32BE(0) / 2 ** 32

/**
 * The moment from which a certificate is due: when its remaining lifetime falls below the policy's window, but never more
 * than a third of its own lifetime (half, when it lives less than ten days), minus a jitter of up to a tenth of that, so
 * that what was issued in one minute is not renewed in one.
 */
export const renewalPoint = (certificateId: string, windowDays: number, { issuedAt, notAfter }: Validity): Date => {
  const lifetimeMs = Math.max(notAfter.getTime() - issuedAt.getTime(), 0)
  const share = lifetimeMs < shortLifetimeMs ? lifetimeMs / 2 : lifetimeMs / 3
  const windowMs = Math.min(windowDays * dayMs, share)
  const jitterMs = (windowMs / 10) * fractionOf(certificateId)
  return new Date(Math.floor(notAfter.getTime() - windowMs + jitterMs))
}

export interface DatedCertificate {
  readonly expiresAt: Date | null
  readonly renewAt: Date | null
}

/**
 * Thresholds, in days, that still mean something: where renewal is automatic, those that lie before the renewal point are
 * normal life and alert nobody.
 */
export const effectiveThresholds = (
  { expiresAt, renewAt }: DatedCertificate,
  policy: { autoRenew: boolean; alertThresholdsDays: readonly number[] },
): number[] => {
  const all = [...policy.alertThresholdsDays]
  if (!policy.autoRenew || expiresAt === null || renewAt === null) return all
  const renewalDays = (expiresAt.getTime() - renewAt.getTime()) / dayMs
  const left = all.filter((days) => days < renewalDays)
  const half = Math.floor(renewalDays / 2)
  return left.some((days) => days > 0) || half === 0 ? left : [half, ...left]
}

/** What the dates alone make of a certificate that has been issued. */
export const statusByDate = (
  certificate: DatedCertificate,
  policy: { autoRenew: boolean; alertThresholdsDays: readonly number[] },
  now: Date,
): Extract<CertificateStatus, "Active" | "Expiring" | "Expired"> => {
  const { expiresAt, renewAt } = certificate
  if (expiresAt === null) return "Active"
  if (expiresAt <= now) return "Expired"
  const days = (expiresAt.getTime() - now.getTime()) / dayMs
  const isDue = renewAt !== null && renewAt <= now
  return isDue || days <= Math.max(0, ...effectiveThresholds(certificate, policy)) ? "Expiring" : "Active"
}

/**
 * How long to leave a certificate alone after `failures` runs that failed for good: an hour, doubling up to a day, but never
 * more than a tenth of the lifetime that is left.
 */
export const pauseAfterFailuresMs = (failures: number, remainingMs: number): number => {
  if (failures === 0) return 0
  const doubling = Math.min(3_600_000 * 2 ** (failures - 1), dayMs)
  return remainingMs <= 0 ? Math.min(doubling, 3_600_000) : Math.min(doubling, remainingMs / 10)
}
