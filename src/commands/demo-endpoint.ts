/**
 * `certctl demo-endpoint …`, which `certctl server --demo` starts for itself: the endpoint, the commands that the agent runs at
 * a deployment, and the agent. `serve` and `agent` end with their parent, also where that was killed.
 */
import { existsSync, readFileSync } from "node:fs"
import { request } from "node:https"
import { join } from "node:path"
import { systemClock } from "../clock"
import type { Env } from "../config/environment"
import { writePrivateFile } from "../data-directory"
import { readPair, reloadPath, startDemoEndpoint } from "../demo/endpoint.server"
import { AppError } from "../errors"
import { runAgent } from "./agent"

/** How long an agent may take for its orderly end, when its server is gone. */
const agentGraceMs = 1500
const reloadTimeoutMs = 10_000

/** Resolves when whoever started this process has gone: its end of our standard input is closed then, even after kill -9. */
const parentEnd = async (): Promise<void> => {
  for await (const _ of Bun.stdin.stream());
}

const portFile = (folder: string): string => join(folder, "port")

/** The port of the last start, so that links stay good; 0 where there was none. */
const formerPort = (folder: string): number =>
  existsSync(portFile(folder)) ? Number.parseInt(readFileSync(portFile(folder), "utf8"), 10) || 0 : 0

const serve = async (folder: string): Promise<number> => {
  // Ctrl-C reaches the whole group; the endpoint stays until the server, and with it the agent, has finished.
  process.on("SIGINT", () => undefined)
  const endpoint = await startDemoEndpoint(folder, formerPort(folder), () => systemClock.now())
  writePrivateFile(portFile(folder), `${endpoint.port}\n`)
  process.stdout.write(`${endpoint.port}\n`)
  await parentEnd()
  endpoint.close()
  return 0
}

const check = (folder: string): number => {
  readPair(folder, systemClock.now())
  return 0
}

const reload = (folder: string): Promise<number> => {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const options = {
    host: "127.0.0.1",
    port: formerPort(folder),
    method: "POST",
    path: reloadPath,
    timeout: reloadTimeoutMs,
    // Nothing is told and nothing believed: the agent looks for itself at what is served afterwards.
    rejectUnauthorized: false,
  }
  const call = request(options, (answer) => {
    let words = ""
    answer.setEncoding("utf8")
    answer.on("data", (text: string) => {
      words += text
    })
    answer.on("end", () => {
      if (answer.statusCode === 200) resolve(0)
      else reject(new AppError("upstream", `the demo endpoint kept its certificate: ${words.trim()}`))
    })
  })
  call.on("timeout", () => call.destroy(new Error("no answer")))
  call.on("error", (error) => reject(new AppError("upstream", `the demo endpoint does not run: ${error.message}`)))
  call.end()
  return promise
}

const agent = (env: Env): Promise<number> => {
  parentEnd().then(() => {
    process.kill(process.pid, "SIGTERM")
    setTimeout(() => process.exit(0), agentGraceMs).unref()
  })
  return runAgent(env)
}

/** Returns the exit code. Fails with AppError. */
export const runDemoEndpoint = async (action: string, folder: string, env: Env): Promise<number> => {
  switch (action) {
    case "serve":
      return serve(folder)
    case "check":
      return check(folder)
    case "reload":
      return reload(folder)
    case "agent":
      return agent(env)
    default:
      throw new AppError("validation", "action must be serve, check, reload or agent")
  }
}
