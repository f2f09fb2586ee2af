/** `certctl agent` as a process of its own: joined with a token, started, killed, started again. */
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync } from "node:fs"
import type { ServerProcess } from "./server-process"
import { executable, type Program, type Stage } from "./stage"

export interface AgentProcess {
  readonly id: string
  readonly dataDir: string
  readonly keyDir: string
  readonly apiKey: string
  start(): void
  process(): Program
  kill(): Promise<void>
  stop(): Promise<number>
  log(): string
}

export interface AgentOptions {
  readonly name?: string
  /** A user id (and group id) other than ours; only root may ask for that. */
  readonly user?: number
  readonly env?: Readonly<Record<string, string>>
}

/** Joins as a person would: token from the API, `certctl agent join`. The agent does not run yet. */
export const joinedAgent = async (
  stage: Stage,
  server: ServerProcess,
  { name = "agent", env: given = {}, user }: AgentOptions = {},
): Promise<AgentProcess> => {
  const { token } = await server.post("/api/v1/join-tokens", {})
  const dataDir = stage.at(name)
  const program = stage.at(`${name}-certctl`)
  const env = { CERTCTL_DATA_DIR: dataDir, CERTCTL_LOG_LEVEL: "debug", ...given }
  if (user !== undefined) {
    // The way to its folder is open to it, the folder is its own.
    chmodSync(stage.folder, 0o711)
    mkdirSync(dataDir, { mode: 0o700 })
    chownSync(dataDir, user, user)
    // Wherever this checkout lies, others may not be let in there.
    copyFileSync(executable, program)
    chmodSync(program, 0o755)
  }
  const as: readonly [string, ...string[]] =
    user === undefined
      ? [executable]
      : ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--no-new-privs", program]
  const join = stage.run([...as, "agent", "join", "--server", server.url, "--name", name], {
    env: { ...env, CERTCTL_JOIN_TOKEN: token },
    name: `${name}-join`,
  })
  if ((await join.exited) !== 0) throw new Error(`certctl agent join failed: ${join.stderr()}`)
  const identity = JSON.parse(readFileSync(`${dataDir}/agent.json`, "utf8")) as { agent_id: string; api_key: string }

  let process: Program | undefined
  const running = (): Program => {
    if (process === undefined) throw new Error(`${name} was never started`)
    return process
  }
  return {
    id: identity.agent_id,
    apiKey: identity.api_key,
    dataDir,
    keyDir: `${dataDir}/keys`,
    start() {
      process = stage.run([...as, "agent"], { env, name })
    },
    process: running,
    kill: () => running().kill(),
    stop: () => running().stop(),
    log: () => running().stdout() + running().stderr(),
  }
}
