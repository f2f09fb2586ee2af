/** The pull agent as a whole: settings, parts, loops, orderly end. */
import { join } from "node:path"
import type { Logger } from "@logtape/logtape"
import { maxWaitSeconds } from "../src/agents/agent-protocol.schema"
import { type AgentClient, agentClient, type Work } from "../src/client/agent-client"
import { httpTransport } from "../src/client/http-transport"
import { type Clock, systemClock } from "../src/clock"
import { probe } from "../src/connectors/probe"
import { holdDataDirectory, prepareDataDirectory } from "../src/data-directory"
import { messageOf } from "../src/errors"
import { logger } from "../src/logging"
import { version } from "../src/version"
import type { AgentConfig } from "./agent.config"
import { type CsrJobDeps, runCsrJob } from "./csr.job"
import { deployEngine } from "./deploy/engine"
import { type DeploymentJobDeps, runDeploymentJob, runValidationJob } from "./deployment.job"
import { beat, type HeartbeatDeps, heartbeatLoop } from "./heartbeat.loop"
import { hostFacts } from "./host"
import { keySealFor, openKeystore } from "./keystore"
import { type Outbox, openOutbox } from "./outbox"
import { type FailureCount, pollLoop } from "./poll.loop"
import { scanLoop } from "./scan.loop"
import { workSlots } from "./slots"
import { targetDepsOf } from "./target-deps"

/** How long jobs in hand may go on after the agent was asked to stop. */
const drainMs = 30_000

/**
 * Runs until the signal fires or the server says that this agent was retired, which both end well. Fails with AppError when
 * it cannot start.
 */
export const agentProcess = async (
  config: AgentConfig,
  stop: AbortSignal,
  { clock = systemClock, log = logger("agent") }: { clock?: Clock; log?: Logger } = {},
): Promise<void> => {
  prepareDataDirectory(config.dataDir)
  const release = holdDataDirectory(config.dataDir, "agent")
  try {
    await work(config, stop, clock, log)
  } finally {
    release()
  }
}

const work = async (config: AgentConfig, stop: AbortSignal, clock: Clock, log: Logger): Promise<void> => {
  if (config.trust.kind === "none") {
    log.warn("INSECURE: the server's certificate is not verified; whoever sits in between reads keys and gives orders")
  }
  const client = agentClient(
    httpTransport({
      server: config.server,
      apiKey: config.apiKey,
      trust: config.trust,
      userAgent: `certctl-agent/${version.version}`,
    }),
    config.agentId,
  )
  // Fires when the server is not to be asked any more: at the end of the process and when the agent was retired.
  const ending = new AbortController()
  const onStop = () => ending.abort()
  stop.addEventListener("abort", onStop, { once: true })
  if (stop.aborted) onStop()

  const outbox = openOutbox({ folder: join(config.dataDir, "outbox"), client, log })
  const run = await jobRunner(config, client, outbox, clock, log, ending.signal)
  const failures: FailureCount = { inARow: 0, isServerAway: false }
  const heartbeat: HeartbeatDeps = { client, failures, log, facts: hostFacts }
  log.info("agent {agentId} {version} works for {server}", {
    agentId: config.agentId,
    version: version.version,
    server: config.server,
  })

  const retired = (): void => {
    if (ending.signal.aborted) return
    log.warn("agent {agentId} was retired on the server: ending", { agentId: config.agentId })
    ending.abort()
  }
  if ((await beat(heartbeat)) === "retired") retired()
  const beating = heartbeatLoop(heartbeat, config.heartbeatMs, ending.signal)
  const polling = pollLoop(
    {
      server: config.server,
      client,
      failures,
      pollMs: config.pollMs,
      backoffUnitMs: config.backoffUnitMs,
      waitSeconds: maxWaitSeconds,
      log,
      undelivered: outbox.jobIds,
      onAnswer: outbox.nudge,
      run,
    },
    ending.signal,
  )
  const whenRetired = (end: "stopped" | "retired") => (end === "retired" ? retired() : undefined)
  const cachePath = join(config.dataDir, "scan-cache.db")
  const { agentId, backoffUnitMs } = config
  const scanning = scanLoop({ client, agentId, ...config.discovery, cachePath, backoffUnitMs, log }, ending.signal)
  const delivering = outbox.run(config.backoffUnitMs, ending.signal)
  const loops = Promise.all([beating.then(whenRetired), polling.then(whenRetired), scanning, delivering])

  // Until the end is asked for the loops run; from then on the jobs in hand have their time, and no more.
  const { promise: overdue, resolve } = Promise.withResolvers<void>()
  ending.signal.addEventListener("abort", () => setTimeout(resolve, drainMs).unref(), { once: true })
  await Promise.race([loops, overdue])
  stop.removeEventListener("abort", onStop)
  log.info("agent {agentId} ended", { agentId: config.agentId })
}

/** Builds what jobs need, repairs what a killed process left, and returns the function that does one job. */
const jobRunner = async (
  config: AgentConfig,
  client: AgentClient,
  outbox: Outbox,
  clock: Clock,
  log: Logger,
  ending: AbortSignal,
): Promise<(work: Work) => Promise<boolean>> => {
  const targetDeps = targetDepsOf(config, clock, (message) => log.warn("{message}", { message }))
  const engine = deployEngine({
    journalFolder: join(config.dataDir, "deployments"),
    clock,
    backupRetention: config.backupRetention,
    run: targetDeps.run,
    probe,
    // Not cut short by the end: a deployment is proven or undone before the process goes.
    wait: (milliseconds) => Bun.sleep(milliseconds),
    warn: (message) => log.warn("{message}", { message }),
  })
  try {
    for (const line of await engine.recover()) log.warn("an interrupted deployment was undone: {line}", { line })
  } catch (error) {
    // Deployments of other files go on; those of these files try again, and report it.
    log.error("an interrupted deployment could not be undone: {error}", { error: messageOf(error) })
  }
  const keystore = openKeystore(config.keyDir, config.keyType, keySealFor(config.keyDir, config.keyPassphrase))
  const sealed = await keystore.sealOpenKeys()
  if (sealed > 0) log.info("{sealed} private keys were sealed", { sealed })
  const repeating = { unitMs: config.backoffUnitMs, signal: ending }
  const slots = workSlots(config.parallelJobs)
  const csr: CsrJobDeps = { client, outbox, keystore, log, repeating }
  const deployment: DeploymentJobDeps = {
    client,
    outbox,
    slots,
    keystore,
    engine,
    targetDeps,
    references: { env: process.env, secretsDir: config.secretsDir },
    clock,
    log,
    repeating,
    verification: config.verification,
    probe,
  }

  return async (job) => {
    try {
      if (job.status === "AwaitingCSR") {
        return await slots.use(async () => (ending.aborted ? false : await runCsrJob(csr, job)))
      }
      if (job.type === "Deployment") return await runDeploymentJob(deployment, job)
      if (job.type === "Validation") return await runValidationJob(deployment, job)
      log.debug("job {jobId}: type {type} is not for agents of this version", { jobId: job.id, type: job.type })
      return true
    } catch (error) {
      log.error("job {jobId}: {error}", { jobId: job.id, error: messageOf(error) })
      return false
    }
  }
}
