/** What must hold in a fleet at every moment when nothing is under way, read from the rows and the audit trail alone. */
import { inArray } from "drizzle-orm"
import { canMove as certificateCanMove, isTerminal } from "../certificates/certificate.machine"
import { type ServedPlace, servingStore } from "../certificates/serving.store"
import type { Db } from "../db/db"
import { isIssuing, isOpen, canMove as jobCanMove, mayRetry } from "../jobs/job.machine"
import { canMove as canBeVerified } from "../jobs/verification.machine"
import { parseCsr } from "../pki/csr"
import { nextStep, canMove as rolloutCanMove, waveOf } from "../rollouts/rollout.machine"
import { certificateIds } from "./lifecycle-world"
import { type Change, illegalChanges, recordChanges, type ToldChange, untoldChanges } from "./recorded-changes"

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
const byAge = (a: { createdAt: Date; id: string }, b: { createdAt: Date; id: string }) =>
  a.createdAt.getTime() - b.createdAt.getTime() || byId(a, b)

export const observe = async (db: Db) => {
  const { t, read } = db
  const places = new Map<string, ServedPlace[]>()
  for (const id of certificateIds) places.set(id, await servingStore(db).places(id))
  return {
    certificates: await read.select().from(t.certificates),
    versions: (await read.select().from(t.certificateVersions)).toSorted(byAge),
    jobs: (await read.select().from(t.jobs)).toSorted(byAge),
    rollouts: (await read.select().from(t.rollouts)).toSorted(byAge),
    approvals: (await read.select().from(t.approvalRequests)).toSorted(byAge),
    events: (
      await read
        .select()
        .from(t.auditEvents)
        .where(inArray(t.auditEvents.resourceType, ["job", "certificate", "approval"]))
    ).toSorted(byId),
    revocations: await read.select().from(t.certificateRevocations),
    outbox: await read.select().from(t.outbox),
    places,
  }
}

export type Observed = Awaited<ReturnType<typeof observe>>

type Event = Observed["events"][number]

/** Each change of status is one event, and every event a legal change. */
const chainProblem = (
  what: string,
  status: string,
  events: readonly Event[],
  canMove: (from: never, to: never) => boolean,
): string | null => {
  let last: unknown = null
  for (const { action, details } of events) {
    const { from, to } = { to: action === "certificate_archived" ? "Archived" : details.to, from: details.from }
    if (from === undefined || to === undefined) continue
    if (last !== null && from !== last) return `${what}: ${action} goes from ${from}, but it was ${last}`
    if (!canMove(from as never, to as never)) return `${what}: ${action} goes from ${from} to ${to}`
    last = to
  }
  return last === null || last === status ? null : `${what} is ${status}; its last event says ${last}`
}

const chains = ({ certificates, jobs, events }: Observed): (string | null)[] => {
  const of = new Map<string, Event[]>()
  for (const event of events) {
    const list = of.get(event.resourceId) ?? []
    list.push(event)
    of.set(event.resourceId, list)
  }
  return [
    ...jobs.map((job) => chainProblem(`${job.type} ${job.id}`, job.status, of.get(job.id) ?? [], jobCanMove)),
    ...certificates.map((row) => {
      const own = of.get(row.id) ?? []
      const isUntouched = row.status === "Pending" || own.some((event) => event.details.to === row.status)
      if (!isUntouched && row.status !== "Archived")
        return `certificate ${row.id} became ${row.status} without an event`
      return chainProblem(`certificate ${row.id}`, row.status, own, certificateCanMove)
    }),
  ]
}

const oneOpenJobEach = ({ jobs }: Observed): string[] => {
  const seen = new Set<string>()
  return jobs.flatMap((job) => {
    if (!isIssuing(job.type) || !isOpen(job.status)) return []
    const key = `${job.certificateId} for ${job.agentId}`
    if (seen.has(key)) return [`two issuing jobs are open: ${key}`]
    seen.add(key)
    return []
  })
}

/** Every version has one reason to be there, and every job that issued has its version. */
const versionsAccountedFor = ({ versions, jobs, events }: Observed): string[] => {
  const problems: string[] = []
  const issuedBy = new Map<string, number>()
  const direct = new Set<string>()
  for (const job of jobs) {
    if (!isIssuing(job.type)) continue
    if (job.status !== "Completed") continue
    const version = versions.find(({ id }) => id === job.versionId)
    if (version === undefined) problems.push(`job ${job.id} is Completed without a version`)
    else if (version.agentId !== job.agentId) problems.push(`version of job ${job.id} is of ${version.agentId}`)
    else issuedBy.set(version.id, (issuedBy.get(version.id) ?? 0) + 1)
  }
  for (const { action, details } of events) {
    if (action !== "certificate_issued") continue
    const id = String(details.version_id)
    if (details.came_too_late !== true) issuedBy.set(id, (issuedBy.get(id) ?? 0) + 1)
    else if (versions.find((version) => version.id === id)?.agentId === null) issuedBy.set(id, 1)
    const version = versions.find((row) => row.id === id)
    if (version === undefined) problems.push(`event tells of version ${id}, which is not there`)
    else if (details.came_too_late !== true) {
      const csr = `${version.agentId} ${parseCsr(version.csrPem).der.toString("base64")}`
      if (direct.has(csr)) problems.push(`the CSR of version ${id} was signed twice without a job`)
      direct.add(csr)
    }
  }
  for (const { id } of versions) {
    if (issuedBy.get(id) !== 1) problems.push(`version ${id} was issued by ${issuedBy.get(id) ?? 0} jobs and events`)
  }
  return problems
}

