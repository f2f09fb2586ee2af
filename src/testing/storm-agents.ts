/** Many agents in one process, over the real routes: each asks for work, makes CSRs and reports what it has put in place. */
import { agentClient, type Work } from "../client/agent-client"
import type { ApiRequest, ApiResponse, Transport } from "../client/http-transport"
import { AppError } from "../errors"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"

/** Sends a request to the server, by socket or within the process. */
export type Fetch = (request: Request) => Response | Promise<Response>

const transportOver =
  (fetch: Fetch, base: string, apiKey: string): Transport =>
  async ({ method, path, query = {}, json, signal }: ApiRequest): Promise<ApiResponse> => {
    const url = new URL(path, base)
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value)
    const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" }
    const body = json === undefined ? null : JSON.stringify(json)
    const response = await fetch(new Request(url, { method, headers, body, signal: signal ?? null }))
    const bytes = Buffer.from(await response.arrayBuffer())
    const retryAfter = response.headers.get("retry-after")
    return {
      status: response.status,
      statusText: response.statusText,
      contentType: (response.headers.get("content-type") ?? "").split(";")[0] ?? "",
      bytes,
      text: bytes.toString(),
      date: null,
      retryAfterMs: retryAfter === null ? null : Number(retryAfter) * 1000,
    }
  }

interface Options {
  readonly fetch: Fetch
  readonly base: string
  readonly agents: readonly { readonly id: string; readonly apiKey: string }[]
  /** How long an agent waits before it asks again, after a CSR that was refused. */
  readonly pauseMs: number
  /** How often it says that it is alive. */
  readonly heartbeatMs: number
}

/** CSRs that one agent has under way at a time. */
const csrsAtOnce = 4

export const stormAgents = async ({ fetch, base, agents, pauseMs, heartbeatMs }: Options) => {
  // One key for all certificates of an agent: what it costs to make keys is not the server's.
  const privateKey = await generateKey("ecdsa-p256")
  const stopping = new AbortController()
  const counts = { polls: 0, csrs: 0, busy: 0, refused: 0, deployments: 0, repeated: 0, unheard: 0, lost: 0 }
  const unexpected: string[] = []
  /** Why calls were lost, and how often. */
  const losses = new Map<string, number>()

  const runAgent = async ({ id, apiKey }: Options["agents"][number]): Promise<void> => {
    const client = agentClient(transportOver(fetch, base, apiKey), id)
    const submit = async ({ certificate_id, common_name, sans }: Work): Promise<boolean> => {
      counts.csrs += 1
      const csrPem = buildCsr({ commonName: common_name ?? "", sans: sans ?? [], privateKey })
      const verdict = await client.submitCsr(csrPem, certificate_id)
      if (verdict.kind !== "refused") return true
      if (verdict.status === 503) counts.busy += 1
      else if (verdict.status === 500) counts.refused += 1
      else unexpected.push(`CSR: ${verdict.status} ${verdict.body}`)
      return false
    }
    /** What was put in place is reported until it is heard, as agents do: a refusal aside, the report would otherwise be lost. */
    const heard = async (call: () => Promise<unknown>): Promise<void> => {
      for (;;) {
        try {
          await call()
          return
        } catch (error) {
          if (!(error instanceof AppError) || !error.retryable || stopping.signal.aborted) throw error
          counts.repeated += 1
          await Bun.sleep(pauseMs)
        }
      }
    }
    const deploy = async (item: Work): Promise<void> => {
      await heard(() => client.certificate(item.certificate_id, item.version_id ?? null))
      await heard(() => client.reportStatus(item.id, { status: "Completed" }))
      counts.deployments += 1
    }
    const beat = (): void => void client.heartbeat({}).catch(() => (counts.unheard += 1))
    const heart = setInterval(beat, heartbeatMs)
    stopping.signal.addEventListener("abort", () => clearInterval(heart))
    while (!stopping.signal.aborted) {
      try {
        counts.polls += 1
        const items = await client.work(20, [], stopping.signal)
        let isRefused = false
        const waiting = items.values()
        const ended = await Promise.allSettled(
          Array.from({ length: csrsAtOnce }, async () => {
            for (const item of waiting) {
              if (stopping.signal.aborted) return
              if (item.status !== "AwaitingCSR") await deploy(item)
              else if (!(await submit(item))) isRefused = true
            }
          }),
        )
        // Not before all are done: what another still works on would be handed out again.
        for (const one of ended) if (one.status === "rejected") throw one.reason
        if (isRefused) await Bun.sleep(pauseMs)
      } catch (error) {
        if (stopping.signal.aborted) return
        // A busy database, or a job that was taken back: the agent asks again.
        if (error instanceof AppError) {
          counts.lost += 1
          const reason = error.message.replace(/\S*\d\S*/g, "…")
          losses.set(reason, (losses.get(reason) ?? 0) + 1)
        } else unexpected.push(String(error))
        await Bun.sleep(pauseMs)
      }
    }
  }

  const running = agents.map(runAgent)
  return {
    counts,
    /** What no agent should ever see. */
    unexpected,
    losses,
    async stop(): Promise<void> {
      stopping.abort()
      await Promise.all(running)
    },
  }
}
