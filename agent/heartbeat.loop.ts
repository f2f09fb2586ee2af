/** Tells the server that this agent lives. Independent of the work in hand: a long deployment is no silence. */
import type { Logger } from "@logtape/logtape"
import type { HeartbeatBody } from "../src/agents/agent-protocol.schema"
import type { AgentClient } from "../src/client/agent-client"
import { AppError, messageOf } from "../src/errors"
import { countFailure, type FailureCount } from "./poll.loop"
import { pause } from "./waiting"

export interface HeartbeatDeps {
  readonly client: Pick<AgentClient, "heartbeat">
  readonly failures: FailureCount
  readonly log: Logger
  facts(): HeartbeatBody
}

/** One heartbeat; a failure is counted and logged. */
export const beat = async ({ client, failures, log, facts }: HeartbeatDeps): Promise<"ok" | "failed" | "retired"> => {
  try {
    await client.heartbeat(facts())
    failures.inARow = 0
    return "ok"
  } catch (error) {
    if (error instanceof AppError && error.code === "gone") return "retired"
    log.warn("heartbeat failed ({failures} in a row): {error}", {
      failures: countFailure(failures, error),
      error: messageOf(error),
    })
    return "failed"
  }
}

/** Beats every interval until the signal fires or the agent was retired. The first beat is the caller's. */
export const heartbeatLoop = async (
  deps: HeartbeatDeps,
  intervalMs: number,
  signal: AbortSignal,
): Promise<"stopped" | "retired"> => {
  for (;;) {
    await pause(intervalMs, signal)
    if (signal.aborted) return "stopped"
    if ((await beat(deps)) === "retired") return "retired"
  }
}