const currentVersions = ({ versions, places }: Observed, certificateId: string) => {
  const own = versions.filter((version) => version.certificateId === certificateId)
  const agents = new Set((places.get(certificateId) ?? []).map((place) => place.agentId))
  const current = [...agents].flatMap((agentId) => own.findLast((version) => version.agentId === agentId) ?? [])
  return current.length > 0 ? current : own.slice(-1)
}

const statuses = (observed: Observed): string[] =>
  observed.certificates.flatMap((row) => {
    if (isTerminal(row.status)) {
      const left = observed.jobs.filter((job) => job.certificateId === row.id && isOpen(job.status))
      return left.map((job) => `${row.id} is ${row.status}, but ${job.type} ${job.id} is ${job.status}`)
    }
    const live = observed.jobs.filter(
      (job) =>
        job.certificateId === row.id &&
        isIssuing(job.type) &&
        (mayRetry(job) || (isOpen(job.status) && job.status !== "AwaitingApproval")),
    )
    const problems: string[] = []
    if ((row.status === "RenewalInProgress") !== live.length > 0) {
      problems.push(`${row.id} is ${row.status} while ${live.length} issuing jobs are under way`)
    }
    const current = currentVersions(observed, row.id)
    if (row.status === "Failed" && current.length > 0) problems.push(`${row.id} is Failed and has a version`)
    const expected = current.length === 0 ? null : Math.min(...current.map((version) => version.notAfter.getTime()))
    if ((row.expiresAt?.getTime() ?? null) !== expected) {
      problems.push(`${row.id} expires at ${row.expiresAt?.toISOString()}, its versions at ${expected}`)
    }
    return problems
  })

/** Whoever holds a version of a revoked certificate holds a revoked one, and nothing of any other certificate is revoked. */
const revoked = ({ certificates, versions, revocations, outbox }: Observed): string[] => [
  ...certificates.flatMap((row) => {
    const own = revocations.filter(({ certificateId }) => certificateId === row.id)
    if (row.status === "Archived") return []
    if (row.status !== "Revoked") return own.length === 0 ? [] : [`${row.id} is ${row.status}, but has revocations`]
    const serials = new Set(own.map(({ serialNumber }) => serialNumber))
    const newest = new Map(
      versions.filter(({ certificateId }) => certificateId === row.id).map((version) => [version.agentId, version]),
    )
    return [...newest.values()]
      .filter(({ serialNumber }) => !serials.has(serialNumber))
      .map(({ id, agentId }) => `${row.id} is Revoked, but version ${id} of ${agentId} is not`)
  }),
  ...revocations
    .filter(({ id, issuerNotified }) => !issuerNotified && !outbox.some((row) => row.payload.revocation_id === id))
    .map(({ id }) => `nobody owes the issuer news of revocation ${id}`),
]

/** What a roll-out says may go goes, and nothing else. `mayLag`: time has passed since anybody looked. */
const holds = ({ rollouts, jobs, places, events }: Observed, now: Date, mayLag: boolean): string[] =>
  rollouts.flatMap((rollout) => {
    const own = jobs.filter((job) => job.rolloutId === rollout.id)
    const pending = own.filter((job) => job.type === "Deployment" && job.status === "Pending" && job.wave !== null)
    const wave = (job: { targetId: string | null }) => waveOf(rollout.waves, job.targetId ?? "")
    if (rollout.state === "halted") {
      const halted = events.find(({ details }) => details.rollout_id === rollout.id && details.reason !== undefined)
      const last = Number(halted?.details.wave ?? 0) - 1
      return pending
        .filter((job) => wave(job) > last || job.hold !== null)
        .map((job) => `${job.id} waits although its roll-out halted`)
    }
    if (rollout.state === "done") {
      return pending.filter((job) => job.hold !== null).map((job) => `${job.id} is held by a roll-out that is over`)
    }
    const step = nextStep({
      waves: rollout.waves,
      jobs: own,
      places: new Map((places.get(rollout.certificateId) ?? []).map((place) => [place.targetId, place])),
      now,
    })
    if (step.kind !== "wait")
      return mayLag ? [] : [`roll-out ${rollout.id} is running, but its next step is ${step.kind}`]
    return pending.flatMap((job) => {
      if (job.hold === null && wave(job) > step.wave) return [`${job.id} may go before its wave`]
      return job.hold !== null && wave(job) <= step.wave && !mayLag
        ? [`${job.id} is held although its wave may go`]
        : []
    })
  })

