/** A server with everything wired, an inventory that is due as a whole, and what must be true of it when the storm is over. */
import { and, eq, gt, inArray, lt, or } from "drizzle-orm"
import { secretHash } from "../access/secrets"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { openStatuses } from "../jobs/job.machine"
import { openSealer } from "../secrets/sealing"
import { wire } from "../wiring"
import type { WiringOptions } from "../wiring/options"

const dayMs = 86_400_000
const adminKey = "storm-admin-key-0123456789abcdef"
const passphrase = "a passphrase for storms that nobody else uses"
/** Loops that poll do so every second: the time of the test is not the time of its clock. */
const settings = {
  CERTCTL_AUTH_TYPE: "api-key",
  CERTCTL_AUTH_SECRET: adminKey,
  CERTCTL_RATE_LIMIT_ENABLED: "false",
  CERTCTL_SERVER_TLS: "off",
  CERTCTL_CONFIG_ENCRYPTION_KEY: passphrase,
  CERTCTL_SCHEDULER_RETRY_INTERVAL: "1s",
  CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL: "1s",
}

/** The machine's clock, which can be moved on. */
export const movableClock = () => {
  let aheadMs = 0
  return {
    now: () => new Date(Date.now() + aheadMs),
    advance: (ms: number): void => {
      aheadMs += ms
    },
  }
}

export const agentKeyOf = (agentId: string): string => `key-of-${agentId}-0123456789abcdef`

/** Lets the agents in with `agentKeyOf`. */
export const giveKeys = async (db: Db, agentIds: readonly string[]): Promise<void> => {
  for (const id of agentIds) {
    await db.transaction(async (tx) => {
      await tx
        .update(db.t.agents)
        .set({ apiKeyHash: secretHash(agentKeyOf(id)) })
        .where(eq(db.t.agents.id, id))
    })
  }
}

export const wireStorm = async (
  db: Db,
  dataDir: string,
  options: Pick<WiringOptions, "clock"> & Required<Pick<WiringOptions, "openIssuer">>,
) => {
  const config = readConfig({ ...settings, CERTCTL_DATA_DIR: dataDir, CERTCTL_DATABASE_URL: "sqlite:unused.db" })
  const sealer = await openSealer({ passphrase })
  const wired = wire({ config, db, sealer, serverId: "srv-storm", caFingerprint: "", ...options })
  return { wired, adminKey }
}

export interface StormRows {
  /** Certificates of each issuer. */
  readonly issuers: Readonly<Record<string, number>>
  readonly agents: number
  readonly now: Date
}

/** Certificates in their last third, spread over the agents; each has a version and one target. */
export const insertStorm = async (db: Db, { issuers, agents, now }: StormRows): Promise<string[]> => {
  const { t } = db
  const stamps = { createdAt: now, updatedAt: now }
  const agentIds = Array.from({ length: agents }, (_, i) => `agent-${i}`)
  await db.transaction(async (tx) => {
    await tx.insert(t.teams).values({ id: "t-1", name: "team", ...stamps })
    await tx.insert(t.owners).values({ id: "o-1", name: "owner", ...stamps })
    await tx.insert(t.renewalPolicies).values({
      ...{ id: "rp-1", name: "policy", renewalWindowDays: 30, alertThresholdsDays: [14, 7, 0] },
      ...{ alertChannels: {}, alertSeverityMap: {}, ...stamps },
    })
    for (const id of Object.keys(issuers)) {
      await tx.insert(t.issuers).values({ id, name: id, type: "GenericCA", config: {}, ...stamps })
    }
    for (const id of agentIds) {
      await tx.insert(t.agents).values({ id, name: id, hostname: id, registeredAt: now, lastHeartbeatAt: now })
      const targets = [0, 1].map((i) => ({ id: `tgt-${id}-${i}`, name: `tgt-${id}-${i}` }))
      await tx
        .insert(t.deploymentTargets)
        .values(targets.map((target) => ({ ...target, type: "NGINX", agentId: id, config: {}, ...stamps })))
    }
  })
  let serial = 0
  for (const [issuerId, count] of Object.entries(issuers)) {
    for (let from = 0; from < count; from += 200) {
      const numbers = Array.from({ length: Math.min(200, count - from) }, (_, i) => from + i)
      await db.transaction(async (tx) => {
        const issuedAt = new Date(now.getTime() - 62 * dayMs)
        const rows = numbers.map((i) => {
          const [id, agent] = [`mc-${issuerId}-${i}`, i % agents]
          const expiresAt = new Date(now.getTime() + 26 * dayMs + ((i * 7919) % 10_000) * 1000)
          return { id, agentId: `agent-${agent}`, targetId: `tgt-agent-${agent}-${i % 2}`, expiresAt, i }
        })
        const renewAt = new Date(now.getTime() - 60_000)
        await tx.insert(t.certificates).values(
          rows.map(({ id, expiresAt }) => ({
            ...{ id, name: id, commonName: `${id}.example.com`, sans: [`www.${id}.example.com`], tags: {}, expiresAt },
            ...{ ownerId: "o-1", teamId: "t-1", issuerId, renewalPolicyId: "rp-1", status: "Active" as const },
            ...{ renewAt, createdAt: issuedAt, updatedAt: issuedAt },
          })),
        )
        await tx.insert(t.certificateVersions).values(
          rows.map(({ id, agentId, expiresAt }) => {
            serial += 1
            const hex = serial.toString(16).padStart(64, "0")
            return {
              ...{ id: `cv-${id}`, certificateId: id, serialNumber: hex, fingerprintSha256: hex, pemChain: "" },
              ...{ notBefore: issuedAt, notAfter: expiresAt, issuerId, agentId, renewAt, createdAt: issuedAt },
            }
          }),
        )
        await tx.insert(t.certificateTargets).values(rows.map(({ id, targetId }) => ({ certificateId: id, targetId })))
      })
    }
  }
  await giveKeys(db, agentIds)
  return agentIds
}

