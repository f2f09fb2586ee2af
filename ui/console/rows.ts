/** Rows of services as the values that pages show: names in place of ids. */

import { systemActor } from "../../src/access/actor"
import type { AuditService } from "../../src/audit/audit.service"
import type { InventoryService } from "../../src/inventory/inventory.service"
import type { JobService } from "../../src/jobs/job.service"
import type { AuditRow, JobRow } from "../pages/views"

type Job = Awaited<ReturnType<JobService["get"]>>
type AuditEvent = Awaited<ReturnType<AuditService["list"]>>["rows"][number]

/** The jobs with the names of what they are about, in the same order. */
export const jobRows = async (
  inventory: Pick<InventoryService, "subjectsOf">,
  jobs: readonly Job[],
): Promise<JobRow[]> => {
  const { certificates, targets, agents } = await inventory.subjectsOf(jobs)
  const named = (names: ReadonlyMap<string, { id: string; name: string }>, id: string | null) =>
    id === null ? null : (names.get(id) ?? { id, name: id })
  return jobs.map((job) => ({
    id: job.id,
    type: job.type,
    status: job.status,
    certificate: job.certificateId === null ? null : (certificates.get(job.certificateId) ?? null),
    target: named(targets, job.targetId),
    agent: named(agents, job.agentId),
    attempts: job.attempts,
    maxAttempts: job.maxAttempts,
    hold: job.hold,
    // Why it waits is what a waiting job has to say.
    lastError: job.lastError ?? job.hold,
    createdAt: job.createdAt,
    scheduledAt: job.scheduledAt,
    startedAt: job.startedAt,
    completedAt: job.completedAt,
    verification: job.type === "Deployment" ? job.verificationStatus : null,
    requestedBy: job.requestedBy === systemActor.name ? null : job.requestedBy,
  }))
}

/** The events as pages show them; agents by their names. */
export const auditRows = async (
  inventory: Pick<InventoryService, "agentNames">,
  events: readonly AuditEvent[],
): Promise<AuditRow[]> => {
  const agents = await inventory.agentNames(
    events.map(({ actor, actorType }) => (actorType === "Agent" ? actor : null)),
  )
  return events.map(({ timestamp, actor, ...event }) => ({
    ...event,
    actor: agents.get(actor)?.name ?? actor,
    at: timestamp,
  }))
}
