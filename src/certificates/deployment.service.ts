/** Deployment jobs: one per target after each new version, and on request. */
import { type Actor, actorName, systemActor } from "../access/actor"
import type { ApprovalService } from "../approvals/approval.service"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { AppError } from "../errors"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { windowHoldOf } from "../rollouts/deployment-window"
import { waveOf } from "../rollouts/rollout.machine"
import type { Place, RolloutService } from "../rollouts/rollout.service"
import type { RolloutRow } from "../rollouts/rollout.store"
import { isTerminal } from "./certificate.machine"
import type { CertificateStore } from "./certificate.store"
import type { Known, LifecycleService } from "./lifecycle.service"
import type { ServingStore } from "./serving.store"
import type { VersionRow, VersionStore } from "./version.store"

interface Deps {
  db: Pick<Db, "transaction">
  certificates: CertificateStore
  versions: VersionStore
  serving: ServingStore
  jobs: Pick<JobStore, "openOfCertificate" | "liveIssuing">
  queue: Pick<JobQueue, "create" | "createAll" | "move">
  rollouts: Pick<RolloutService, "join" | "ofRun" | "running" | "advance">
  approvals: Pick<ApprovalService, "request">
  lifecycle: Pick<LifecycleService, "settle">
  audit: Pick<AuditService, "append">
  clock: Clock
}

const deploymentAttempts = 3
/** Attempts to issue where the policy does not say. */
const defaultAttempts = 3

