/** A deployment job: fetch, check, find the key, let the engine carry out the target's plan, prove it, report. */
import { X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import type { Logger } from "@logtape/logtape"
import type { DeploymentFacts } from "../src/agents/agent-protocol.schema"
import type { AgentClient, Work } from "../src/client/agent-client"
import type { Clock } from "../src/clock"
import { secretKeysOf } from "../src/connectors/config"
import type { ProbeRequest, ProbeResult } from "../src/connectors/probe"
import { type ReferenceRules, resolveReferences } from "../src/connectors/secret-reference"
import { targetConnector } from "../src/connectors/targets/catalog"
import type { Target, TargetDeps } from "../src/connectors/targets/contract"
import { endpointIn, servedNameIn } from "../src/connectors/targets/endpoint"
import { AppError, messageOf } from "../src/errors"
import { type DeployEngine, DeploymentFailure } from "./deploy/engine"
import { withLocks } from "./deploy/locks"
import type { Keystore } from "./keystore"
import { checkedChain } from "./material"
import type { Outbox } from "./outbox"
import type { WorkSlots } from "./slots"
import { pause, type Repeating, repeatedly } from "./waiting"

export interface DeploymentJobDeps {
  readonly client: AgentClient
  readonly outbox: Pick<Outbox, "status" | "verification">
  readonly slots: WorkSlots
  readonly keystore: Keystore
  readonly engine: DeployEngine
  readonly targetDeps: TargetDeps
  /** Where secrets are found that a configuration names instead of holding. */
  readonly references: ReferenceRules
  readonly clock: Clock
  readonly log: Logger
  readonly repeating: Repeating
  readonly verification: { readonly isEnabled: boolean; readonly delayMs: number; readonly timeoutMs: number }
  probe(request: ProbeRequest): Promise<ProbeResult>
}

const longestError = 8192
/** After a look that did not show the deployed certificate. */
const furtherLooks = 2

/** Names the step in front of what went wrong in it: the words operators search their logs for. */
const during = async <R>(step: string, task: () => R | Promise<R>): Promise<R> => {
  try {
    return await task()
  } catch (error) {
    throw new Error(`${step}: ${messageOf(error)}`, { cause: error })
  }
}

const open = ({ targetDeps, references }: DeploymentJobDeps, work: Work): Promise<Target | null> =>
  during("connector init failed", () => {
    if (!work.target_type) return null
    const connector = targetConnector(work.target_type)
    const config = resolveReferences(work.target_config ?? {}, secretKeysOf(connector.config), references)
    return connector.open(config, targetDeps)
  })

/** Whether the job ended well. What went wrong is reported as the job's error. */
export const runDeploymentJob = (deps: DeploymentJobDeps, work: Work): Promise<boolean> =>
  // One deployment per target at a time, whatever the files: two could leave a mixture of both. Until it is verified: the next
  // one would make its proof fail.
  withLocks([`target ${work.target_id ?? ""}`], async () => {
    const { outbox, slots, log, repeating } = deps
    const jobId = work.id
    let deployed: Deployed
    try {
      const done = await slots.use(async () => {
        // What is not begun is not in hand: the server hands it out again to the next process.
        if (repeating.signal.aborted) return null
        const [, result] = await Promise.all([reportRunning(deps, jobId), settled(deploy(deps, work))])
        if ("error" in result) throw result.error
        return result.value
      })
      if (done === null) return false
      deployed = done
    } catch (error) {
      log.error("job {jobId} failed: {error}", { jobId, certificateId: work.certificate_id, error: messageOf(error) })
      const facts = { error: messageOf(error).slice(0, longestError), ...factsOf(error) }
      await outbox.status(jobId, { status: "Failed", ...facts })
      return false
    }
    await verify(deps, work, deployed.fingerprint)
    await outbox.status(jobId, {
      status: "Completed",
      ...(deployed.wasInPlace ? { deployment: { idempotent: true } } : {}),
    })
    return true
  })

/** Beside the work, not before it: it is news for people, and nothing depends on it. */
const reportRunning = ({ client, log }: DeploymentJobDeps, jobId: string): Promise<void> =>
  client
    .reportStatus(jobId, { status: "Running" })
    .catch((problem) => log.warn("job {jobId}: report failed: {error}", { jobId, error: messageOf(problem) }))

/** An outcome that can be waited for together with others. */
const settled = <R>(task: Promise<R>): Promise<{ value: R } | { error: unknown }> =>
  task.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )

/** What is known of a failed deployment that was begun. */
const factsOf = (error: unknown): { deployment?: DeploymentFacts } => {
  if (error instanceof DeploymentFailure) {
    const { failedStep, rollback } = error.outcome
    return { deployment: { failed_step: failedStep, ...(rollback === null ? {} : { rollback }) } }
  }
  return error instanceof Error && error.cause !== undefined ? factsOf(error.cause) : {}
}

