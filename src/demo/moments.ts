/** When things happened in the demo inventory: a function of the certificate and the load time, so that tables agree. */
import { createHash } from "node:crypto"
import type { DemoCertificate } from "./certificates.rows"

const minuteMs = 60_000
const dayMs = 86_400_000
/** Of the history: what ended earlier is not told. */
export const historyDays = 90

/** A number in [0, 1) fixed by the text: the same inventory each time, without two things at one moment. */
export const fractionOf = (text: string): number => createHash("sha256").update(text).digest().readUInt32BE(0) / 2 ** 32

export const daysFrom = (now: Date, days: number): Date => new Date(now.getTime() + days * dayMs)

/** Whole seconds, as X.509 has them; a few hours after the whole day, so that nothing lies on a border. */
export const expiryOf = ({ id, expiresInDays }: DemoCertificate, now: Date): Date => {
  const laterMs = (30 + fractionOf(id) * 240) * minuteMs
  return new Date(Math.floor((daysFrom(now, expiresInDays).getTime() + laterMs) / 1000) * 1000)
}

export const createdOf = (certificate: DemoCertificate, now: Date): Date =>
  daysFrom(expiryOf(certificate, now), -certificate.expiresInDays - certificate.createdDaysAgo - 1)

/** When the X.509 certificates of the past were issued, newest first; each was replaced after two thirds of its life. */
export const issuesOf = (certificate: DemoCertificate, now: Date): Date[] => {
  const created = createdOf(certificate, now)
  const issues: Date[] = []
  let at = daysFrom(expiryOf(certificate, now), -certificate.lifetimeDays)
  while (at > created) {
    issues.push(at)
    at = daysFrom(at, (-certificate.lifetimeDays * 2) / 3)
  }
  return issues
}
