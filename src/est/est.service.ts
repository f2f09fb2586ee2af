/** Enrolment over Secure Transport (RFC 7030): who may enrol under which profile, and what is remembered of each try. */
import type { Actor } from "../access/actor"
import { sameHash, secretHash } from "../access/secrets"
import type { AuditService } from "../audit/audit.service"
import type { EnrolmentService } from "../certificates/enrolment.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { demandAnswer } from "../enrolment/demand-answer"
import { type SlidingLimit, slidingLimit } from "../enrolment/sliding-limit"
import type { TrustBundle } from "../enrolment/trust-bundle"
import { AppError, messageOf } from "../errors"
import type { CertificateFacts } from "../pki/certificate"
import { type Csr, parseCsrDer } from "../pki/csr"
import { sameName } from "../pki/distinguished-name"
import { nameKey } from "../pki/names"
import { ekuOids } from "../pki/oids"
import { certificateBlocks } from "../pki/pem"
import { csrDerOf } from "./csr-body"

export const estCounters = [
  "success_simpleenroll",
  "success_simplereenroll",
  "auth_failed_basic",
  "auth_failed_mtls",
  "csr_invalid",
  "csr_policy_violation",
  "csr_signature_mismatch",
  "rate_limited",
  "issuer_error",
  "internal_error",
] as const
export type EstCounter = (typeof estCounters)[number]

/** Which of a profile's two paths was called. */
export type EstDoor = "plain" | "mtls"

export interface EstCaller {
  readonly door: EstDoor
  readonly address: string
  /** Value of the Authorization header. */
  readonly authorization: string | undefined
  /** DER of the client certificate, from a trusted proxy; null when there is none. */
  readonly clientCertificate: Buffer | null
}

export type EstOperation = "simpleenroll" | "simplereenroll"

/** One path label: what is issued there, and what it asks of clients. */
interface EstProfileSettings {
  /** Empty for the root path. */
  readonly pathId: string
  readonly issuerId: string
  readonly profileId: string | null
  /** Secret. */
  readonly password: string | null
  /** null: no client certificates are taken. */
  readonly trust: TrustBundle | null
  readonly modes: readonly ("basic" | "mtls")[]
  /** The plain path asks nothing. */
  readonly anonymous: boolean
  /** Per client and address; 0: no limit. */
  readonly enrolmentsPerDay: number
}

export interface EstProfile extends EstProfileSettings {
  readonly counters: Record<EstCounter, number>
}

interface Deps {
  db: Pick<Db, "transaction">
  profiles: readonly EstProfileSettings[]
  enrolments: Pick<EnrolmentService, "enrol" | "isCurrent">
  /** PEM, issuing CA first. */
  caChainOf: (issuerId: string) => Promise<string>
  findProfile: (
    id: string,
  ) => Promise<{ allowedEkus: readonly string[]; requiredCsrAttributes: readonly string[] } | null>
  audit: Pick<AuditService, "append">
  clock: Clock
}

const client: Actor = { name: "est-client", type: "System", role: "none" }
const actions = { simpleenroll: "est_simple_enroll", simplereenroll: "est_simple_reenroll" } as const
const hourMs = 3_600_000

/** The password of a Basic header; null when it is none. The user name plays no part. */
const basicPassword = (authorization: string | undefined): string | null => {
  const [, base64] = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(authorization ?? "") ?? []
  if (base64 === undefined) return null
  const text = Buffer.from(base64, "base64").toString("utf8")
  const at = text.indexOf(":")
  return at === -1 ? null : text.slice(at + 1)
}

const tooMany = (seconds: number) =>
  new AppError("rate_limited", "too many attempts; try again later", { body: { retry_after: seconds } })

