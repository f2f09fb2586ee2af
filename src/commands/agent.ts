/** `certctl agent` and `certctl agent join`. */

import { agentProcess } from "../../agent/agent"
import { type AgentFlags, agentConfig, withFlags } from "../../agent/agent.config"
import { systemClock } from "../clock"
import { type Env, environmentReader } from "../config/environment"
import { configureLogging, logger } from "../logging"
import { print } from "./output"

export { type JoinOptions, joinAgent } from "../../agent/join"

/**
 * Runs the agent until SIGTERM or SIGINT, or until it was retired on the server, and returns the exit code, 0: a service
 * manager must not start a retired agent again. The job in hand is finished first (30 s at most). Fails with AppError when
 * it cannot start.
 */
export const runAgent = async (env: Env, flags: AgentFlags = {}): Promise<number> => {
  const log = logger("agent")
  const settings = environmentReader(env, () => undefined)
  configureLogging({
    level: settings.oneOf("CERTCTL_LOG_LEVEL", ["debug", "info", "warn", "error"], "info"),
    format: settings.oneOf("CERTCTL_LOG_FORMAT", ["json", "text"], "json"),
  })
  const config = agentConfig(withFlags(env, flags), (line) => log.warn("{line}", { line }))
  if (flags.apiKey !== undefined && !flags.apiKey.startsWith("file:")) {
    log.warn("--api-key shows the key to every user of this host: use CERTCTL_API_KEY, or --api-key file:PATH")
  }
  const stop = new AbortController()
  const end = () => stop.abort()
  process.once("SIGTERM", end)
  process.once("SIGINT", end)
  try {
    await agentProcess(config, stop.signal, { log })
  } finally {
    process.off("SIGTERM", end)
    process.off("SIGINT", end)
  }
  return 0
}

const marks = { ok: "ok  ", warn: "warn", fail: "FAIL", skip: "-   " } as const

/** Prints one line for each thing an agent needs; the exit code is 1 when one of them fails. */
export const examineAgent = async (
  env: Env,
  flags: AgentFlags & { readonly targetConfig?: readonly string[]; readonly json?: boolean },
): Promise<number> => {
  // Not with the agent, which runs for months without it.
  const { examine } = await import("../../agent/doctor")
  const findings = await examine({
    env: withFlags(env, flags),
    clock: systemClock,
    targetConfigs: flags.targetConfig ?? [],
  })
  const lines = findings.map(({ check, status, detail, help }) =>
    `${marks[status]}  ${check.padEnd(15)} ${detail}${help === undefined ? "" : ` -- ${help}`}`.replaceAll("\n", " "),
  )
  print(flags.json === true ? JSON.stringify(findings, null, 2) : lines.join("\n"))
  return findings.some(({ status }) => status === "fail") ? 1 : 0
}
