/** When a client should renew (RFC 9773), from the rules by which certctl renews what it renews itself. */
import type { CertificateStore } from "../certificates/certificate.store"
import type { VersionRow, VersionStore } from "../certificates/version.store"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { parseCertificate } from "../pki/certificate"
import type { AccountStore } from "./account.store"
import { acmeProblem } from "./acme.problem"
import type { Door } from "./door"
import type { OrderRow, OrderStore } from "./order.store"

interface Deps {
  db: Pick<Db, "read">
  orders: Pick<OrderStore, "ofVersion">
  accounts: Pick<AccountStore, "get">
  versions: Pick<VersionStore, "bySerial">
  certificates: Pick<CertificateStore, "get" | "rules">
  clock: Clock
}

export interface IssuedHere {
  readonly version: VersionRow
  readonly order: OrderRow
}

const dayMs = 86_400_000

/** Authority key identifier and serial number in lower-case hex; null when the text is no certificate's id (RFC 9773 section 4.1). */
export const readCertId = (text: string): { aki: string; serial: string } | null => {
  const parts = text.split(".")
  const [aki = "", serial = ""] = parts.map((part) => Buffer.from(part, "base64url"))
  const isCanonical = parts.every((part, at) => part !== "" && [aki, serial][at]?.toString("base64url") === part)
  if (parts.length !== 2 || !isCanonical || aki === "" || serial === "") return null
  // The serial number is the content of a DER INTEGER: a sign byte in front is not part of our spelling.
  const hex = serial.toString("hex").replace(/^00(?=..)/, "")
  return { aki: aki.toString("hex"), serial: hex }
}

/**
 * From the policy's days before the end, but never more than a third of the lifetime (half, where it is below ten days): a
 * policy of thirty days must not make a client renew a week's certificate all the time.
 */
export const suggestedWindow = (
  { createdAt, notAfter }: Pick<VersionRow, "createdAt" | "notAfter">,
  windowDays: number | null,
  now: Date,
): { start: Date; end: Date } => {
  const lifetimeMs = Math.max(notAfter.getTime() - createdAt.getTime(), 0)
  const shareMs = lifetimeMs < 10 * dayMs ? lifetimeMs / 2 : lifetimeMs / 3
  const windowMs = windowDays === null ? lifetimeMs / 3 : Math.min(windowDays * dayMs, shareMs)
  const start = notAfter.getTime() - windowMs
  const end = start + windowMs / 2
  return end <= now.getTime()
    ? { start: now, end: new Date(now.getTime() + dayMs) }
    : { start: new Date(Math.floor(start)), end: new Date(Math.floor(end)) }
}

export const renewalInfoService = ({ db, orders, accounts, versions, certificates, clock }: Deps) => {
  /** What was issued at this door under the id; null when nothing was. */
  const find = async (door: Door, certId: string): Promise<IssuedHere | null> => {
    const id = readCertId(certId)
    if (id === null)
      throw acmeProblem(
        "malformed",
        "the certificate's id must be the key identifier and the serial number in base64url",
      )
    for (const version of await versions.bySerial(id.serial)) {
      if (parseCertificate(version.pemChain).aki !== id.aki) continue
      const order = await orders.ofVersion(version.id)
      const account = order === null ? null : await accounts.get(order.accountId)
      if (order !== null && account?.profileId === door.profile.id) return { version, order }
    }
    return null
  }

  return {
    /** @throws AppError `malformed` it is no id of a certificate */
    find,

    /** @throws AppError `malformed`; 404 where nothing was issued here under the id */
    async window(door: Door, certId: string): Promise<{ start: Date; end: Date }> {
      const found = await find(door, certId)
      if (found === null) throw acmeProblem("malformed", "no such certificate was issued here", { code: "not_found" })
      const now = clock.now()
      const certificate = await certificates.get(found.version.certificateId)
      if (certificate?.status === "Revoked") {
        // RFC 9773 section 4.2: a window in the past asks for a renewal at once.
        const end = certificate.revokedAt ?? now
        return { start: new Date(end.getTime() - dayMs), end }
      }
      const policy = certificate === null ? null : (await certificates.rules(db.read, certificate)).policy
      return suggestedWindow(found.version, policy?.renewalWindowDays ?? null, now)
    },
  }
}

export type RenewalInfoService = ReturnType<typeof renewalInfoService>