/** How many jobs are open, or failed and will be tried again, `most` at most; null where the database is too busy to say. */
export const jobsUnderWay = async (db: Db, most = Number.MAX_SAFE_INTEGER): Promise<number | null> => {
  const { jobs } = db.t
  const mayRetry = and(eq(jobs.status, "Failed"), lt(jobs.attempts, jobs.maxAttempts))
  const isUnderWay = or(inArray(jobs.status, [...openStatuses]), mayRetry)
  try {
    return await db.read.$count(db.read.select({ id: jobs.id }).from(jobs).where(isUnderWay).limit(most).as("some"))
  } catch (error) {
    if (error instanceof AppError && error.code === "unavailable") return null
    throw error
  }
}

/** What became of each certificate since `startedAt`, and why renewals failed; `problems` is empty when all is well. */
export const stormOutcome = async (db: Db, startedAt: Date) => {
  const { t, read } = db
  const certificates = await read.select({ id: t.certificates.id, status: t.certificates.status }).from(t.certificates)
  const versions = await read
    .select({ certificateId: t.certificateVersions.certificateId, agentId: t.certificateVersions.agentId })
    .from(t.certificateVersions)
    .where(gt(t.certificateVersions.createdAt, startedAt))
  const { jobs } = t
  const all = await read
    .select({
      id: jobs.id,
      type: jobs.type,
      status: jobs.status,
      certificateId: jobs.certificateId,
      attempts: jobs.attempts,
      maxAttempts: jobs.maxAttempts,
    })
    .from(jobs)
  const fresh = Map.groupBy(versions, ({ certificateId }) => certificateId)
  const own = Map.groupBy(all, ({ certificateId }) => certificateId)
  const problems: string[] = []
  let renewed = 0
  let givenUp = 0
  for (const { id, status } of certificates) {
    const made = fresh.get(id) ?? []
    const ofCertificate = own.get(id) ?? []
    if (made.length > 1) problems.push(`${id} was renewed ${made.length} times`)
    const deployed = ofCertificate.filter((job) => job.type === "Deployment" && job.status === "Completed")
    if (made.length === 1) {
      renewed += 1
      if (status !== "Active") problems.push(`${id} was renewed and is ${status}`)
      if (deployed.length !== 1) problems.push(`${id} was renewed and deployed ${deployed.length} times`)
    } else {
      givenUp += 1
      if (status !== "Expiring") problems.push(`${id} was not renewed and is ${status}`)
    }
    for (const job of ofCertificate) {
      const isOver = job.status === "Completed" || job.status === "Cancelled"
      if (job.attempts > job.maxAttempts) problems.push(`${job.id} has used ${job.attempts} of ${job.maxAttempts}`)
      if (!isOver && !(job.status === "Failed" && job.attempts >= job.maxAttempts)) {
        problems.push(`${job.type} ${job.id} of ${id} is ${job.status} after ${job.attempts} attempts`)
      }
    }
  }
  const { auditEvents: events } = t
  const failed = await read
    .select({ details: events.details })
    .from(events)
    .where(and(eq(events.action, "renewal_job_failed"), gt(events.timestamp, startedAt)))
  const reasons = Object.fromEntries(
    [...Map.groupBy(failed, ({ details }) => String(details.reason))].map(([reason, some]) => [reason, some.length]),
  )
  return { renewed, givenUp, versions: versions.length, problems, reasons }
}