export const estService = (deps: Deps) => {
  const { db, enrolments, audit, clock } = deps
  const profiles = new Map<string, EstProfile>()
  const limits = new Map<string, SlidingLimit>()
  for (const settings of deps.profiles) {
    const counters = Object.fromEntries(estCounters.map((name) => [name, 0])) as Record<EstCounter, number>
    profiles.set(settings.pathId, { ...settings, counters })
    if (settings.enrolmentsPerDay > 0) {
      limits.set(settings.pathId, slidingLimit(clock, { most: settings.enrolmentsPerDay, windowMs: 24 * hourMs }))
    }
  }
  const failures = slidingLimit(clock, { most: 10, windowMs: hourMs })

  const record = (action: string, profile: EstProfile, details: Record<string, unknown>): Promise<void> =>
    db.transaction((tx) =>
      audit.append(tx, {
        actor: client,
        action,
        resourceType: "certificate",
        resourceId: profile.pathId === "" ? "est" : `est/${profile.pathId}`,
        details: { ...details, protocol: "EST", issuer_id: profile.issuerId, profile_id: profile.profileId },
      }),
    )

  const refuseBasic = async (profile: EstProfile, { address }: EstCaller): Promise<never> => {
    failures.add(address)
    profile.counters.auth_failed_basic += 1
    await record("est_auth_failed_basic", profile, { remote_address: address })
    throw new AppError("unauthenticated", "the enrolment password is missing or wrong")
  }

  const checkBasic = async (profile: EstProfile, caller: EstCaller): Promise<void> => {
    const wait = failures.waitSeconds(caller.address)
    if (wait > 0) {
      profile.counters.rate_limited += 1
      throw tooMany(wait)
    }
    const given = basicPassword(caller.authorization)
    // Hashes are compared, so that neither time nor length tells anything.
    const isRight =
      given !== null &&
      profile.password !== null &&
      profile.modes.includes("basic") &&
      sameHash(secretHash(profile.password), secretHash(given))
    if (!isRight) await refuseBasic(profile, caller)
  }

  const checkClientCertificate = async (profile: EstProfile, caller: EstCaller): Promise<CertificateFacts> => {
    const { clientCertificate } = caller
    const verdict =
      profile.trust === null || clientCertificate === null
        ? "there is no client certificate"
        : profile.trust.verify(clientCertificate)
    if (typeof verdict !== "string") return verdict
    profile.counters.auth_failed_mtls += 1
    await record("est_auth_failed_mtls", profile, { reason: verdict, remote_address: caller.address })
    throw new AppError("unauthenticated", "a client certificate of a trusted CA is needed")
  }

  /** Resolves with the certificate that proves who asks; null where a password or nothing was asked. */
  const authenticate = async (profile: EstProfile, caller: EstCaller): Promise<CertificateFacts | null> => {
    if (caller.door === "mtls") return checkClientCertificate(profile, caller)
    if (!profile.anonymous) await checkBasic(profile, caller)
    return null
  }

  const checkLimit = async (profile: EstProfile, principal: string, address: string): Promise<void> => {
    const limit = limits.get(profile.pathId)
    if (limit === undefined) return
    const key = `${principal} ${address}`
    const wait = limit.waitSeconds(key)
    if (wait > 0) {
      profile.counters.rate_limited += 1
      await record("est_rate_limited", profile, { common_name: principal, remote_address: address })
      throw tooMany(wait)
    }
    limit.add(key)
  }

  /** RFC 7030 section 4.2.2: a re-enrolment is for the subject and names of the certificate that proves the right to it. */
  const checkRenewal = async (profile: EstProfile, csr: Csr, proof: CertificateFacts): Promise<void> => {
    const names = (sans: readonly { value: string }[]) =>
      sans
        .map(({ value }) => nameKey(value))
        .sort()
        .join(" ")
    if (!sameName(csr.subjectDer, proof.subjectDer) || names(csr.sans) !== names(proof.sans)) {
      throw new AppError("validation", "the CSR must have the subject and the names of the client certificate")
    }
    if (!(await enrolments.isCurrent(profile.issuerId, proof.fingerprint))) {
      throw new AppError("validation", "the client certificate is not a current one of this profile's issuer")
    }
  }

  const readCsr = async (
    profile: EstProfile,
    operation: EstOperation,
    body: Buffer,
    { address }: EstCaller,
  ): Promise<Csr> => {
    try {
      const csr = parseCsrDer(csrDerOf(body))
      if (csr.commonName === "") throw new AppError("validation", "the CSR must have a common name")
      return csr
    } catch (error) {
      const isSignature = messageOf(error).includes("signature")
      profile.counters[isSignature ? "csr_signature_mismatch" : "csr_invalid"] += 1
      await record(`${actions[operation]}_failed`, profile, { reason: messageOf(error), remote_address: address })
      throw error
    }
  }

  const failedBecause = async (profile: EstProfile, operation: EstOperation, csr: Csr, error: unknown) => {
    const isPolicy = error instanceof AppError && error.code === "validation"
    const isIssuer = error instanceof AppError && !isPolicy && error.code !== "internal"
    profile.counters[isPolicy ? "csr_policy_violation" : isIssuer ? "issuer_error" : "internal_error"] += 1
    const reason = isPolicy || isIssuer ? messageOf(error) : "internal error"
    const action = isPolicy ? "est_csr_policy_violation" : `${actions[operation]}_failed`
    await record(action, profile, { common_name: csr.commonName, reason })
  }

  return {
    /** For the start of a server: an issuer that is missing or does not tell its chain would only be noticed by clients. */
    async demandIssuers(): Promise<void> {
      for (const { pathId, issuerId } of profiles.values()) {
        const which = pathId === "" ? "CERTCTL_EST_ISSUER_ID" : `the issuer of EST profile ${pathId}`
        await demandAnswer(which, issuerId, () => deps.caChainOf(issuerId))
      }
    },

    /** null: there is no such profile, or not through this door. */
    profile(pathId: string, door: EstDoor): EstProfile | null {
      const found = profiles.get(pathId)
      return found === undefined || (door === "mtls" && found.trust === null) ? null : found
    },

    all: (): readonly EstProfile[] => [...profiles.values()],

    /** DER of the CA's certificates, issuing CA first. */
    async caCertificates({ issuerId }: EstProfile): Promise<Buffer[]> {
      return certificateBlocks(await deps.caChainOf(issuerId))
    },

    /** Dotted identifiers of what a CSR should ask for; empty when there is nothing to say. */
    async csrAttributes({ profileId }: EstProfile): Promise<string[]> {
      const profile = profileId === null ? null : await deps.findProfile(profileId)
      if (profile === null) return []
      const usages = profile.allowedEkus.map((eku) => ekuOids[eku] ?? eku)
      return [...new Set([...usages, ...profile.requiredCsrAttributes])].filter((id) => /^[0-2](\.\d+)+$/.test(id))
    },

    /**
     * Issues for the CSR of a request's body. Resolves with the leaf and its chain, DER.
     * @throws AppError `unauthenticated`; `rate_limited` with `retry_after`; `validation` the CSR is none; `upstream` it
     *   breaks a rule, or the issuer failed; `unavailable` the issuer decides later
     */
    async enrol(profile: EstProfile, operation: EstOperation, body: Buffer, caller: EstCaller): Promise<Buffer[]> {
      const proof = await authenticate(profile, caller)
      const csr = await readCsr(profile, operation, body, caller)
      await checkLimit(profile, proof?.commonName || csr.commonName, caller.address)
      try {
        if (operation === "simplereenroll" && proof !== null) await checkRenewal(profile, csr, proof)
        const { pemChain } = await enrolments.enrol({
          source: "EST",
          issuerId: profile.issuerId,
          profileId: profile.profileId,
          csr,
          actor: client,
          event: {
            action: actions[operation],
            details: {
              common_name: csr.commonName,
              sans: csr.sans.map(({ value }) => value),
              profile_id: profile.profileId,
            },
          },
        })
        profile.counters[`success_${operation}`] += 1
        return certificateBlocks(pemChain)
      } catch (error) {
        await failedBecause(profile, operation, csr, error)
        if (error instanceof AppError && error.code === "unavailable") throw error
        // The client learns that it got nothing; the audit trail says why.
        throw new AppError("upstream", "the certificate was not issued", { cause: error })
      }
    },

    /**
     * Reads a profile's trust bundle again.
     * @throws AppError `not_found`; `conflict` it takes no client certificates; `upstream` the file is bad, and the former
     *   certificates stay trusted
     */
    async reloadTrust(pathId: string, actor: Actor): Promise<Date> {
      const profile = profiles.get(pathId)
      if (profile === undefined)
        throw new AppError("not_found", `there is no EST profile with the path ${pathId || "(root)"}`)
      if (profile.trust === null) throw new AppError("conflict", "this EST profile takes no client certificates")
      profile.trust.reload()
      await db.transaction((tx) =>
        audit.append(tx, {
          actor,
          action: "est_trust_anchor_reloaded",
          resourceType: "certificate",
          resourceId: pathId === "" ? "est" : `est/${pathId}`,
          details: { anchors: profile.trust?.anchors().length },
        }),
      )
      return clock.now()
    },

    now: () => clock.now(),
  }
}

export type EstService = ReturnType<typeof estService>
