/** Fills the page of one certificate: how it stands, where it is, what was issued and what happened. */
import type { CertificateService } from "../../src/certificates/certificate.service"
import type { Place } from "../../src/inventory/inventory.service"
import { isIssuing, isOpen } from "../../src/jobs/job.machine"
import type { JobService } from "../../src/jobs/job.service"
import type { CertificateProps, CertificateView, LifeStep, VersionRow } from "../pages/certificate.page"
import { durationText } from "../parts/time"
import type { ConsoleDeps } from "./room"
import { auditRows, jobRows } from "./rows"

type Certificate = Awaited<ReturnType<CertificateService["get"]>>
type Version = Awaited<ReturnType<CertificateService["versions"]>>["rows"][number]
type Job = Awaited<ReturnType<JobService["get"]>>

/** Certificates that lapse within this time are shown as expiring, as the statistics count them. */
export const expiringMs = 30 * 86_400_000
const jobsRead = 50
const jobsShown = 10
const eventsShown = 12

/** The status as lists, charts and pages show it: Active is judged by the date. */
export const shownStatus = ({ status, expiresAt }: Pick<Certificate, "status" | "expiresAt">, now: Date): string => {
  if (status !== "Active" || expiresAt === null) return status
  const leftMs = expiresAt.getTime() - now.getTime()
  return leftMs < 0 ? "Expired" : leftMs < expiringMs ? "Expiring" : status
}

const latest = (moments: readonly (Date | null)[]): Date | null =>
  moments.reduce((newest, at) => (at !== null && (newest === null || at > newest) ? at : newest), null)

const step = (name: LifeStep["name"], rest: Partial<LifeStep> = {}): LifeStep => ({
  name,
  state: "waiting",
  at: null,
  jobId: null,
  error: null,
  ...rest,
})

const issuedStep = (run: readonly Job[], version: Version | undefined): LifeStep => {
  const failed = run.find((job) => job.status === "Failed")
  const open = run.find((job) => isOpen(job.status))
  if (open !== undefined) return step("Issued", { state: "running", jobId: open.id, error: open.lastError })
  if (failed !== undefined) {
    return step("Issued", { state: "failed", at: failed.completedAt, jobId: failed.id, error: failed.lastError })
  }
  const done = run.find((job) => job.status === "Completed")
  if (done !== undefined) return step("Issued", { state: "done", at: done.completedAt, jobId: done.id })
  return version === undefined ? step("Issued") : step("Issued", { state: "done", at: version.createdAt })
}

const deployedStep = (places: readonly Place[], deployments: readonly Job[]): LifeStep => {
  const newest = places.flatMap(({ target }) => deployments.find((job) => job.targetId === target.id) ?? [])
  const failed = newest.find((job) => job.status === "Failed")
  const open = newest.find((job) => isOpen(job.status))
  if (failed !== undefined) {
    return step("Deploying", { state: "failed", at: failed.completedAt, jobId: failed.id, error: failed.lastError })
  }
  if (open !== undefined) return step("Deploying", { state: "running", jobId: open.id })
  const isDone = newest.length === places.length && newest.every((job) => job.status === "Completed")
  if (!isDone || newest.length === 0) return step("Deploying")
  const at = latest(newest.map((job) => job.completedAt))
  return step("Deploying", { state: "done", at, jobId: newest[0]?.id ?? null })
}

/** Proof that has grown old still says that this step was reached; that it speaks for today is the evidence's affair. */
const verifiedStep = (places: readonly Place[], deployed: LifeStep): LifeStep => {
  const wrong = places.find(({ served }) => served.state === "mismatch")
  if (wrong !== undefined) {
    return step("Verified", { state: "failed", at: wrong.served.observedAt, error: wrong.served.detail || null })
  }
  const isSeen = places.length > 0 && places.every(({ served }) => ["confirmed", "stale"].includes(served.state))
  if (deployed.state !== "done" || !isSeen) return step("Verified")
  return step("Verified", { state: "done", at: latest(places.map(({ served }) => served.observedAt)) })
}

/**
 * How far the newest run has come. A step is done only by what was recorded of it, and the one before it counts: proof of
 * an older version proves nothing about a run that is still issuing.
 */
const lifeSteps = (
  certificate: Certificate,
  versions: readonly Version[],
  jobs: readonly Job[],
  all: readonly Place[],
): LifeStep[] => {
  const places = all.filter(({ target }) => !target.retired)
  const newestRun = jobs.find((job) => isIssuing(job.type))
  // The jobs of one run have the same roll-out; without one it is the job alone.
  const run = jobs.filter(
    (job) =>
      isIssuing(job.type) && (job === newestRun || (job.rolloutId !== null && job.rolloutId === newestRun?.rolloutId)),
  )
  const requestedAt = run.at(-1)?.createdAt ?? versions[0]?.createdAt ?? null
  const requested =
    requestedAt === null
      ? step("Requested")
      : step("Requested", { state: "done", at: requestedAt, jobId: run.at(-1)?.id ?? null })
  const issued = issuedStep(run, versions[0])
  if (issued.state !== "done") return [requested, issued, step("Deploying"), step("Verified"), step("Active")]

  const since = run.at(-1)?.createdAt
  const deployments = jobs.filter((job) => job.type === "Deployment" && (since === undefined || job.createdAt >= since))
  const deployed = deployedStep(places, deployments)
  const verified = verifiedStep(places, deployed)
  const isActive = certificate.status === "Active" || certificate.status === "Expiring"
  const active = isActive
    ? step("Active", { state: "done", at: latest([issued.at, deployed.at, verified.at]) })
    : step("Active")
  return [requested, issued, deployed, verified, active]
}

