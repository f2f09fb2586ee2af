/** `certctl agent` and `certctl agent join`. */

import { agentProcess } from "../../agent/agent"
import { type AgentFlags, agentConfig, withFlags } from "../../agent/agent.config"
import { type Env, environmentReader } from "../config/environment"
import { configureLogging, logger } from "../logging"

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
