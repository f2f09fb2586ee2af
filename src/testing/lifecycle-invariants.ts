/** What must hold in a fleet at every moment when nothing is under way, read from the rows and the audit trail alone. */
import { inArray } from "drizzle-orm"
import { canMove as certificateCanMove, isTerminal } from "../certificates/certificate.machine"
import { servingStore } from "../certificates/serving.store"
import type { Db } from "../db/db"
import { isIssuing, isOpen, canMove as jobCanMove, mayRetry } from "../jobs/job.machine"
import { parseCsr } from "../pki/csr"
import { nextStep, waveOf } from "../rollouts/rollout.machine"
import { certificateIds } from "./lifecycle-world"

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
const byAge = (a: { createdAt: Date; id: string }, b: { createdAt: Date; id: string }) =>
  a.createdAt.getTime() - b.createdAt.getTime() || byId(a, b)

export const observe = async (db: Db) => {
  const { t, read } = db
  const places = new Map<string, { targetId: string; agentId: string }[]>()
  for (const id of certificateIds) places.set(id, await servingStore(db).places(id))
  return {
    certificates: await read.select().from(t.certificates),
    versions: (await read.select().from(t.certificateVersions)).toSorted(byAge),
    jobs: (await read.select().from(t.jobs)).toSorted(byAge),
    rollouts: (await read.select().from(t.rollouts)).toSorted(byAge),
    events: (
      await read
        .select()
        .from(t.auditEvents)
        .where(inArray(t.auditEvents.resourceType, ["job", "certificate"]))
    ).toSorted(byId),
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
      places: new Map((places.get(rollout.certificateId) ?? []).map((place) => [place.targetId, place.agentId])),
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

/** Everything that is wrong, in words; empty when all is well. */
export const problemsOf = (observed: Observed, now: Date, mayLag: boolean): string[] => [
  ...chains(observed).filter((problem) => problem !== null),
  ...oneOpenJobEach(observed),
  ...versionsAccountedFor(observed),
  ...statuses(observed),
  ...holds(observed, now, mayLag),
  ...attempts(observed),
]
