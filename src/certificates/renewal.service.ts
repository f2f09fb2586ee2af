/** Opens issuing jobs: asked for by people, or by the renewal check when a certificate is due. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { mayRetry } from "../jobs/job.machine"
import type { JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { isRenewedByItsClient, isTerminal } from "./certificate.machine"
import type { CertificateStore } from "./certificate.store"
import { type IssuingRunDeps, issuingRunService } from "./issuing-run.service"
import type { LifecycleService } from "./lifecycle.service"
import { type RenewalCheckDeps, renewalCheckService } from "./renewal-check.service"
import type { ServingStore } from "./serving.store"
import type { VersionStore } from "./version.store"

interface Deps extends IssuingRunDeps, Omit<RenewalCheckDeps, "runs"> {
  db: RenewalCheckDeps["db"] & Pick<Db, "transaction">
  certificates: CertificateStore
  versions: VersionStore
  serving: ServingStore
  jobs: Pick<JobStore, "liveIssuing">
  queue: Pick<JobQueue, "createAll" | "move" | "endRetries">
  lifecycle: Pick<LifecycleService, "moveAll" | "settle">
  audit: Pick<AuditService, "append">
}

export const renewalService = (deps: Deps) => {
  const { db, certificates, versions, serving, jobs, queue, lifecycle, audit } = deps
  const runs = issuingRunService(deps)
  const check = renewalCheckService({ ...deps, runs })

  return {
    /**
     * Opens an issuing run now, whatever the date.
     * @throws AppError `not_found`; `invalid_state` archived, revoked or renewed by its own client; `conflict` when one is
     *   under way and `force` is not given
     */
    trigger: (id: string, { force }: { force: boolean }, actor: Actor): Promise<{ jobId: string }> =>
      db.transaction(async (tx) => {
        const certificate = await certificates.lock(tx, id)
        if (certificate === null) throw new AppError("not_found", `certificate ${id} does not exist`)
        if (isTerminal(certificate.status)) {
          throw new AppError("invalid_state", `certificate ${id} is ${certificate.status} and cannot be renewed`)
        }
        if (isRenewedByItsClient(certificate.source)) {
          throw new AppError("invalid_state", `certificate ${id} came by ${certificate.source}: its client renews it`)
        }
        if (certificate.status === "RenewalInProgress" && !force) {
          throw new AppError("conflict", `a renewal of certificate ${id} is already running`)
        }
        const rules = await certificates.rules(tx, certificate)
        const needsApproval = rules.profile?.requiresApproval === true
        const live = await jobs.liveIssuing(tx, id)
        if (needsApproval && !force && live.some((job) => job.status === "AwaitingApproval")) {
          throw new AppError("conflict", `a renewal of certificate ${id} is already waiting for approval`)
        }
        for (const job of live) {
          // What waits for its retry would come back beside the new run.
          if (mayRetry(job)) await queue.endRetries(tx, job)
          else {
            await queue.move(tx, job, "Cancelled", {
              actor,
              action: "job_cancelled",
              set: { lastError: "replaced by a renewal that was asked for" },
            })
          }
        }
        const wasIssued = await versions.exists(tx, id)
        const places = await serving.places(id, tx)
        const agentIds = [...new Set(places.map((place) => place.agentId))]
        const run = { certificate, rules, places, agentIds, needsApproval }
        const type = wasIssued ? "Renewal" : "Issuance"
        const opened = (await runs.open(tx, [run], { type, actor, trigger: "manual" })).get(id) ?? []
        const first = opened[0]
        if (first === undefined) throw new AppError("conflict", `a renewal of certificate ${id} is already running`)
        await audit.append(tx, {
          actor,
          action: "renewal_triggered",
          resourceType: "certificate",
          resourceId: id,
          details: { job_id: first.id, job_ids: opened.map((job) => job.id), force },
        })
        await lifecycle.settle(tx, id)
        return { jobId: first.id }
      }),

    checkOne: check.checkOne,
    checkAll: check.checkAll,
  }
}

export type RenewalService = ReturnType<typeof renewalService>
