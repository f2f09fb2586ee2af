/** What the demo inventory has been through in the last 90 days: jobs, what was seen of their outcome, and who did what. */
import { newId } from "../db/ids"
import type { Tables } from "../db/tables/tables"
import { type DemoCertificate, demoCertificates } from "./certificates.rows"
import { agentIdOf, type DemoTarget, endpointOf, targetIdOf, targets } from "./fleet.rows"
import { createdOf, daysFrom, fractionOf, historyDays, issuesOf } from "./moments"
import { personOf } from "./ownership.rows"
import type { DemoVersion } from "./versions.rows"

type Insert<Table extends keyof Tables> = Tables[Table]["$inferInsert"]
type Job = Insert<"jobs">

const secondMs = 1000
const hourMs = 3_600_000
const after = (at: Date, ms: number): Date => new Date(at.getTime() + ms)

const issuingFailures = [
  "the CA answered 503 Service Unavailable",
  "no answer from the CA within 30 seconds",
  "CSR of the agent was refused: it asks for a name that the profile does not allow",
]
const deployingFailures = {
  NGINX: [
    'deployment failed: validate_command (nginx -t) ended with code 1: nginx: [emerg] unknown directive "sll_protocols"',
    "deployment failed: reload_command (systemctl reload nginx) ended with code 1",
  ],
  files: ["deployment failed: write: no space left on device; the former files were put back"],
  KubernetesSecrets: ["deployment failed: PATCH /api/v1/namespaces/ingress/secrets/ingress-tls was answered 403"],
}
const deployingFailuresOf = (target: DemoTarget): readonly string[] => {
  const { type } = targets[target]
  if (type === "KubernetesSecrets") return deployingFailures.KubernetesSecrets
  return type === "NGINX" ? [...deployingFailures.NGINX, ...deployingFailures.files] : deployingFailures.files
}
const pick = (list: readonly string[], text: string): string | null =>
  list[Math.floor(fractionOf(text) * list.length)] ?? null

const finished = (
  type: Job["type"],
  certificateId: string,
  endedAt: Date,
  tookMs: number,
  facts: Partial<Job>,
): Job => ({
  id: newId("job-"),
  type,
  certificateId,
  status: "Completed",
  attempts: 1,
  maxAttempts: facts.status === "Failed" ? 1 : 3,
  requestedBy: "system",
  verificationStatus: "skipped",
  createdAt: after(endedAt, -tookMs - 2 * secondMs),
  scheduledAt: after(endedAt, -tookMs - 2 * secondMs),
  startedAt: after(endedAt, -tookMs),
  statusSince: endedAt,
  completedAt: endedAt,
  ...facts,
})

/** One issuance and its deployments; some go wrong first. `run` counts backwards; `isFirst`: nothing was issued before. */
const runOf = (
  certificate: DemoCertificate,
  issuedAt: Date,
  { run, isFirst }: { run: number; isFirst: boolean },
  version: DemoVersion | undefined,
): Job[] => {
  const { id, targets } = certificate
  const seed = `${id} ${run}`
  const type = isFirst ? "Issuance" : "Renewal"
  const [firstTarget] = targets
  const agentId = firstTarget === undefined ? null : agentIdOf(firstTarget)
  const versionId = version?.id ?? null
  const jobs: Job[] = []
  if (fractionOf(`${seed} ca`) < 0.12) {
    const lastError = pick(issuingFailures, seed)
    jobs.push(finished(type, id, after(issuedAt, -hourMs), 31 * secondMs, { status: "Failed", lastError, agentId }))
  }
  jobs.push(finished(type, id, issuedAt, 1.5 * secondMs, { agentId, versionId }))
  for (const target of targets) jobs.push(...deploymentsOf(certificate, target, run, issuedAt, version))
  return jobs
}

