/**
 * Certificates for clients that speak an enrolment protocol (EST, SCEP, ACME). Each becomes, or adds a version to, a managed
 * certificate of that source, so that it is seen, alerted on and revoked like any other; its client renews it.
 */
import { createHash, randomBytes } from "node:crypto"
import { type Actor, actorName } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Issued } from "../connectors/issuers/contract"
import type { Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import type { JobQueue } from "../jobs/job-queue.service"
import type { Csr } from "../pki/csr"
import { nameKey } from "../pki/names"
import { toPem } from "../pki/pem"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import { checkCsr, type IssuanceRules } from "./csr-rules"
import type { DeploymentService } from "./deployment.service"
import type { LifecycleService } from "./lifecycle.service"
import { type OpenIssuer, type SigningDeps, type Subject, signingService } from "./signing.service"
import type { VersionRow, VersionStore } from "./version.store"

export type EnrolmentSource = "EST" | "SCEP" | "ACME"

export interface Enrolment {
  readonly source: EnrolmentSource
  readonly issuerId: string
  /** null: only the rules that hold without a profile. */
  readonly profileId: string | null
  /** Its signature is verified, see `parseCsr`. */
  readonly csr: Csr
  readonly actor: Actor
  /** Recorded about the certificate in the transaction that stores it. */
  readonly event: {
    readonly action: string
    readonly details?: Readonly<Record<string, unknown>>
    /** What it is about; absent: the X.509. */
    readonly resource?: { readonly type: string; readonly id: string }
  }
  /** Where several clients may ask for the same names, and each has a managed certificate of its own. */
  readonly holder?: EnrolmentHolder
}

/** Whose a managed certificate is. The functions take part in the transactions of an enrolment. */
export interface EnrolmentHolder {
  readonly id: string
  /** null: as for certificates that nobody on this server asked for. */
  readonly ownerId: string | null
  /** Which of these managed certificates are the holder's. */
  owned(tx: Tx, certificateIds: readonly string[]): Promise<readonly string[]>
  /** Whether the version was issued for something else before, so that the same CSR is a new request. */
  isTaken(tx: Tx, versionId: string): Promise<boolean>
  /** The managed certificate is found or made. */
  onCertificate(tx: Tx, certificateId: string): Promise<void>
  /** The X.509 is stored. What it throws undoes that. */
  onIssued(tx: Tx, versionId: string): Promise<void>
}

export interface Enrolled {
  readonly certificateId: string
  readonly versionId: string
  /** Lower-case hex. */
  readonly serial: string
  readonly fingerprint: string
  /** The leaf, then the chain. */
  readonly pemChain: string
  readonly notAfter: Date
}

interface Deps extends SigningDeps {
  queue: Pick<JobQueue, "create" | "move">
  certificates: CertificateStore
  versions: VersionStore
  deployments: Pick<DeploymentService, "afterIssuance">
  lifecycle: Pick<LifecycleService, "settle" | "afterMove" | "renewAtOf">
  news: Pick<CertificateNews, "issued">
  audit: Pick<AuditService, "append">
  /** Owner, team and policy of what nobody on this server asked for, made on first use. */
  ensureSystemRows: (tx: Tx) => Promise<{ ownerId: string; teamId: string; renewalPolicyId: string }>
  /** null: there is no such owner, or it has no team. */
  teamOf: (tx: Tx, ownerId: string) => Promise<string | null>
  findProfile: (id: string) => Promise<(NonNullable<IssuanceRules["profile"]> & { requiresApproval: boolean }) | null>
  onMissingProfile: (profileId: string) => void
}

const sanSet = (sans: readonly string[]): string => [...new Set(sans.map(nameKey))].sort().join(" ")

export const enrolmentService = (deps: Deps) => {
  const { db, certificates, versions, queue, deployments, lifecycle, news, audit, openIssuer, clock } = deps
  const signing = signingService(deps)

  /** Names of the certificate are those of the CSR: the client asks for itself. */
  const namesOf = ({ csr }: Enrolment) => ({
    commonName: csr.commonName,
    sans: [...new Set(csr.sans.map(({ value }) => value))],
  })

  const rulesFor = async (enrolment: Enrolment): Promise<IssuanceRules> => {
    const { profileId } = enrolment
    const profile = profileId === null ? null : await deps.findProfile(profileId)
    if (profileId !== null && profile === null) deps.onMissingProfile(profileId)
    if (profile?.requiresApproval === true) {
      throw new AppError(
        "validation",
        `profile ${profile.id} requires an approval, which ${enrolment.source} cannot wait for`,
      )
    }
    return { ...namesOf(enrolment), profile }
  }

  const findCertificate = async (tx: Tx, enrolment: Enrolment): Promise<CertificateRow | null> => {
    const { commonName, sans } = namesOf(enrolment)
    const { source, issuerId, profileId } = enrolment
    const wanted = sanSet(sans)
    const rows = await certificates.enrolled(tx, { source, issuerId, profileId, commonName })
    const same = rows.filter((row) => sanSet(row.sans) === wanted)
    const { holder } = enrolment
    const ids = same.map(({ id }) => id)
    const owned = holder === undefined ? ids : await holder.owned(tx, ids)
    const found = same.find(({ id }) => owned.includes(id))
    return found === undefined ? null : certificates.lock(tx, found.id)
  }

  const insertCertificate = async (tx: Tx, enrolment: Enrolment, profileId: string | null): Promise<CertificateRow> => {
    const { commonName, sans } = namesOf(enrolment)
    const { source, issuerId, actor, holder } = enrolment
    const system = await deps.ensureSystemRows(tx)
    const ownerId = holder?.ownerId ?? null
    const teamId = ownerId === null ? null : await deps.teamOf(tx, ownerId)
    const owner = ownerId === null || teamId === null ? {} : { ownerId, teamId }
    const now = clock.now()
    // The same name for the same need: of two enrolments at one moment, one inserts and the other finds.
    const whose = holder === undefined ? [] : [holder.id]
    const need = [source, issuerId, profileId ?? "", nameKey(commonName), sanSet(sans), ...whose].join("\n")
    const digests = [createHash("sha256").update(need).digest("hex").slice(0, 8), randomBytes(4).toString("hex")]
    for (const digest of digests) {
      const row = await certificates.insert(tx, {
        id: newId(source === "ACME" ? "mc-acme-" : "mc-"),
        name: `${source.toLowerCase()}-${commonName}-${digest}`,
        commonName,
        sans,
        ...system,
        ...owner,
        issuerId,
        certificateProfileId: profileId,
        status: "Pending",
        source,
        tags: {},
        createdAt: now,
        updatedAt: now,
      })
      if (row !== null) {
        await audit.append(tx, {
          actor,
          action: "certificate_created",
          resourceType: "certificate",
          resourceId: row.id,
          details: { common_name: row.commonName, sans: row.sans, issuer_id: row.issuerId, source },
        })
        return row
      }
      const found = await findCertificate(tx, enrolment)
      if (found !== null) return found
      // A revoked or archived one has the name: a new one begins beside it.
    }
    throw new AppError("conflict", `no name is free for the certificate of ${commonName}`)
  }

  const findOrInsert = async (tx: Tx, enrolment: Enrolment, rules: IssuanceRules): Promise<CertificateRow> => {
    const found = await findCertificate(tx, enrolment)
    const certificate = found ?? (await insertCertificate(tx, enrolment, rules.profile?.id ?? null))
    await enrolment.holder?.onCertificate(tx, certificate.id)
    return certificate
  }

  const record = async (tx: Tx, { actor, event, source, holder }: Enrolment, version: VersionRow) => {
    await holder?.onIssued(tx, version.id)
    await audit.append(tx, {
      actor,
      action: event.action,
      resourceType: event.resource?.type ?? "certificate",
      resourceId: event.resource?.id ?? version.serialNumber,
      details: {
        ...event.details,
        certificate_id: version.certificateId,
        serial: version.serialNumber,
        issuer_id: version.issuerId,
        protocol: source,
      },
    })
  }

  const asEnrolled = (version: VersionRow): Enrolled => ({
    certificateId: version.certificateId,
    versionId: version.id,
    serial: version.serialNumber,
    fingerprint: version.fingerprintSha256,
    pemChain: version.pemChain,
    notAfter: version.notAfter,
  })

  /** A CA inside this process: what was signed leaves only when its rows are committed. */
  const enrolInside = async (
    enrolment: Enrolment,
    rules: IssuanceRules,
    csrPem: string,
    { connector }: OpenIssuer,
  ): Promise<Enrolled> => {
    const { csr, issuerId } = enrolment
    const issued = (await connector.issue({
      csrPem,
      commonName: rules.commonName,
      sans: rules.sans,
      ekus: rules.profile?.allowedEkus ?? [],
      maxTtlSeconds: rules.profile?.maxTtlSeconds ?? 0,
      mustStaple: rules.profile?.mustStaple ?? false,
      idempotencyKey: newId("req-"),
    })) as Issued
    return db.transaction(async (tx) => {
      const certificate = await findOrInsert(tx, enrolment, rules)
      const { policy } = await certificates.rules(tx, certificate)
      const subject = {
        certificate: { id: certificate.id, issuerId },
        rules,
        windowDays: policy?.renewalWindowDays ?? 30,
      }
      const version = signing.versionOf(subject, csr, csrPem, issued, null, null)
      await versions.insert(tx, version)
      await deployments.afterIssuance(tx, version, null)
      const settled = await lifecycle.settle(tx, certificate.id, "without a job")
      await record(tx, enrolment, version)
      await news.issued(tx, settled ?? certificate)
      return asEnrolled(version)
    })
  }

  /** Any other CA is called for a job that carries the intent, so that what it signs is found again after a crash. */
  const enrolOutside = async (
    enrolment: Enrolment,
    rules: IssuanceRules,
    csrPem: string,
    issuer: OpenIssuer,
  ): Promise<Enrolled> => {
    const { csr, actor } = enrolment
    const job = await db.transaction(async (tx) => {
      const certificate = await findOrInsert(tx, enrolment, rules)
      // A client that was told to come back sends the same CSR again.
      const newest = await versions.newestOf(tx, certificate.id, null)
      const isAnswer = newest?.csrPem === csrPem && (await enrolment.holder?.isTaken(tx, newest.id)) !== true
      if (newest !== null && isAnswer) return { signed: newest, opened: null, certificate }
      const opened = await queue.create(tx, {
        type: (await versions.exists(tx, certificate.id)) ? "Renewal" : "Issuance",
        certificateId: certificate.id,
        status: "AwaitingCSR",
        // The client asks again by itself.
        maxAttempts: 1,
        requestedBy: actorName(actor),
      })
      if (opened === null) throw new AppError("unavailable", "an enrolment for the same names is under way; try again")
      await lifecycle.settle(tx, certificate.id)
      return { signed: null, opened, certificate }
    })
    if (job.signed !== null) {
      const { signed } = job
      await db.transaction((tx) => record(tx, enrolment, signed))
      return asEnrolled(signed)
    }
    const subject: Subject = { ...(await signing.subjectOf(job.certificate)), rules }
    const running = await signing.start(job.opened, csr, csrPem, { agentId: null, attempts: 1 }, actor)
    if (running === null) throw new AppError("unavailable", "the enrolment was cancelled")
    const outcome = await signing.issueOutside(subject, running, csr, csrPem, issuer, actor, null)
    if (outcome === "csr_accepted") {
      throw new AppError("unavailable", "the CA decides later; ask again in a few minutes")
    }
    const version = await versions.newestOf(db.read, job.certificate.id, null)
    if (version === null) throw new AppError("internal", "the signed certificate was not stored")
    await db.transaction((tx) => record(tx, enrolment, version))
    return asEnrolled(version)
  }

  const checked = async (enrolment: Enrolment): Promise<IssuanceRules> => {
    if (enrolment.csr.commonName === "") throw new AppError("validation", "the CSR must have a common name")
    const rules = await rulesFor(enrolment)
    checkCsr(enrolment.csr, rules)
    return rules
  }

  return {
    /** Whether it would be issued, as far as rules go. @throws AppError `validation` naming the rule */
    async check(enrolment: Enrolment): Promise<void> {
      await checked(enrolment)
    },

    /**
     * Checks, issues and stores.
     * @throws AppError `validation` the CSR breaks a rule, which the message names; `upstream` the issuer failed;
     *   `unavailable` the issuer decides later, or the same is being enrolled at this moment
     */
    async enrol(enrolment: Enrolment): Promise<Enrolled> {
      const rules = await checked(enrolment)
      const issuer = await openIssuer(enrolment.issuerId)
      const csrPem = toPem("CERTIFICATE REQUEST", enrolment.csr.der)
      return issuer.inProcess
        ? enrolInside(enrolment, rules, csrPem, issuer)
        : enrolOutside(enrolment, rules, csrPem, issuer)
    },

    /**
     * Whether a certificate presented as proof of identity was issued by this issuer, and is neither revoked nor archived.
     * With `profileId`, which may be null, it must also have been issued under that profile.
     */
    async isCurrent(issuerId: string, fingerprint: string, profileId?: string | null): Promise<boolean> {
      const version = await versions.byFingerprint(fingerprint)
      if (version === null || version.issuerId !== issuerId || version.notAfter <= clock.now()) return false
      const certificate = await certificates.get(version.certificateId)
      if (certificate === null || isTerminal(certificate.status)) return false
      return profileId === undefined || certificate.certificateProfileId === profileId
    },
  }
}

export type EnrolmentService = ReturnType<typeof enrolmentService>
