/** Simple Certificate Enrolment Protocol (RFC 8894): messages to certificates, and what is remembered of each try. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { EnrolmentService } from "../certificates/enrolment.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { demandAnswer } from "../enrolment/demand-answer"
import { AppError, type ErrorCode, messageOf } from "../errors"
import type { Authority } from "../pki/authority"
import type { CertificateFacts } from "../pki/certificate"
import { certsOnly } from "../pki/certs-only"
import { writeEnvelopedData } from "../pki/cms-enveloped-data"
import type { Csr } from "../pki/csr"
import { certificateBlocks } from "../pki/pem"
import { type FailInfo, type ScepOutcome, type ScepRequest, writeCertRep } from "../pki/scep"
import type { ChallengeService } from "./challenge.service"
import { type AlgorithmRules, checkSelfSigned, openRequest } from "./open-request"
import { readPkiMessage } from "./pki-message"
import type { RegistrationAuthority, RegistrationAuthorityService } from "./registration-authority.service"
import { scepAdmission, tooMany } from "./scep-admission"
import {
  type ScepCaller,
  type ScepCounter,
  type ScepDoor,
  type ScepProfile,
  type ScepProfileSettings,
  scepCounters,
} from "./scep-profile"
import { ScepRefusal } from "./scep-refusal"

interface Deps {
  db: Pick<Db, "transaction">
  profiles: readonly ScepProfileSettings[]
  rules: AlgorithmRules
  /** Per client name and address; 0: no limit. */
  enrolmentsPerDay: number
  enrolments: Pick<EnrolmentService, "enrol" | "isCurrent">
  challenges: Pick<ChallengeService, "spend" | "release" | "postpone">
  authorities: Pick<RegistrationAuthorityService, "usable">
  /** CAs whose keys are held here, the signing one first; empty where the CA is elsewhere. */
  authoritiesOf: (issuerId: string) => Promise<readonly Authority[]>
  /** PEM, issuing CA first. */
  caChainOf: (issuerId: string) => Promise<string>
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Hears of what the operator should know at start. */
  warn: (line: string) => void
}

const client: Actor = { name: "scep-client", type: "System", role: "none" }
const actions = { PKCSReq: "scep_pkcsreq", RenewalReq: "scep_renewalreq" } as const
type Kind = keyof typeof actions
const successes = { PKCSReq: "success_pkcsreq", RenewalReq: "success_renewalreq" } as const

/** What is known of a try when it is recorded. */
interface Try {
  readonly kind: Kind
  readonly transactionId: string
  readonly csr: Csr | null
  /** Of the client. */
  readonly address: string
}

/** The CA decides later. No message of SCEP says so without promising to be asked again, but HTTP does. */
const isUndecided = (error: unknown): boolean => error instanceof AppError && error.code === "unavailable"

/** How a bare CSR's refusal is said over HTTP; a rule that was broken and a CA that failed are `upstream`. */
const plainCodes: Partial<Record<ScepCounter, ErrorCode>> = {
  auth_failed_challenge: "forbidden",
  bad_request: "validation",
}

