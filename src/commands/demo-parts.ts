/** The processes beside a demo server: a TLS endpoint, and an agent of this machine that deploys to it. */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import { identityPath, readIdentity } from "../../agent/identity"
import { joinAgent } from "../../agent/join"
import { systemActor } from "../access/actor"
import type { Env } from "../config/environment"
import { pairIn } from "../demo/endpoint.server"
import { quickStartAgentName, quickStartHost } from "../demo/quick-start.service"
import { AppError, messageOf } from "../errors"
import { version } from "../version"
import type { RunningServer } from "./server"

const startLimitMs = 20_000
const endLimitMs = 2000
const tokenSeconds = 600
/** How targets call this executable: a bare name on the agent's PATH, as commands cannot hold paths with blanks. */
const program = "certctl-demo-endpoint"

export interface DemoParts {
  readonly endpointUrl: string
  /** Rejects, with the reason, when one of the processes ends before it should. */
  readonly failed: Promise<never>
  stop(): Promise<void>
}

/** The executable that runs now: itself when compiled, the runtime and its script in a checkout. */
const self = (): readonly string[] => (version.buildTime === "" ? [process.execPath, Bun.main] : [process.execPath])

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const writeProgram = (folder: string, endpointFolder: string): void => {
  const path = join(folder, program)
  const command = [...self(), "demo-endpoint", "--folder", endpointFolder].map(quoted).join(" ")
  writeFileSync(path, `#!/bin/sh\nexec ${command} "$@"\n`)
  chmodSync(path, 0o700)
}

const firstLine = async (output: ReadableStream<Uint8Array>): Promise<string> => {
  let text = ""
  const decoder = new TextDecoder()
  for await (const chunk of output) {
    text += decoder.decode(chunk, { stream: true })
    if (text.includes("\n")) break
  }
  return text.split("\n")[0] ?? ""
}

/** As this machine reaches the server that binds `host`. */
const localUrl = ({ url, config: { server } }: RunningServer): string => {
  const isAnywhere = server.host === "0.0.0.0" || server.host === "::" || server.host === ""
  return isAnywhere ? `${new URL(url).protocol}//127.0.0.1:${server.port}` : url
}

/** Makes this machine an agent, unless it has been one since a former start. Returns the agent's id. */
const joined = async ({ wired, caCertificatePem }: RunningServer, server: string, env: Env): Promise<string> => {
  const dataDir = env.CERTCTL_DATA_DIR ?? ""
  const former = readIdentity(dataDir)
  if (former !== null) {
    if (await wired.services.quickStart.isKnownAgent(former.agent_id)) return former.agent_id
    rmSync(identityPath(dataDir))
  }
  const join = async (name: string) => {
    const { token } = await wired.services.tokens.create({ ttlSeconds: tokenSeconds }, systemActor)
    // A certificate of the operator's own may have an issuer that this machine does not know; the peer is this very process.
    const insecure = caCertificatePem === null && server.startsWith("https:")
    return (await joinAgent({ server, token, name, env, ...(insecure ? { insecure } : {}) })).agent_id
  }
  try {
    return await join(quickStartAgentName)
  } catch (error) {
    if (!(error instanceof AppError && error.code === "conflict")) throw error
    // The former agent's identity was lost with its folder; its row stays until somebody retires it.
    return join(`${quickStartAgentName}-${Bun.randomUUIDv7().slice(-6)}`)
  }
}

const within = async <R>(limitMs: number, what: string, work: Promise<R>): Promise<R> => {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new AppError("unavailable", `${what} took longer than ${limitMs / 1000} s`)),
    limitMs,
  )
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Starts endpoint and agent, and has the quick start's certificate issued, deployed and seen there. */
export const startDemoParts = async (running: RunningServer, env: Env): Promise<DemoParts> => {
  const root = join(running.config.dataDir, "demo")
  const folders = { endpoint: join(root, "endpoint"), agent: join(root, "agent"), programs: join(root, "bin") }
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeProgram(folders.programs, folders.endpoint)

  const server = localUrl(running)
  const childEnv: Env = {
    PATH: `${folders.programs}${delimiter}${env.PATH ?? "/usr/local/bin:/usr/bin:/bin"}`,
    HOME: env.HOME,
    CERTCTL_DATA_DIR: folders.agent,
    // The port may be another one than at the last start.
    CERTCTL_SERVER_URL: server,
    CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY:
      running.caCertificatePem === null && server.startsWith("https:") ? "true" : undefined,
    CERTCTL_LOG_LEVEL: env.CERTCTL_LOG_LEVEL,
    CERTCTL_LOG_FORMAT: env.CERTCTL_LOG_FORMAT,
    // The endpoint answers the reload once it serves the new pair.
    CERTCTL_VERIFY_DELAY: "100ms",
  }
  const children: { readonly name: string; readonly process: Bun.Subprocess<"pipe", "pipe" | "ignore", "inherit"> }[] =
    []
  const failure = Promise.withResolvers<never>()
  let isStopping = false

  /** Its standard input stays open as long as this process lives: that is how it knows. */
  const start = (name: string, action: string, stdout: "pipe" | "ignore") => {
    const child = Bun.spawn([...self(), "demo-endpoint", action, "--folder", folders.endpoint], {
      env: childEnv,
      stdin: "pipe",
      stdout,
      stderr: "inherit",
    })
    children.push({ name, process: child })
    child.exited.then((code) => {
      if (!isStopping) failure.reject(new AppError("unavailable", `the ${name} ended with code ${code}`))
    })
    return child
  }

  const stop = async (): Promise<void> => {
    isStopping = true
    // The agent first: a deployment in hand still needs the endpoint.
    for (const { process: child } of children.toReversed()) {
      child.stdin.end()
      const timer = setTimeout(() => child.kill("SIGKILL"), endLimitMs)
      await child.exited
      clearTimeout(timer)
    }
  }

  try {
    const endpoint = start("demo endpoint", "serve", "pipe")
    const [line, agentId] = await within(
      startLimitMs,
      "the start of the demo's endpoint and agent",
      Promise.race([
        Promise.all([
          endpoint.stdout instanceof ReadableStream ? firstLine(endpoint.stdout) : "",
          joined(running, server, childEnv),
        ]),
        failure.promise,
      ]),
    )
    const port = Number.parseInt(line, 10)
    if (Number.isNaN(port)) throw new AppError("unavailable", "the demo endpoint did not say where it listens")
    start("demo agent", "agent", "ignore")
    await running.wired.services.quickStart.ensure(agentId, {
      ...pairIn(folders.endpoint),
      checkCommand: `${program} check`,
      reloadCommand: `${program} reload`,
      port,
      userId: process.getuid?.() ?? 0,
      groupId: process.getgid?.() ?? 0,
    })
    return { endpointUrl: `https://${quickStartHost}:${port}`, failed: failure.promise, stop }
  } catch (error) {
    await stop()
    throw new AppError("unavailable", `the demo has no live endpoint: ${messageOf(error)}`, { cause: error })
  }
}
