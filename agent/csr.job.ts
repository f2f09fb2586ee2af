/** A job that awaits a CSR: stage key and request, send the request, leave the deployed key alone. */
import type { Logger } from "@logtape/logtape"
import type { AgentClient, Work } from "../src/client/agent-client"
import { messageOf } from "../src/errors"
import { type KeyType, keyTypes } from "../src/pki/keys"
import type { Keystore } from "./keystore"
import type { Outbox } from "./outbox"
import { type Repeating, repeatedly } from "./waiting"

export interface CsrJobDeps {
  readonly client: Pick<AgentClient, "submitCsr">
  readonly outbox: Pick<Outbox, "status">
  readonly keystore: Keystore
  readonly log: Logger
  readonly repeating: Repeating
}

/** What the server has not decided: it neither signed nor failed the job, so the same request is worth sending again. */
const undecided = new Set([429, 502, 503, 504])
const longestError = 4096

/** null: the server leaves it to us, or asks for what this agent cannot make; then the refusal says what the profile wants. */
const wantedKeyType = ({ key_algorithm: name }: Work): KeyType | null =>
  keyTypes.find((type) => type === name?.toLowerCase()) ?? null

/** Whether the job ended well. A failure is reported to the server in the words of its own answer. */
export const runCsrJob = async (
  { client, outbox, keystore, log, repeating }: CsrJobDeps,
  work: Work,
): Promise<boolean> => {
  const certificateId = work.certificate_id
  const fail = async (error: string): Promise<boolean> => {
    log.error("job {jobId} failed: {error}", { jobId: work.id, certificateId, error })
    await outbox.status(work.id, { status: "Failed", error: error.slice(0, longestError) })
    return false
  }

  try {
    const names = { commonName: work.common_name ?? "", sans: work.sans ?? [] }
    const csrPem = await keystore.stagedCsr(certificateId, names, wantedKeyType(work))
    const verdict = await repeatedly(
      repeating,
      () => client.submitCsr(csrPem, certificateId),
      (outcome) => (outcome.kind === "refused" && undecided.has(outcome.status) ? outcome.retryAfterMs : undefined),
    )
    if (verdict.kind !== "refused") {
      log.info("job {jobId}: CSR {verdict}", { jobId: work.id, certificateId, verdict: verdict.kind })
      return true
    }
    // The server will not sign this one, ever; the next job begins with a new key.
    if (verdict.status === 400) keystore.dropStaged(certificateId)
    return await fail(verdict.body.trim() || `the server refused the CSR with status ${verdict.status}`)
  } catch (error) {
    return fail(messageOf(error))
  }
}