export const deploymentService = (deps: Deps) => {
  const { db, certificates, versions, serving, jobs, queue, rollouts, approvals, lifecycle, audit, clock } = deps

  /** Makes way for a newer deployment to the same target. */
  const supersede = async (
    tx: Tx,
    certificateId: string,
    targetIds: ReadonlySet<string>,
    known?: readonly JobRow[],
  ): Promise<void> => {
    for (const job of known ?? (await jobs.openOfCertificate(tx, certificateId))) {
      if (job.type !== "Deployment" || job.status !== "Pending" || !targetIds.has(job.targetId ?? "")) continue
      await queue.move(tx, job, "Cancelled", {
        actor: systemActor,
        action: "job_cancelled",
        set: { lastError: "superseded by a newer version" },
      })
    }
  }

  const jobFor = (
    version: Pick<VersionRow, "id" | "certificateId">,
    place: Place,
    rollout: { readonly id: string; readonly waves: RolloutRow["waves"] | null } | null,
    requestedBy: string,
    ignoresWindows = false,
  ) => {
    const wave = rollout?.waves ? waveOf(rollout.waves, place.targetId) : null
    return {
      type: "Deployment" as const,
      certificateId: version.certificateId,
      targetId: place.targetId,
      agentId: place.agentId,
      versionId: version.id,
      maxAttempts: deploymentAttempts,
      requestedBy,
      rolloutId: rollout?.id ?? null,
      wave,
      ignoresWindows,
      // Released in this same transaction when its wave may go: never claimable in between.
      hold:
        wave === null || wave === 0
          ? windowHoldOf({ ignoresWindows }, place, clock.now())
          : "waits for the wave before",
    }
  }

  const createdEvent = (version: Pick<VersionRow, "id" | "certificateId">, count: number, rolloutId: string) => ({
    actor: systemActor,
    action: "deployment_jobs_created",
    resourceType: "certificate",
    resourceId: version.certificateId,
    details: { count, version_id: version.id, rollout_id: rolloutId },
  })

  return {
    /**
     * After a new version: one job for each target of its agent, within the roll-out of the run. A run that was halted
     * sends nothing out. The roll-out of the run itself is brought forward by the caller, whose job belongs to it, unless the answer is
     * true: it has one wave, and what was made for it here is under way.
     */
    async afterIssuance(
      tx: Tx,
      version: VersionRow,
      rolloutId: string | null,
      { places: known, live }: Pick<Known, "places" | "live"> = {},
    ): Promise<boolean> {
      const places = known ?? (await serving.places(version.certificateId, tx))
      const own = places.filter((place) => place.agentId === version.agentId)
      if (own.length === 0) return false
      const rollout = await rollouts.ofRun(tx, rolloutId, version.certificateId, places)
      if (rollout === null) return false
      await supersede(tx, version.certificateId, new Set(own.map((place) => place.targetId)), live)
      for (const place of own) await queue.create(tx, jobFor(version, place, rollout, systemActor.name))
      await audit.append(tx, createdEvent(version, own.length, rollout.id))
      if (rollout.waves.length <= 1) return true
      if (rollout.id !== rolloutId) await rollouts.advance(tx, rollout.id, places)
      return false
    },

    /**
     * `afterIssuance` of several certificates of which each has a roll-out of one wave under way, and no deployment that waits for
     * one of the places, which are those of the version's agent.
     */
    async afterIssuances(
      tx: Tx,
      issued: readonly {
        readonly version: Pick<VersionRow, "id" | "certificateId">
        readonly places: readonly Place[]
        readonly rollout: RolloutRow
      }[],
    ): Promise<void> {
      await queue.createAll(
        tx,
        issued.flatMap(({ version, places, rollout }) =>
          places.map((place) => jobFor(version, place, rollout, systemActor.name)),
        ),
      )
      await audit.append(
        tx,
        ...issued.map(({ version, places, rollout }) => createdEvent(version, places.length, rollout.id)),
      )
    },

    /**
     * Deploys again what the agents have, to every target or to one. A target whose agent has no version of its own yet gets
     * a CSR job for that agent instead.
     * @throws AppError `not_found` unknown certificate; `invalid_state` archived, revoked, nothing issued or no target;
     *   `validation` a target that is not mapped, a version that does not fit
     */
    deploy: (
      certificateId: string,
      {
        targetId,
        versionId,
        ignoresWindows = false,
      }: { targetId?: string; versionId?: string; ignoresWindows?: boolean },
      actor: Actor,
    ): Promise<{ jobIds: string[] }> =>
      db.transaction(async (tx) => {
        const certificate = await certificates.lock(tx, certificateId)
        if (certificate === null) throw new AppError("not_found", `certificate ${certificateId} does not exist`)
        if (isTerminal(certificate.status)) {
          throw new AppError(
            "invalid_state",
            `certificate ${certificateId} is ${certificate.status} and is not deployed`,
          )
        }
        const places = await serving.places(certificateId, tx)
        const chosen = targetId === undefined ? places : places.filter((place) => place.targetId === targetId)
        if (targetId !== undefined && chosen.length === 0) {
          throw new AppError("validation", `target_id must be an enabled target of certificate ${certificateId}`)
        }
        if (chosen.length === 0) {
          throw new AppError("invalid_state", `certificate ${certificateId} has no target to deploy to`)
        }
        if (!(await versions.exists(tx, certificateId))) {
          throw new AppError("invalid_state", `nothing was issued for certificate ${certificateId} yet: renew it first`)
        }
        const version = versionId === undefined ? null : await versions.get(versionId, tx)
        if (versionId !== undefined && (version === null || version.certificateId !== certificateId)) {
          throw new AppError("validation", `version_id must be a version of certificate ${certificateId}`)
        }
        if (version !== null && version.notAfter <= clock.now()) {
          throw new AppError(
            "validation",
            `version_id must be a version that is still valid; ${version.id} has expired`,
          )
        }
        const own = version === null ? chosen : chosen.filter((place) => place.agentId === version.agentId)
        if (own.length === 0) {
          throw new AppError("validation", `version_id must be a version whose key is with the agent of a target`)
        }
        // All of them keep the order of the waves; one named target goes out at once. It still counts as that target's
        // part of a roll-out under way, which would halt over the job it replaces.
        const joined =
          targetId === undefined
            ? await rollouts.join(tx, certificateId, places)
            : await rollouts.running(tx, certificateId)
        const rollout = joined === null ? null : { id: joined.id, waves: targetId === undefined ? joined.waves : null }
        await supersede(tx, certificateId, new Set(own.map((place) => place.targetId)))
        const requestedBy = actorName(actor)
        const { policy, profile } = await certificates.rules(tx, certificate)
        const profileId = profile?.requiresApproval === true ? profile.id : null
        const live = await jobs.liveIssuing(tx, certificateId)
        const created: (JobRow | null)[] = []
        const asked = new Set<string>()
        for (const place of own) {
          const newest = version ?? (await versions.newestOf(tx, certificateId, place.agentId))
          if (newest !== null) {
            created.push(await queue.create(tx, jobFor(newest, place, rollout, requestedBy, ignoresWindows)))
          } else if (!asked.has(place.agentId)) {
            asked.add(place.agentId)
            // A job that waits for anybody's key waits for this agent's too, and so does one that failed and comes again.
            const isUnderWay = live.some(
              (job) => job.agentId === place.agentId || (job.agentId === null && job.status !== "AwaitingApproval"),
            )
            if (isUnderWay) continue
            const opened = await queue.create(tx, {
              type: "Renewal",
              certificateId,
              agentId: place.agentId,
              status: profileId === null ? "AwaitingCSR" : "AwaitingApproval",
              maxAttempts: Math.max(1, policy?.maxRetries ?? defaultAttempts),
              requestedBy,
              rolloutId: rollout?.id ?? null,
            })
            created.push(opened)
            if (opened !== null && profileId !== null) {
              await approvals.request(tx, opened, { certificate, profileId, trigger: "deployment", actor })
            }
          }
        }
        const jobIds = created.flatMap((job) => (job === null ? [] : [job.id]))
        await audit.append(tx, {
          actor,
          action: "deployment_triggered",
          resourceType: "certificate",
          resourceId: certificateId,
          details: {
            job_ids: jobIds,
            target_id: targetId ?? null,
            version_id: versionId ?? null,
            ...(ignoresWindows ? { ignore_windows: true } : {}),
          },
        })
        await lifecycle.settle(tx, certificateId)
        if (rollout !== null) await rollouts.advance(tx, rollout.id, places)
        return { jobIds }
      }),
  }
}

export type DeploymentService = ReturnType<typeof deploymentService>
