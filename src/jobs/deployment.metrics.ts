/** Counts deployments and what agents tell of them. In memory: a server that starts begins at 0, which is what counters may do. */
import { Counter, type Registry } from "prom-client"
import type { DeploymentFacts } from "../agents/agent-protocol.schema"
import { targetConnectors } from "../connectors/targets/catalog"
import type { Db, Tx } from "../db/db"
import type { JobRow } from "./job.store"

interface Deps {
  readonly registry: Registry
  readonly db: Pick<Db, "afterCommit">
  /** Of a target; rejects where it is gone. */
  readonly typeOf: (targetId: string) => Promise<string>
}

/** Targets whose type is remembered; more are looked up anew. */
const mostRemembered = 10_000
const goneTarget = "unknown"

export const deploymentMetrics = ({ registry, db, typeOf }: Deps) => {
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({
      name: `certctl_deploy_${name}_total`,
      help,
      labelNames: ["target_type", ...labelNames],
      registers: [registry],
    })
  const attempts = counter("attempts", "Deployments that ended", "result")
  const validateFailures = counter("validate_failures", "Deployments whose new files the check refused")
  const reloadFailures = counter("reload_failures", "Deployments whose service could not be reloaded")
  const verifyFailures = counter(
    "post_verify_failures",
    "Deployments after which another certificate was served, or none",
  )
  const rollbacks = counter("rollback", "Deployments that were undone", "outcome")
  const idempotent = counter("idempotent_skip", "Deployments that found everything in place")
  const stepFailures = { validate: validateFailures, reload: reloadFailures, verify: verifyFailures }

  // All labels from the start: a rate over a series that appears later misses its first event.
  for (const target_type of [...targetConnectors.map(({ type }) => type), goneTarget]) {
    for (const result of ["success", "failure"]) attempts.inc({ target_type, result }, 0)
    for (const outcome of ["restored", "also_failed"]) rollbacks.inc({ target_type, outcome }, 0)
    for (const each of [...Object.values(stepFailures), idempotent]) each.inc({ target_type }, 0)
  }

  const types = new Map<string, string>()
  const lookUp = async (targetId: string | null): Promise<string> => {
    if (targetId === null) return goneTarget
    const known = types.get(targetId)
    if (known !== undefined) return known
    const type = await typeOf(targetId).catch(() => goneTarget)
    if (types.size >= mostRemembered) types.clear()
    if (type !== goneTarget) types.set(targetId, type)
    return type
  }
  /** Nothing is counted that was not committed. */
  const after = (tx: Tx, { targetId }: Pick<JobRow, "targetId">, count: (target_type: string) => void): void =>
    db.afterCommit(tx, () => void lookUp(targetId).then(count))

  return {
    /** A job has changed its state. */
    moved(tx: Tx, job: JobRow): void {
      if (job.type !== "Deployment" || (job.status !== "Completed" && job.status !== "Failed")) return
      const result = job.status === "Completed" ? "success" : "failure"
      after(tx, job, (target_type) => attempts.inc({ target_type, result }))
    },

    /** What the agent says of a deployment that ended. */
    reported(tx: Tx, job: JobRow, { idempotent: wasThere, failed_step: step, rollback }: DeploymentFacts): void {
      after(tx, job, (target_type) => {
        if (wasThere === true) idempotent.inc({ target_type })
        const stepCounter = Object.entries(stepFailures).find(([name]) => name === step)?.[1]
        stepCounter?.inc({ target_type })
        if (rollback === "restored" || rollback === "also_failed") rollbacks.inc({ target_type, outcome: rollback })
      })
    },

    /** What the agent saw on the wire afterwards. */
    verified(tx: Tx, job: JobRow, isGood: boolean): void {
      if (!isGood) after(tx, job, (target_type) => verifyFailures.inc({ target_type }))
    },
  }
}

export type DeploymentMetrics = ReturnType<typeof deploymentMetrics>
