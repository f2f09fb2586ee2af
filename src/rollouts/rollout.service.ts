/**
 * Roll-outs: one issuance run on its way to the targets. Holds back the deployments of later waves, releases them when the
 * wave before is verified, and halts with the reason when it cannot be.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import { mayRetry } from "../jobs/job.machine"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { nextStep, waveOf } from "./rollout.machine"
import type { RolloutRow, RolloutStore } from "./rollout.store"

/** A target that a certificate goes to, with the agent that serves it. */
export interface Place {
  readonly targetId: string
  readonly agentId: string
}

/** Splits the targets of a certificate into ordered waves. */
export type PlanWaves = (certificateId: string, targetIds: readonly string[]) => string[][]

/** Everything at once. */
export const oneWave: PlanWaves = (_certificateId, targetIds) => [[...targetIds]]

interface Deps {
  rollouts: RolloutStore
  jobs: Pick<JobStore, "ofRollout">
  queue: Pick<JobQueue, "move" | "release" | "hold" | "endRetries">
  audit: Pick<AuditService, "append">
  clock: Clock
  planWaves: PlanWaves
}

export const rolloutService = ({ rollouts, jobs, queue, audit, clock, planWaves }: Deps) => ({
  /**
   * The roll-out that a run joins: the one under way, its waves planned anew for today's targets, or a new one.
   * The caller holds the certificate's lock.
   */
  async join(tx: Tx, certificateId: string, places: readonly Place[]): Promise<RolloutRow> {
    const waves = planWaves(
      certificateId,
      places.map((place) => place.targetId),
    )
    const running = await rollouts.running(tx, certificateId)
    if (running !== null) {
      await rollouts.setWaves(tx, running.id, waves)
      return { ...running, waves }
    }
    const rollout: RolloutRow = {
      id: newId("ro-"),
      certificateId,
      state: "running",
      waves,
      createdAt: clock.now(),
      finishedAt: null,
    }
    const inserted = await rollouts.insert(tx, rollout)
    if (inserted === null) throw new AppError("conflict", `another roll-out of certificate ${certificateId} has begun`)
    return inserted
  },

  /** The roll-out a finished issuance belongs to; null when it was halted, so nothing more goes out. */
  async ofRun(
    tx: Tx,
    rolloutId: string | null,
    certificateId: string,
    places: readonly Place[],
  ): Promise<RolloutRow | null> {
    const own = rolloutId === null ? null : await rollouts.get(tx, rolloutId)
    if (own?.state === "running") return own
    if (own?.state === "halted") return null
    return this.join(tx, certificateId, places)
  },

  waveOf,

  /**
   * Brings a roll-out forward after anything happened to one of its jobs: releases the wave that may go, holds later ones,
   * halts or finishes. Changes nothing when nothing is to be done.
   */
  async advance(tx: Tx, rolloutId: string, places: readonly Place[]): Promise<void> {
    const rollout = await rollouts.get(tx, rolloutId)
    if (rollout === null || rollout.state !== "running") return
    const all = await jobs.ofRollout(tx, rolloutId)
    const step = nextStep({
      waves: rollout.waves,
      jobs: all,
      places: new Map(places.map((place) => [place.targetId, place.agentId])),
      now: clock.now(),
    })
    // One that belongs to no wave was asked for by itself: it counts for its target and waits for nobody.
    const inWaves = all.filter((job) => job.type === "Deployment" && job.wave !== null)
    const pending = inWaves.filter((job) => job.status === "Pending")
    const wave = (job: JobRow) => waveOf(rollout.waves, job.targetId ?? "")
    switch (step.kind) {
      case "wait":
        for (const job of pending) {
          if (wave(job) <= step.wave) {
            if (job.hold !== null) await queue.release(tx, job)
          } else {
            const reason = `waits until wave ${step.wave + 1} of ${rollout.waves.length} is verified`
            if (job.hold !== reason) await queue.hold(tx, job, reason)
          }
        }
        return
      case "halt":
        for (const job of inWaves) {
          // What has begun in this wave goes on: a target that failed does not stop its neighbours.
          if (wave(job) <= step.wave && job.hold === null) continue
          if (mayRetry(job)) await queue.endRetries(tx, job)
          if (job.status !== "Pending") continue
          await queue.move(tx, job, "Cancelled", {
            actor: systemActor,
            action: "job_cancelled",
            set: { lastError: `roll-out halted in wave ${step.wave + 1}: ${step.reason}` },
          })
        }
        if (await rollouts.finish(tx, rolloutId, "halted", clock.now())) {
          await audit.append(tx, {
            actor: systemActor,
            action: "rollout_halted",
            resourceType: "certificate",
            resourceId: rollout.certificateId,
            details: { rollout_id: rolloutId, wave: step.wave + 1, reason: step.reason },
          })
        }
        return
      case "done":
        for (const job of pending) if (job.hold !== null) await queue.release(tx, job)
        await rollouts.finish(tx, rolloutId, "done", clock.now())
    }
  },

  /** `advance`, for whichever roll-out of a certificate is under way. */
  async advanceRunning(tx: Tx, certificateId: string, places: readonly Place[]): Promise<void> {
    const running = await rollouts.running(tx, certificateId)
    if (running !== null) await this.advance(tx, running.id, places)
  },

  /** Nothing more goes out for a certificate that is no longer managed. */
  async endRunning(tx: Tx, certificateId: string): Promise<void> {
    const running = await rollouts.running(tx, certificateId)
    if (running !== null) await rollouts.finish(tx, running.id, "done", clock.now())
  },

  running: rollouts.running,
  stillRunning: rollouts.stillRunning,
})

export type RolloutService = ReturnType<typeof rolloutService>
