/** What SCEP serves at one path, and what it counts there. */
import type { TrustBundle } from "../enrolment/trust-bundle"
import type { RegistrationAuthority } from "./registration-authority.service"

export const scepCounters = [
  "success_pkcsreq",
  "success_renewalreq",
  "auth_failed_challenge",
  "auth_failed_mtls",
  "bad_algorithm",
  "bad_message",
  "bad_request",
  "bad_time",
  "bad_certificate",
  "csr_policy_violation",
  "rate_limited",
  "issuer_error",
  "internal_error",
] as const
export type ScepCounter = (typeof scepCounters)[number]

/** Which of a profile's two paths was called. */
export type ScepDoor = "plain" | "mtls"

export interface ScepCaller {
  readonly door: ScepDoor
  readonly address: string
  /** DER of the client certificate, from a trusted proxy; null when there is none. */
  readonly clientCertificate: Buffer | null
}

/** One path label: what is issued there, and what it asks of clients. */
export interface ScepProfileSettings {
  /** Empty for the root path. */
  readonly pathId: string
  readonly issuerId: string
  readonly profileId: string | null
  /** Secret. */
  readonly challengePassword: string
  /** The operator's RA; null: the one that is made for the issuer. */
  readonly ra: RegistrationAuthority | null
  /** null: no path for clients with a certificate. */
  readonly trust: TrustBundle | null
}

export interface ScepProfile extends ScepProfileSettings {
  readonly counters: Record<ScepCounter, number>
}