interface Deployed {
  readonly fingerprint: string
  /** Nothing was written and nothing reloaded. */
  readonly wasInPlace: boolean
}

/**
 * A target that says by which name it is asked for gets no certificate without that name. Only where it says so outright: the
 * host to look at may well have another name than what it serves.
 */
const demandName = (leafDer: Buffer, { target_config }: Work): void => {
  const name = servedNameIn(target_config ?? {})
  if (name === null || isIP(name) !== 0 || new X509Certificate(leafDer).checkHost(name) !== undefined) return
  throw new AppError(
    "validation",
    `the certificate is not for ${name}, the name that the target is asked for (verify_server_name); nothing was changed`,
  )
}

const deploy = async (deps: DeploymentJobDeps, work: Work): Promise<Deployed> => {
  const { client, keystore, engine, clock, log, repeating } = deps
  const { leaf, certPem, chainPem } = await during("cert fetch failed", async () => {
    const answer = await repeatedly(repeating, () => client.certificate(work.certificate_id, work.version_id ?? null))
    return checkedChain(answer, work.fingerprint_sha256 || null, clock.now())
  })
  await during("deployment failed", () => demandName(leaf.der, work))
  const { slot, keyPem } = await during("key read failed", () => keystore.keyFor(work.certificate_id, leaf.der))
  const target = await open(deps, work)
  let wasInPlace = false
  if (target !== null) {
    await during("deployment failed", async () => {
      const plan = await target.plan({ certificateId: work.certificate_id, jobId: work.id, certPem, chainPem, keyPem })
      const { isIdempotent } = await engine.deploy(plan, leaf.fingerprint)
      wasInPlace = isIdempotent
      log.info(isIdempotent ? "job {jobId}: {address} is up to date" : "job {jobId}: deployed to {address}", {
        jobId: work.id,
        certificateId: work.certificate_id,
        address: plan.address,
        deploymentId: plan.deploymentId,
      })
    })
  }
  // Only now: had the deployment failed, the deployed certificate's key would have lost its place.
  if (slot === "next") {
    await during("key promotion failed", () => keystore.promote(work.certificate_id, leaf.der))
  }
  return { fingerprint: leaf.fingerprint, wasInPlace }
}

/** Looks at what is served and tells the server. Never fails the job: the server draws its own conclusions. */
const verify = async (deps: DeploymentJobDeps, work: Work, expected: string): Promise<void> => {
  const { outbox, log, verification, probe, repeating } = deps
  if (!verification.isEnabled || !work.target_id || !work.target_type) return
  const endpoint = endpointIn(work.target_config ?? {}, targetConnector(work.target_type).isManagedRemotely)
  if (endpoint === null) {
    log.info("job {jobId}: not verified, the target names no endpoint (verify_host)", { jobId: work.id })
    return
  }
  const look = async (waitMs: number) => {
    await pause(waitMs, repeating.signal)
    return probe({ ...endpoint, timeoutMs: verification.timeoutMs })
  }
  const isExpected = (seen: ProbeResult) => seen.ok && seen.served.fingerprint === expected
  let result = await look(verification.delayMs)
  // A worker of before the reload may have answered, or the service is still starting.
  for (let again = 1; again <= furtherLooks && !isExpected(result) && !repeating.signal.aborted; again++) {
    result = await look(verification.delayMs * again)
  }
  const actual = result.ok ? result.served.fingerprint : ""
  const verified = isExpected(result)
  if (!verified) {
    log.warn("job {jobId}: {address} does not serve the deployed certificate: {problem}", {
      jobId: work.id,
      address: result.address,
      problem: result.ok ? `it serves ${actual}` : result.error,
    })
  }
  await outbox.verification(work.id, {
    target_id: work.target_id,
    expected_fingerprint: expected,
    actual_fingerprint: actual,
    verified,
    error: result.ok ? "" : result.error,
  })
}

/** A check of a target's configuration on its host. A connector that cannot check has nothing against it. */
export const runValidationJob = async (deps: DeploymentJobDeps, work: Work): Promise<boolean> => {
  const { client, log } = deps
  let problem: string | null = null
  try {
    const target = await open(deps, work)
    await target?.check?.()
  } catch (error) {
    problem = messageOf(error)
  }
  await client
    .reportStatus(work.id, problem === null ? { status: "Completed" } : { status: "Failed", error: problem })
    .catch((error) => log.warn("job {jobId}: report failed: {error}", { jobId: work.id, error: messageOf(error) }))
  return problem === null
}