const versionRows = (
  versions: readonly Version[],
  agents: ReadonlyMap<string, { id: string; name: string }>,
  places: readonly Place[],
  now: Date,
): VersionRow[] => {
  const serving = new Set(places.filter(({ target }) => !target.retired).map(({ agent }) => agent.id))
  const seen = new Set<string>()
  return versions.map((version) => {
    const holder = version.agentId ?? ""
    const isNewest = !seen.has(holder)
    seen.add(holder)
    return {
      id: version.id,
      serial: version.serialNumber,
      fingerprint: version.fingerprintSha256,
      notBefore: version.notBefore,
      notAfter: version.notAfter,
      key: version.keySize === 0 ? version.keyAlgorithm : `${version.keyAlgorithm} ${version.keySize}`,
      agent:
        version.agentId === null
          ? null
          : (agents.get(version.agentId) ?? { id: version.agentId, name: version.agentId }),
      isCurrent: isNewest && (serving.size === 0 || serving.has(holder)),
      isDeployable: !isNewest && version.notAfter > now && serving.has(holder),
      createdAt: version.createdAt,
    }
  })
}

/** @throws AppError `not_found` */
export const loadCertificate = async (
  { certificates, inventory, jobs, audit }: ConsoleDeps,
  id: string,
  now: Date,
): Promise<Omit<CertificateProps, "frame" | "approval">> => {
  const certificate = await certificates.get(id)
  const [versions, recent, places, events, references, failures] = await Promise.all([
    certificates.versions(id, { limit: 50, offset: 0 }),
    jobs.list({ certificateId: id }, { limit: jobsRead, offset: 0 }),
    inventory.placesOf([id]),
    audit.list({ resourceType: "certificate", resourceId: id }, { page: 1, per_page: eventsShown }),
    inventory.referencesOf([certificate]),
    inventory.failedAttempts([id]),
  ])
  const targets = places.get(id) ?? []
  const shownJobs = recent.rows.slice(0, jobsShown)
  const open = recent.rows.find((job) => isIssuing(job.type) && isOpen(job.status))
  const [agents, rows, history] = await Promise.all([
    inventory.agentNames([...versions.rows.map((version) => version.agentId), open?.agentId ?? null]),
    jobRows(inventory, shownJobs),
    auditRows(inventory, events.rows),
  ])
  const profile = references.profiles.get(certificate.certificateProfileId ?? "")
  const policy = references.policies.get(certificate.renewalPolicyId)
  const rules = { autoRenew: policy?.autoRenew ?? true, requiresApproval: profile?.requiresApproval ?? false }

  const view: CertificateView = {
    id,
    name: certificate.name,
    commonName: certificate.commonName,
    sans: certificate.sans,
    status: shownStatus(certificate, now),
    environment: certificate.environment,
    expiresAt: certificate.expiresAt,
    renewal: inventory.outlookOf(
      certificate,
      rules,
      targets.some(({ target }) => !target.retired),
    ),
    targets,
    revokedAt: certificate.revokedAt,
    revocationReason: certificate.revocationReason,
    openJob:
      open === undefined
        ? null
        : { status: open.status, agentName: open.agentId === null ? null : (agents.get(open.agentId)?.name ?? null) },
    failedAttempts: failures[0]?.attempts ?? 0,
    issuer: references.issuers.get(certificate.issuerId) ?? null,
    owner: references.owners.get(certificate.ownerId) ?? null,
    team: references.teams.get(certificate.teamId) ?? null,
    profile:
      profile === undefined
        ? null
        : {
            id: profile.id,
            name: profile.name,
            maxTtlWords: profile.maxTtlSeconds === 0 ? null : durationText(profile.maxTtlSeconds * 1000),
          },
    renewalPolicy:
      policy === undefined ? null : { id: policy.id, name: policy.name, windowDays: policy.renewalWindowDays },
    source: certificate.source === "" ? null : certificate.source,
    tags: certificate.tags,
    lastRenewalAt: certificate.lastRenewalAt,
    lastDeploymentAt: certificate.lastDeploymentAt,
    createdAt: certificate.createdAt,
    updatedAt: certificate.updatedAt,
  }
  return {
    certificate: view,
    steps: lifeSteps(certificate, versions.rows, recent.rows, targets),
    versions: versionRows(versions.rows, agents, targets, now),
    jobs: rows,
    audit: history,
    revocationUrls: { crl: null, ocsp: null },
  }
}