export const scepService = (deps: Deps) => {
  const { db, enrolments, audit, clock, rules } = deps
  const admission = scepAdmission(deps)
  const profiles = new Map<string, ScepProfile>(
    deps.profiles.map((settings) => [
      settings.pathId,
      {
        ...settings,
        counters: Object.fromEntries(scepCounters.map((name) => [name, 0])) as Record<ScepCounter, number>,
      },
    ]),
  )

  const record = (action: string, profile: ScepProfile, details: Record<string, unknown>): Promise<void> =>
    db.transaction((tx) =>
      audit.append(tx, {
        actor: client,
        action,
        resourceType: "certificate",
        resourceId: profile.pathId === "" ? "scep" : `scep/${profile.pathId}`,
        details: { ...details, protocol: "SCEP", issuer_id: profile.issuerId, profile_id: profile.profileId },
      }),
    )

  const recordFailure = async (
    profile: ScepProfile,
    { kind, transactionId, address, csr }: Try,
    { counter, reason, failInfo }: Pick<ScepRefusal, "counter" | "reason"> & { failInfo?: FailInfo },
  ): Promise<void> => {
    profile.counters[counter] += 1
    await record(actions[kind], profile, {
      result: "failure",
      ...(failInfo === undefined ? {} : { fail_info: failInfo }),
      reason,
      transaction_id: transactionId,
      remote_address: address,
      ...(csr === null ? {} : { common_name: csr.commonName }),
    })
  }

  /** Empty: nobody can encrypt to this path, and only bare CSRs are taken. */
  const rasOf = async ({ ra, issuerId }: ScepProfile): Promise<readonly RegistrationAuthority[]> => {
    if (ra !== null) return [ra]
    const [ca] = await deps.authoritiesOf(issuerId)
    return ca === undefined ? [] : deps.authorities.usable(issuerId, ca)
  }

  const demandClientCertificate = async (profile: ScepProfile, caller: ScepCaller): Promise<void> => {
    const problem = admission.clientCertificateProblem(profile, caller)
    if (problem === null) return
    profile.counters.auth_failed_mtls += 1
    await record("scep_auth_failed_mtls", profile, { reason: problem, remote_address: caller.address })
    throw new AppError("unauthenticated", "a client certificate of a trusted CA is needed")
  }

  /** What an issuer's failure means for the client. What time may heal is recorded here and goes on as it is. */
  const issuingFailure = async (profile: ScepProfile, attempt: Try, error: unknown): Promise<unknown> => {
    const isPolicy = error instanceof AppError && error.code === "validation"
    const isIssuer = error instanceof AppError && !isPolicy && error.code !== "internal"
    const counter = isPolicy ? "csr_policy_violation" : isIssuer ? "issuer_error" : "internal_error"
    const reason = isPolicy || isIssuer ? messageOf(error) : "internal error"
    if (!isUndecided(error)) {
      // The client learns that it got nothing; the audit trail says why.
      return new ScepRefusal("badRequest", "the certificate was not issued", { reason, counter, cause: error })
    }
    await recordFailure(profile, attempt, { counter, reason })
    return error
  }

  /**
   * Issues and stores for who may have it; DER, the leaf first. `proof` is the certificate to be renewed, null for a password.
   * @throws ScepRefusal, not recorded yet; AppError `rate_limited`; `unavailable` the CA decides later
   */
  const enrol = async (
    profile: ScepProfile,
    attempt: Try & { csr: Csr },
    proof: CertificateFacts | null,
    caller: ScepCaller,
  ): Promise<Buffer[]> => {
    const { csr, kind, transactionId } = attempt
    if (csr.commonName === "") throw new ScepRefusal("badRequest", "the CSR must have a common name")
    const admitted =
      proof === null
        ? await admission.byChallenge(profile, csr, caller)
        : await admission.byCertificate(profile, csr, proof)
    const wait = admission.paceSeconds(profile, csr, caller)
    if (wait > 0) {
      await admission.postpone(admitted, csr)
      const reason = "too many enrolments of this client within 24 hours"
      await recordFailure(profile, attempt, { counter: "rate_limited", reason })
      throw tooMany(wait)
    }
    try {
      const { pemChain } = await enrolments.enrol({
        source: "SCEP",
        issuerId: profile.issuerId,
        profileId: profile.profileId,
        csr,
        actor: client,
        event: {
          action: actions[kind],
          details: {
            result: "success",
            common_name: csr.commonName,
            sans: csr.sans.map(({ value }) => value),
            transaction_id: transactionId,
            profile_id: profile.profileId,
          },
        },
      })
      profile.counters[successes[kind]] += 1
      return certificateBlocks(pemChain)
    } catch (error) {
      // Nothing was issued: the client may come again with its password; once a CA thinks it over, with the same CSR only.
      await (isUndecided(error) ? admission.postpone(admitted, csr) : admission.release(admitted))
      throw await issuingFailure(profile, attempt, error)
    }
  }

  /** A full message and its answer, signed by the RA that the client wrote to. */
  const transact = async (
    profile: ScepProfile,
    request: ScepRequest,
    ras: readonly RegistrationAuthority[],
    caller: ScepCaller,
  ): Promise<Buffer> => {
    const isNamedRenewal = request.messageType === "RenewalReq"
    const { transactionId, certificate } = request
    const { address } = caller
    let attempt: Try = { kind: isNamedRenewal ? "RenewalReq" : "PKCSReq", transactionId, address, csr: null }
    let [ra] = ras
    if (ra === undefined) {
      const reason = "this path has no RA: it takes bare CSRs, and no encrypted messages"
      await recordFailure(profile, attempt, { counter: "bad_request", reason })
      throw new AppError("validation", reason)
    }
    let outcome: ScepOutcome
    try {
      const { csr, cipher, ra: addressed } = openRequest(request, ras, rules, clock.now())
      ra = addressed
      attempt = { ...attempt, csr }
      if (!isNamedRenewal) checkSelfSigned(request, csr)
      const isRenewal = isNamedRenewal || (await admission.isRenewal(profile, csr, certificate))
      const asked = { ...attempt, csr, kind: isRenewal ? "RenewalReq" : "PKCSReq" } as const
      attempt = asked
      const issued = await enrol(profile, asked, isRenewal ? certificate : null, caller)
      outcome = { status: "success", envelope: writeEnvelopedData(certsOnly(issued), certificate.der, cipher) }
    } catch (error) {
      if (!(error instanceof ScepRefusal)) throw error
      await recordFailure(profile, attempt, error)
      outcome = { status: "failure", failInfo: error.failInfo, text: error.message }
    }
    return writeCertRep(request, outcome, { certificateDer: ra.certificate.der, signer: ra.signer })
  }

  /** Minimal clients send their CSR in the clear, and read a bare list of certificates. */
  const enrolPlainly = async (profile: ScepProfile, csr: Csr, caller: ScepCaller): Promise<Buffer> => {
    const attempt = { kind: "PKCSReq", transactionId: csr.commonName, csr, address: caller.address } as const
    try {
      return certsOnly(await enrol(profile, attempt, null, caller))
    } catch (error) {
      if (!(error instanceof ScepRefusal)) throw error
      await recordFailure(profile, attempt, error)
      throw new AppError(plainCodes[error.counter] ?? "upstream", error.message, { cause: error })
    }
  }

  return {
    /** For the start of a server. Fails with `validation` when an issuer is missing or does not tell its chain. */
    async demandIssuers(): Promise<void> {
      for (const profile of profiles.values()) {
        const { pathId, issuerId } = profile
        const which = pathId === "" ? "CERTCTL_SCEP_ISSUER_ID" : `the issuer of SCEP profile ${pathId}`
        const [ras] = await demandAnswer(which, issuerId, () => Promise.all([rasOf(profile), deps.caChainOf(issuerId)]))
        if (ras.length === 0) {
          deps.warn(
            `SCEP profile ${pathId || "(root)"} takes no encrypted messages: its CA is elsewhere and it has no RA files`,
          )
        }
      }
    },

    /** null: there is no such profile, or not through this door. */
    profile(pathId: string, door: ScepDoor): ScepProfile | null {
      const found = profiles.get(pathId)
      return found === undefined || (door === "mtls" && found.trust === null) ? null : found
    },

    all: (): readonly ScepProfile[] => [...profiles.values()],

    /** The RA that clients are told of; null where there is none. */
    async registrationAuthority(profile: ScepProfile): Promise<RegistrationAuthority | null> {
      return (await rasOf(profile))[0] ?? null
    },

    /** Keywords of RFC 8894 section 3.5.2. */
    async capabilities(profile: ScepProfile): Promise<string[]> {
      const base = ["POSTPKIOperation", "SHA-256", "AES", "SCEPStandard"]
      const isFull = (await rasOf(profile)).length > 0
      return [
        ...base,
        // strongSwan's client reads the list wrongly, and takes SHA-256 from it only where SHA-384 stands too.
        ...(isFull ? ["SHA-384", "SHA-512", "Renewal"] : []),
        ...(isFull && (rules.allow3des || rules.allowLegacy) ? ["DES3"] : []),
        ...(isFull && rules.allowLegacy ? ["SHA-1"] : []),
      ]
    },

    /** DER: the RA first, if there is one, then the CA's chain. */
    async caCertificates(profile: ScepProfile): Promise<Buffer[]> {
      const [ra] = await rasOf(profile)
      const chain = certificateBlocks(await deps.caChainOf(profile.issuerId))
      return ra === undefined ? chain : [ra.certificate.der, ...chain]
    },

    /**
     * Answers a PKIOperation: the DER of a CertRep, or of a bare list of certificates for a bare CSR.
     * @throws AppError `unauthenticated` the client certificate; `validation` not a message at all; `forbidden` the
     *   password of a bare CSR; `rate_limited` with `retry_after`; `upstream` a bare CSR broke a rule or the CA failed;
     *   `unavailable` the CA decides later
     */
    async operate(profile: ScepProfile, body: Buffer, caller: ScepCaller): Promise<Buffer> {
      await demandClientCertificate(profile, caller)
      let message: ReturnType<typeof readPkiMessage>
      try {
        message = readPkiMessage(body, rules)
      } catch (error) {
        // Of what cannot be read there is nothing else to tell.
        const attempt = { kind: "PKCSReq", transactionId: "", address: caller.address, csr: null } as const
        await recordFailure(profile, attempt, { counter: "bad_message", reason: messageOf(error) })
        throw error
      }
      return message.kind === "csr"
        ? enrolPlainly(profile, message.csr, caller)
        : transact(profile, message.request, await rasOf(profile), caller)
    },

    /**
     * Reads a profile's trust bundle again.
     * @throws AppError `not_found`; `conflict` it takes no client certificates; `upstream` the file is bad, and the former
     *   certificates stay trusted
     */
    async reloadTrust(pathId: string, actor: Actor): Promise<Date> {
      const profile = profiles.get(pathId)
      if (profile === undefined) {
        throw new AppError("not_found", `there is no SCEP profile with the path ${pathId || "(root)"}`)
      }
      const { trust } = profile
      if (trust === null) throw new AppError("conflict", "this SCEP profile takes no client certificates")
      trust.reload()
      await db.transaction((tx) =>
        audit.append(tx, {
          actor,
          action: "scep_trust_anchor_reloaded",
          resourceType: "certificate",
          resourceId: pathId === "" ? "scep" : `scep/${pathId}`,
          details: { anchors: trust.anchors().length },
        }),
      )
      return clock.now()
    },

    now: () => clock.now(),
  }
}

export type ScepService = ReturnType<typeof scepService>