const attempts = ({ jobs, events }: Observed): string[] =>
  jobs.flatMap((job) => {
    if (job.attempts > job.maxAttempts) return [`${job.id} has used ${job.attempts} of ${job.maxAttempts} attempts`]
    if (job.type !== "Deployment") return []
    const dispatched = events.filter(
      (event) => event.resourceId === job.id && event.action === "deployment_job_dispatched",
    ).length
    return dispatched === job.attempts
      ? []
      : [`${job.id} was handed out ${dispatched} times in ${job.attempts} attempts`]
  })

/** Has the database note every change of state of certificates, jobs, verifications and roll-outs. */
export const recordLifecycle = (db: Db) =>
  recordChanges(
    db,
    { table: "managed_certificates", state: (row) => `${row}.status` },
    { table: "jobs", state: (row) => `${row}.status` },
    { table: "jobs", name: "verifications", state: (row) => `${row}.verification_status` },
    { table: "rollouts", state: (row) => `${row}.state` },
  )

const toldOf = (id: string, change: unknown): ToldChange[] => {
  const { from, to } = Object(change)
  return from === undefined || to === undefined || from === to ? [] : [{ id, from: String(from), to: String(to) }]
}

/** Changes that really happened and are illegal, or that the audit trail does not tell of, each by exactly one event. */
export const unaccounted = (changes: readonly Change[], { events }: Observed): string[] => {
  const of = (table: string) => changes.filter((change) => change.table === table)
  const toldOn = (resourceType: string) =>
    events
      .filter((event) => event.resourceType === resourceType)
      .flatMap(({ resourceId, action, details }) =>
        toldOf(resourceId, action === "certificate_archived" ? { ...details, to: "Archived" } : details),
      )
  // A deployment that is handed out again has not been verified yet: that is part of its move.
  const verified = of("verifications").filter(({ to }) => to !== "pending")
  const halted = of("rollouts").filter(({ to }) => to === "halted")
  const toldHalts = events.filter(({ action }) => action === "rollout_halted").map(({ details }) => details.rollout_id)
  return [
    ...illegalChanges(of("managed_certificates"), certificateCanMove),
    ...illegalChanges(of("jobs"), jobCanMove),
    ...illegalChanges(of("verifications"), canBeVerified),
    ...illegalChanges(of("rollouts"), rolloutCanMove),
    ...untoldChanges(of("managed_certificates"), toldOn("certificate")),
    ...untoldChanges(of("jobs"), toldOn("job")),
    ...untoldChanges(
      verified,
      events.flatMap(({ resourceId, details }) => toldOf(resourceId, details.verification)),
    ),
    ...untoldChanges(
      halted,
      toldHalts.map((id) => ({ id: String(id), from: "running", to: "halted" })),
    ),
  ]
}

/**
 * Where the profile wants approval, a job waits if and only if its request is pending, and has run only if somebody else said yes.
 * Each request was made and closed once, and the trail says so.
 */
const requests = ({ certificates, jobs, approvals, events }: Observed): string[] => {
  const wanting = new Set(certificates.flatMap((row) => (row.certificateProfileId === null ? [] : [row.id])))
  const ofJob = new Map(approvals.map((request) => [request.jobId, request]))
  const problems = ofJob.size === approvals.length ? [] : ["a job has two approval requests"]
  for (const job of jobs) {
    if (!isIssuing(job.type)) continue
    const request = ofJob.get(job.id)
    const isWanted = wanting.has(job.certificateId ?? "")
    if (request !== undefined && !isWanted) problems.push(`${job.id} has a request that nobody wants`)
    if ((job.status === "AwaitingApproval" && isWanted) !== (request?.state === "pending")) {
      problems.push(`${job.id} is ${job.status}, its approval request is ${request?.state}`)
    }
    const hasRun = job.attempts > 0 && job.status !== "Failed"
    if (request !== undefined && hasRun && request.state !== "approved") {
      problems.push(
        `${job.id} is ${job.status} after ${job.attempts} attempts, its approval request is ${request.state}`,
      )
    }
  }
  for (const { id, state, requestedBy, decidedBy } of approvals) {
    const actions = events.filter((event) => event.resourceId === id).map(({ action }) => action)
    const expected = state === "pending" ? ["approval_requested"] : ["approval_requested", `approval_${state}`]
    if (actions.join() !== expected.join()) problems.push(`request ${id} is ${state}, the trail says ${actions.join()}`)
    if (decidedBy === requestedBy && requestedBy !== "system") problems.push(`${decidedBy} decided on request ${id}`)
  }
  return problems
}

/** Everything that is wrong, in words; empty when all is well. */
export const problemsOf = (observed: Observed, now: Date, mayLag: boolean): string[] => [
  ...chains(observed).filter((problem) => problem !== null),
  ...oneOpenJobEach(observed),
  ...versionsAccountedFor(observed),
  ...statuses(observed),
  ...revoked(observed),
  ...holds(observed, now, mayLag),
  ...attempts(observed),
  ...requests(observed),
]