const deploymentsOf = (
  { id }: DemoCertificate,
  target: DemoTarget,
  run: number,
  issuedAt: Date,
  version: DemoVersion | undefined,
): Job[] => {
  const where = { targetId: targetIdOf(target), agentId: agentIdOf(target) }
  const seenAt = after(issuedAt, (8 + fractionOf(`${id} ${target}`) * 40) * secondMs)
  const chance = fractionOf(`${id} ${target} ${run}`)
  const jobs: Job[] = []
  if (chance < 0.08) {
    const lastError = pick(deployingFailuresOf(target), `${id} ${target}`)
    jobs.push(
      finished("Deployment", id, after(seenAt, -3 * secondMs), 2 * secondMs, { ...where, status: "Failed", lastError }),
    )
  } else if (chance > 0.92) {
    const lastError = "superseded by a newer version"
    jobs.push(finished("Deployment", id, after(seenAt, -4 * secondMs), 0, { ...where, status: "Cancelled", lastError }))
  }
  const seen: Partial<Job> =
    version === undefined || version.agentId !== where.agentId
      ? {}
      : {
          versionId: version.id,
          verificationStatus: "success",
          verifiedAt: seenAt,
          verificationExpected: version.fingerprintSha256,
          verificationFingerprint: version.fingerprintSha256,
        }
  jobs.push(finished("Deployment", id, seenAt, 2 * secondMs, { ...where, ...seen }))
  return jobs
}

/** The renewals that failed again and again, of the certificate that shows what this looks like. */
const failuresOf = ({ id, targets: [target] }: DemoCertificate, now: Date): Job[] =>
  [14, 9, 5, 3, 2, 1, 0.3].map((daysAgo) =>
    finished("Renewal", id, daysFrom(now, -daysAgo), 30 * secondMs, {
      status: "Failed",
      attempts: 3,
      maxAttempts: 3,
      lastError: "no answer from the CA within 30 seconds",
      agentId: target === undefined ? null : agentIdOf(target),
    }),
  )

/** Deployed again by its owner now and then, after work on a host. */
const repeatsOf = ({ id, teamId, targets: [target], createdDaysAgo }: DemoCertificate, now: Date): Job[] =>
  [0, 1, 2, 3].flatMap((time) => {
    const daysAgo = 0.2 + fractionOf(`${id} again ${time}`) * historyDays
    if (target === undefined || daysAgo > createdDaysAgo) return []
    return finished("Deployment", id, daysFrom(now, -daysAgo), 2 * secondMs, {
      targetId: targetIdOf(target),
      agentId: agentIdOf(target),
      requestedBy: personOf(teamId).login,
    })
  })

/** What waits at the moment: for a person, and for an agent that will not come. */
const waiting = (certificate: DemoCertificate, status: "AwaitingApproval" | "AwaitingCSR", now: Date): Job => {
  const createdAt = after(now, -2 * hourMs)
  const [target] = certificate.targets
  return {
    id: newId("job-"),
    type: "Renewal",
    certificateId: certificate.id,
    agentId: status === "AwaitingCSR" && target !== undefined ? agentIdOf(target) : null,
    status,
    // Its last attempt: nothing of the demo inventory is ever taken up again by itself.
    attempts: status === "AwaitingApproval" ? 0 : 1,
    maxAttempts: 1,
    requestedBy: "system",
    createdAt,
    scheduledAt: createdAt,
    statusSince: createdAt,
  }
}

export const jobRows = (now: Date, versions: readonly DemoVersion[]): Job[] => {
  const horizon = daysFrom(now, -historyDays)
  const jobs: Job[] = []
  for (const certificate of demoCertificates) {
    const issues = issuesOf(certificate, now)
    const own = versions.filter((version) => version.certificateId === certificate.id)
    issues.forEach((issuedAt, index) => {
      if (issuedAt < horizon || issuedAt > now) return
      const version = own.find((each) => each.createdAt.getTime() === issuedAt.getTime())
      jobs.push(...runOf(certificate, issuedAt, { run: index, isFirst: index === issues.length - 1 }, version))
    })
    jobs.push(...repeatsOf(certificate, now))
    if (certificate.status === "Failed") jobs.push(...failuresOf(certificate, now))
    if (certificate.status === "RenewalInProgress") jobs.push(waiting(certificate, "AwaitingCSR", now))
    if (certificate.commonName === "vpn.example.com") jobs.push(waiting(certificate, "AwaitingApproval", now))
  }
  return jobs
}

/** The word of a second person that the jobs wait for which a profile holds back. */
export const approvalRows = (jobs: readonly Job[], issuerId: string): Insert<"approvalRequests">[] =>
  jobs.flatMap((job) => {
    const certificate = demoCertificates.find(({ id }) => id === job.certificateId)
    if (job.status !== "AwaitingApproval" || certificate === undefined) return []
    const { id: certificateId, commonName, sans, profileId } = certificate
    return {
      id: newId("ar-"),
      certificateId,
      jobId: job.id,
      profileId,
      requestedBy: job.requestedBy ?? "system",
      metadata: { common_name: commonName, sans, issuer_id: issuerId, trigger: "threshold" },
      createdAt: job.createdAt,
      updatedAt: job.createdAt,
    }
  })

