/** Who may enrol over SCEP: client certificates, passwords, the certificate that is renewed, and how often. */
import { sameHash, secretHash } from "../access/secrets"
import type { EnrolmentService } from "../certificates/enrolment.service"
import type { Clock } from "../clock"
import { type SlidingLimit, slidingLimit } from "../enrolment/sliding-limit"
import { AppError } from "../errors"
import type { CertificateFacts } from "../pki/certificate"
import type { Csr } from "../pki/csr"
import { sameName } from "../pki/distinguished-name"
import { nameKey } from "../pki/names"
import type { ChallengeService } from "./challenge.service"
import type { ScepCaller, ScepProfile } from "./scep-profile"
import { ScepRefusal } from "./scep-refusal"

interface Deps {
  enrolments: Pick<EnrolmentService, "isCurrent">
  challenges: Pick<ChallengeService, "spend" | "release" | "postpone">
  /** Per profile, client name and address; 0: no limit. */
  enrolmentsPerDay: number
  clock: Clock
}

/** What opened the door, to be given back when nothing came of it. */
export interface Admission {
  /** Id of a one-time password; null: another proof. */
  readonly challengeId: string | null
}

const hourMs = 3_600_000

export const tooMany = (seconds: number) =>
  new AppError("rate_limited", "too many attempts; try again later", { body: { retry_after: seconds } })

const namesOf = ({ commonName, sans }: Pick<Csr, "commonName" | "sans">): string =>
  [...new Set([commonName, ...sans.map(({ value }) => value)].map(nameKey))].sort().join(" ")

const isForSameNames = (csr: Csr, certificate: CertificateFacts): boolean =>
  sameName(csr.subjectDer, certificate.subjectDer) && namesOf(csr) === namesOf(certificate)

export const scepAdmission = ({ enrolments, challenges, enrolmentsPerDay, clock }: Deps) => {
  const failures = slidingLimit(clock, { most: 10, windowMs: hourMs })
  const enrolled: SlidingLimit | null =
    enrolmentsPerDay === 0 ? null : slidingLimit(clock, { most: enrolmentsPerDay, windowMs: 24 * hourMs })
  const isCurrent = ({ issuerId, profileId }: ScepProfile, { fingerprint }: CertificateFacts): Promise<boolean> =>
    enrolments.isCurrent(issuerId, fingerprint, profileId)

  return {
    /** Why the client certificate of this call is not believed; null when it is, or when none is asked for. */
    clientCertificateProblem({ trust }: ScepProfile, { door, clientCertificate }: ScepCaller): string | null {
      if (door === "plain") return null
      if (trust === null || clientCertificate === null) return "there is no client certificate"
      const verdict = trust.verify(clientCertificate)
      return typeof verdict === "string" ? verdict : null
    },

    /**
     * Checks the password of a CSR: the profile's own, or one made for a single enrolment, which is used up.
     * @throws ScepRefusal it is neither; AppError `rate_limited` after ten wrong ones from an address
     */
    async byChallenge(profile: ScepProfile, csr: Csr, { address }: ScepCaller): Promise<Admission> {
      const wait = failures.waitSeconds(address)
      if (wait > 0) {
        profile.counters.rate_limited += 1
        throw tooMany(wait)
      }
      const given = csr.challengePassword ?? ""
      // Hashes are compared, so that neither time nor length tells anything.
      if (sameHash(secretHash(profile.challengePassword), secretHash(given))) return { challengeId: null }
      const challengeId = given === "" ? null : await challenges.spend(given, profile.pathId, csr)
      if (challengeId !== null) return { challengeId }
      failures.add(address)
      const words = "the challenge password is missing or wrong"
      throw new ScepRefusal("badRequest", words, { counter: "auth_failed_challenge" })
    },

    /**
     * Whether a PKCSReq is a renewal in what it says and shows, though not in name. RFC 8894 section 2.3 has RenewalReq for it;
     * clients of the drafts before, such as certmonger, know PKCSReq alone and sign it with what they have.
     */
    async isRenewal(profile: ScepProfile, csr: Csr, signer: CertificateFacts): Promise<boolean> {
      return isForSameNames(csr, signer) && (await isCurrent(profile, signer))
    },

    /** A renewal is proven by the certificate that it replaces: a current one of this profile, for the same names. */
    async byCertificate(profile: ScepProfile, csr: Csr, proof: CertificateFacts): Promise<Admission> {
      if (!(await isCurrent(profile, proof))) {
        throw new ScepRefusal(
          "badCertId",
          "the signer's certificate is not a current one of this profile; enrol anew with a password",
        )
      }
      if (!isForSameNames(csr, proof)) {
        throw new ScepRefusal(
          "badRequest",
          "the CSR must have the subject and the names of the certificate to be renewed",
        )
      }
      return { challengeId: null }
    },

    /** Seconds that this client has to wait for its next enrolment; 0 counts as one. */
    paceSeconds(profile: ScepProfile, { commonName }: Csr, { address }: ScepCaller): number {
      if (enrolled === null) return 0
      const key = `${profile.pathId} ${commonName} ${address}`
      const wait = enrolled.waitSeconds(key)
      if (wait === 0) enrolled.add(key)
      return wait
    },

    /** Not yet: the same CSR will come again with the password, and it alone. */
    async postpone({ challengeId }: Admission, csr: Csr): Promise<void> {
      if (challengeId !== null) await challenges.postpone(challengeId, csr)
    },

    async release({ challengeId }: Admission): Promise<void> {
      if (challengeId !== null) await challenges.release(challengeId)
    },
  }
}
