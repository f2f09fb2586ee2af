/** Opens the jobs of issuing runs, of one certificate or of many at once. */
import { type Actor, actorName } from "../access/actor"
import type { ApprovalService } from "../approvals/approval.service"
import type { Tx } from "../db/db"
import type { JobRow, NewJob } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import type { Place, RolloutService } from "../rollouts/rollout.service"
import type { CertificateRow, CertificateStore } from "./certificate.store"

export interface IssuingRunDeps {
  queue: Pick<JobQueue, "createAll">
  rollouts: Pick<RolloutService, "joinAll" | "advance">
  approvals: Pick<ApprovalService, "request">
  keygenMode: "agent" | "server"
}

type Rules = Awaited<ReturnType<CertificateStore["rules"]>>

/** What is to be issued for a certificate, which the caller has locked. */
export interface IssuingRun {
  readonly certificate: CertificateRow
  readonly rules: Rules
  readonly places: readonly Place[]
  /** Who is to make a key. */
  readonly agentIds: readonly string[]
  readonly needsApproval: boolean
}

export interface RunReason {
  readonly type: "Issuance" | "Renewal"
  readonly actor: Actor
  /** What opened the run: `manual`, `threshold`. */
  readonly trigger: string
}

/** Attempts where the policy does not say. */
const defaultAttempts = 3
export const defaultPolicy = { autoRenew: true, alertThresholdsDays: [30, 14, 7, 0], maxRetries: defaultAttempts }
const waitsForTarget = "no agent serves this certificate yet: map a target, and its agent will take the job up"

const attemptsOf = ({ policy }: Rules): number => Math.max(1, policy?.maxRetries ?? defaultAttempts)

export const issuingRunService = ({ queue, rollouts, approvals, keygenMode }: IssuingRunDeps) => {
  const wantedBy = ({ needsApproval, agentIds }: IssuingRun): Partial<NewJob>[] => {
    if (needsApproval) return [{ status: "AwaitingApproval" }]
    if (keygenMode === "server") return [{ status: "Pending" }]
    if (agentIds.length === 0) return [{ status: "AwaitingCSR", lastError: waitsForTarget }]
    return agentIds.map((agentId) => ({ agentId, status: "AwaitingCSR" }))
  }

  return {
    /**
     * One job per agent that is to make a key; one without agent where nobody serves the certificate, where the server makes
     * the key, or where somebody has to approve first. All of a certificate belong to one roll-out. Returns the jobs of each
     * certificate that were opened.
     */
    async open(
      tx: Tx,
      runs: readonly IssuingRun[],
      { type, actor, trigger }: RunReason,
    ): Promise<Map<string, JobRow[]>> {
      const opened = new Map<string, JobRow[]>(runs.map(({ certificate }) => [certificate.id, []]))
      if (runs.length === 0) return opened
      const joined = await rollouts.joinAll(
        tx,
        runs.map(({ certificate, places }) => ({ certificateId: certificate.id, places })),
      )
      const created = await queue.createAll(
        tx,
        runs.flatMap((run, at) =>
          wantedBy(run).map((job) => ({
            type,
            certificateId: run.certificate.id,
            maxAttempts: attemptsOf(run.rules),
            requestedBy: actorName(actor),
            rolloutId: joined[at]?.rollout.id ?? null,
            ...job,
          })),
        ),
      )
      const runOf = new Map(runs.map((run) => [run.certificate.id, run]))
      for (const job of created) {
        const run = runOf.get(job.certificateId ?? "")
        if (run === undefined) continue
        const { certificate, rules } = run
        // A policy without auto_renew wants a yes from anybody; a profile wants one on record from somebody else.
        const profileId = rules.profile?.requiresApproval === true ? rules.profile.id : null
        opened
          .get(certificate.id)
          ?.push(
            profileId === null ? job : await approvals.request(tx, job, { certificate, profileId, trigger, actor }),
          )
      }
      for (const [at, { certificate, places }] of runs.entries()) {
        const joinedRun = joined[at]
        // A new one holds nothing back yet; without any job it is over.
        const isUnchanged = joinedRun?.isNew === true && opened.get(certificate.id)?.length !== 0
        if (joinedRun !== undefined && !isUnchanged) await rollouts.advance(tx, joinedRun.rollout.id, places)
      }
      return opened
    },
  }
}

export type IssuingRunService = ReturnType<typeof issuingRunService>