/**
 * What the agents would have seen last, too long ago to count: nobody looks at made-up endpoints now, so none of them may show
 * green. One place has the wrong certificate.
 */
export const observationRows = (now: Date, versions: readonly DemoVersion[]): Insert<"observations">[] => {
  const rows: Insert<"observations">[] = []
  for (const certificate of demoCertificates) {
    const [former, newest = former] = versions.filter((version) => version.certificateId === certificate.id)
    const [target] = certificate.targets
    if (newest === undefined || target === undefined || certificate.status === "Revoked") continue
    const isForgotten = certificate.commonName === "api.example.com" && former !== undefined
    const served = isForgotten ? (former ?? newest) : newest
    const common = {
      certificateId: certificate.id,
      targetId: targetIdOf(target),
      observer: agentIdOf(target),
    }
    const servedAt = after(now, -(30 + fractionOf(certificate.id) * 60) * hourMs)
    rows.push({
      ...common,
      id: newId("obs-"),
      kind: "delivered",
      fingerprint: newest.fingerprintSha256,
      ok: true,
      observedAt: after(servedAt, -3 * secondMs),
    })
    rows.push({
      ...common,
      id: newId("obs-"),
      endpoint: endpointOf(target),
      kind: "served",
      fingerprint: served.fingerprintSha256,
      ok: served === newest,
      detail: served === newest ? "" : `serves ${served.fingerprintSha256} instead of ${newest.fingerprintSha256}`,
      observedAt: servedAt,
    })
  }
  return rows
}

type Event = Insert<"auditEvents">

const changes = [
  [160, "t-platform", "create_issuer", "issuer", "iss-example"],
  [121, "t-security", "create_profile", "profile", "prof-high-security"],
  [83, "t-security", "update_profile", "profile", "prof-high-security"],
  [64, "t-platform", "update_renewal_policy", "renewal_policy", "rp-standard"],
  [33, "t-payments", "update_target", "target", "tgt-shop"],
  [11, "t-devops", "update_owner", "owner", "o-lena"],
  [4, "t-security", "update_renewal_policy", "renewal_policy", "rp-urgent"],
  [2, "t-security", "certificate_revoked", "certificate", "mc-intranet"],
] as const

/** How many events the trail tells: what people did, and the newest of what happened by itself. */
const eventCount = 60

/** Newest first. */
export const auditRows = (now: Date, jobs: readonly Job[]): Event[] => {
  const event = (
    timestamp: Date,
    actor: string,
    action: string,
    resource: readonly [type: string, id: string],
    details: Event["details"] = {},
  ): Event => ({
    id: newId("audit-"),
    actor,
    actorType: actor === "system" ? "System" : actor.startsWith("ag-") ? "Agent" : "User",
    action,
    resourceType: resource[0],
    resourceId: resource[1],
    details,
    timestamp,
  })
  const byPeople = [
    ...changes.map(([daysAgo, teamId, action, type, id]) =>
      event(
        daysFrom(now, -daysAgo),
        personOf(teamId).login,
        action,
        [type, id],
        action === "certificate_revoked" ? { reason: "keyCompromise" } : {},
      ),
    ),
    ...demoCertificates.map((certificate) =>
      event(
        createdOf(certificate, now),
        personOf(certificate.teamId).login,
        "certificate_created",
        ["certificate", certificate.id],
        { common_name: certificate.commonName },
      ),
    ),
  ]
  const ended = jobs
    .flatMap((job) =>
      job.completedAt instanceof Date && job.status !== "Cancelled" ? [{ ...job, completedAt: job.completedAt }] : [],
    )
    .sort((a, b) => b.completedAt.getTime() - a.completedAt.getTime())
    .slice(0, eventCount - byPeople.length)
    .map((job) => {
      const isDeployment = job.type === "Deployment"
      const action = `${isDeployment ? "deployment" : "renewal"}_job_${job.status === "Failed" ? "failed" : "completed"}`
      const actor = (isDeployment ? job.agentId : null) ?? "system"
      return event(job.completedAt, actor, action, ["job", job.id], { certificate_id: job.certificateId })
    })
  return [...byPeople, ...ended].sort((a, b) => b.timestamp.getTime() - a.timestamp.getTime())
}
