/** The proof on the wire: an endpoint that answered before a deployment has to serve the new certificate after it. */
import type { ProbeRequest, ProbeResult } from "../../src/connectors/probe"
import { addressOf } from "../../src/connectors/probe"
import type { PlanStep, ServedEndpoint } from "../../src/connectors/targets/contract"
import { AppError } from "../../src/errors"

interface ProofDeps {
  probe(request: ProbeRequest): Promise<ProbeResult>
  wait(milliseconds: number): Promise<void>
  warn(message: string): void
}

/** An endpoint that is not up proves nothing about a deployment, so it is asked before anything changes. */
export const endpointsAnswering = async (deps: ProofDeps, steps: readonly PlanStep[]): Promise<Set<PlanStep>> => {
  const answering = new Set<PlanStep>()
  for (const step of steps) {
    if (step.kind === "probe" && (await deps.probe(step.endpoint)).ok) answering.add(step)
  }
  return answering
}

/** Fails with `upstream` when an endpoint that did answer before does not come to serve the fingerprint. */
export const proveServed = async (
  deps: ProofDeps,
  endpoint: ServedEndpoint,
  fingerprint: string,
  didAnswer: boolean,
): Promise<void> => {
  const address = addressOf(endpoint.host, endpoint.port)
  let problem = ""
  let delayMs = endpoint.backoffMs
  for (let attempt = 1; attempt <= endpoint.attempts; attempt++) {
    const result = await deps.probe(endpoint)
    if (result.ok && result.served.fingerprint === fingerprint) return
    problem = result.ok
      ? `${address} serves ${result.served.fingerprint} instead of ${fingerprint}`
      : `${address}: ${result.error}`
    if (attempt < endpoint.attempts) await deps.wait(delayMs)
    delayMs = Math.min(delayMs * 2, endpoint.maxBackoffMs)
  }
  if (didAnswer) throw new AppError("upstream", problem)
  deps.warn(`${problem}; it did not answer before the deployment either, so the files stay`)
}
