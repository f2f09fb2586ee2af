/** The agent's side of the agent protocol: one method per call, wire names in, our names out. */
import type * as v from "valibot"
import {
  type AgentTarget,
  AgentTargets,
  CertificateAnswer,
  CsrAnswer,
  type DiscoveryBody,
  type HeartbeatBody,
  maxHoldingJobs,
  RegistrationAnswer,
  type RegistrationBody,
  type StatusReport,
  type VerifyBody,
  WorkAnswer,
  type WorkItem,
} from "../agents/agent-protocol.schema"
import { AppError } from "../errors"
import { answerIn, apiError } from "./api-answer"
import { type ApiResponse, pathOf, type Transport } from "./http-transport"

export type Work = v.InferOutput<typeof WorkItem>

/** What the server said to a CSR. `refused` keeps the raw body: the protocol wants it in the job's error. */
export type CsrVerdict =
  | { readonly kind: "signed" | "accepted" }
  | { readonly kind: "refused"; readonly status: number; readonly body: string; readonly retryAfterMs: number | null }

export type AgentClient = ReturnType<typeof agentClient>

/** Calls made with an agent's id and key. Every method fails with AppError; `gone` means that the agent was retired. */
export const agentClient = (send: Transport, agentId: string) => {
  const own = (...rest: readonly string[]) => pathOf("api", "v1", "agents", agentId, ...rest)
  const expectOnly = (response: ApiResponse, status: number) => {
    if (response.status !== status) throw apiError(response)
  }

  return {
    async heartbeat(body: HeartbeatBody): Promise<void> {
      expectOnly(await send({ method: "POST", path: own("heartbeat"), json: body }), 200)
    },

    /** Asks to be held up to `waitSeconds`; servers that do not know the parameter answer at once. */
    async work(waitSeconds: number, holding: readonly string[], signal: AbortSignal): Promise<readonly Work[]> {
      const response = await send({
        method: "GET",
        path: own("work"),
        query: { wait: String(waitSeconds), holding: holding.slice(0, maxHoldingJobs).join(",") },
        timeoutMs: (waitSeconds + 30) * 1000,
        signal,
      })
      const { jobs, count } = answerIn(response, 200, WorkAnswer)
      if (count !== jobs.length) throw new AppError("unavailable", "the work answer's count differs from its jobs")
      return jobs
    },

    async submitCsr(csrPem: string, certificateId: string): Promise<CsrVerdict> {
      const json = { csr_pem: csrPem, certificate_id: certificateId }
      const response = await send({ method: "POST", path: own("csr"), json, timeoutMs: 60_000 })
      if (response.status !== 202) {
        return { kind: "refused", status: response.status, body: response.text, retryAfterMs: response.retryAfterMs }
      }
      return { kind: answerIn(response, 202, CsrAnswer).status === "csr_signed" ? "signed" : "accepted" }
    },

    /** Leaf and chain, PEM. */
    async certificate(certificateId: string, versionId: string | null): Promise<string> {
      const query = { version_id: versionId ?? undefined }
      const response = await send({ method: "GET", path: own("certificates", certificateId), query })
      return answerIn(response, 200, CertificateAnswer).certificate_pem
    },

    /** All that are not retired, with secrets where the key is the agent's own. Fails with `not_found` where the server cannot list them. */
    async targets(): Promise<AgentTarget[]> {
      const found: AgentTarget[] = []
      for (let page = 1; ; page++) {
        const query = { page: String(page), per_page: "500" }
        const { data, total } = answerIn(await send({ method: "GET", path: own("targets"), query }), 200, AgentTargets)
        found.push(...data)
        if (data.length === 0 || found.length >= total) return found
      }
    },

    async reportStatus(jobId: string, report: StatusReport): Promise<void> {
      expectOnly(await send({ method: "POST", path: own("jobs", jobId, "status"), json: report }), 200)
    },

    async reportVerification(jobId: string, body: VerifyBody): Promise<void> {
      expectOnly(await send({ method: "POST", path: pathOf("api", "v1", "jobs", jobId, "verify"), json: body }), 200)
    },

    async reportDiscovery(body: DiscoveryBody): Promise<void> {
      expectOnly(await send({ method: "POST", path: own("discoveries"), json: body, timeoutMs: 120_000 }), 202)
    },
  }
}

/** Registers a new agent; the transport carries the join token as its key. The answer holds the agent's own key. */
export const registerAgent = async (send: Transport, body: RegistrationBody) =>
  answerIn(await send({ method: "POST", path: "/api/v1/agents", json: body }), 201, RegistrationAnswer)
