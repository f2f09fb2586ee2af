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
import { type WindowedTarget, windowHoldOf } from "./deployment-window"
import { canMove, nextStep, waveOf } from "./rollout.machine"
import type { RolloutRow, RolloutStore } from "./rollout.store"

/** A target that a certificate goes to, with the agent that serves it. */
export interface Place extends WindowedTarget {
  readonly targetId: string
  readonly agentId: string
  /** An agent that is away proves nothing to the others. */
  readonly isAgentOnline: boolean
  /** Whether one target of the certificate goes before all others. */
  readonly isOneFirst: boolean
}

/** Splits the targets of a certificate into ordered waves. */
export type PlanWaves = (places: readonly Place[]) => string[][]

/** One target first, where the certificate's renewal policy wants that: the oldest of those that can be reached. */
export const wavesOfPolicy: PlanWaves = (places) => {
  const first = places.find((place) => place.isAgentOnline) ?? places[0]
  const ids = places.map((place) => place.targetId)
  if (first?.isOneFirst !== true || ids.length < 2) return [ids]
  return [[first.targetId], ids.filter((id) => id !== first.targetId)]
}

interface Deps {
  rollouts: RolloutStore
  jobs: Pick<JobStore, "ofRollout" | "ofRollouts">
  queue: Pick<JobQueue, "move" | "release" | "hold" | "endRetries">
  audit: Pick<AuditService, "append">
  clock: Clock
  planWaves: PlanWaves
}

/** Why a deployment of a later wave waits. */
const holdReason = (wave: number, waves: number): string => `waits until wave ${wave + 1} of ${waves} is verified`

export const rolloutService = ({ rollouts, jobs, queue, audit, clock, planWaves }: Deps) => ({
  /**
   * The roll-out that a run joins: the one under way, its waves planned anew for today's targets, or a new one.
   * The caller holds the certificate's lock.
   */
  async join(tx: Tx, certificateId: string, places: readonly Place[]): Promise<RolloutRow> {
    const [joined] = await this.joinAll(tx, [{ certificateId, places }])
    if (joined === undefined) throw new AppError("internal", `certificate ${certificateId} has no roll-out`)
    return joined.rollout
  },

  /** `join` for several certificates, in their order. `isNew`: it holds nothing yet, so there is nothing to bring forward. */
  async joinAll(
    tx: Tx,
    runs: readonly { readonly certificateId: string; readonly places: readonly Place[] }[],
  ): Promise<{ readonly rollout: RolloutRow; readonly isNew: boolean }[]> {
    const running = await rollouts.runningOf(
      tx,
      runs.map((run) => run.certificateId),
    )
    const joined: { rollout: RolloutRow; isNew: boolean }[] = []
    for (const { certificateId, places } of runs) {
      const waves = planWaves(places)
      const known = running.get(certificateId)
      if (known !== undefined) {
        await rollouts.setWaves(tx, known.id, waves)
        joined.push({ rollout: { ...known, waves }, isNew: false })
        continue
      }
      const createdAt = clock.now()
      const rollout: RolloutRow = {
        id: newId("ro-"),
        certificateId,
        state: "running",
        waves,
        createdAt,
        finishedAt: null,
      }
      joined.push({ rollout, isNew: true })
    }
    const fresh = joined.flatMap(({ rollout, isNew }) => (isNew ? [rollout] : []))
    if ((await rollouts.insertAll(tx, fresh)) < fresh.length) {
      throw new AppError("conflict", "another roll-out of the same certificate has begun")
    }
    return joined
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
    if (rollout === null || !canMove(rollout.state, "done")) return
    const all = await jobs.ofRollout(tx, rolloutId)
    const now = clock.now()
    const step = nextStep({
      waves: rollout.waves,
      jobs: all,
      places: new Map(places.map((place) => [place.targetId, place])),
      now,
    })
    const placeOf = new Map(places.map((place) => [place.targetId, place]))
    // One that belongs to no wave was asked for by itself: it counts for its target and waits for nobody.
    const inWaves = all.filter((job) => job.type === "Deployment" && job.wave !== null)
    const pending = inWaves.filter((job) => job.status === "Pending")
    const wave = (job: JobRow) => waveOf(rollout.waves, job.targetId ?? "")
    switch (step.kind) {
      case "wait":
        for (const job of pending) {
          const place = placeOf.get(job.targetId ?? "")
          const hold =
            wave(job) <= step.wave ? windowHoldOf(job, place, now) : holdReason(step.wave, rollout.waves.length)
          if (job.hold === hold) continue
          if (hold === null) await queue.release(tx, job)
          else await queue.hold(tx, job, hold)
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
        for (const job of pending) {
          if (job.hold !== null && windowHoldOf(job, placeOf.get(job.targetId ?? ""), now) === null) {
            await queue.release(tx, job)
          }
        }
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

  /** Those of the roll-outs that `advance` would change. `placesOf` gives the targets that a certificate goes to at present. */
  async inNeed(running: readonly RolloutRow[], placesOf: (certificateId: string) => readonly Place[]) {
    const all = Map.groupBy(await jobs.ofRollouts(running.map((rollout) => rollout.id)), ({ rolloutId }) => rolloutId)
    const now = clock.now()
    return running.filter(({ id, certificateId, waves }) => {
      const own = all.get(id) ?? []
      const places = new Map(placesOf(certificateId).map((place) => [place.targetId, place]))
      const step = nextStep({ waves, jobs: own, places, now })
      if (step.kind !== "wait") return true
      return own.some((job) => {
        if (job.type !== "Deployment" || job.status !== "Pending" || job.wave === null) return false
        const mayGo = waveOf(waves, job.targetId ?? "") <= step.wave
        const place = places.get(job.targetId ?? "")
        return job.hold !== (mayGo ? windowHoldOf(job, place, now) : holdReason(step.wave, waves.length))
      })
    })
  },
})

export type RolloutService = ReturnType<typeof rolloutService>
