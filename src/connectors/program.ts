/**
 * Starts programs by argument lists: no shell, a small environment, a time limit that also ends what the program started.
 * What a program must not show to other users of the host (passwords) goes in by `env` or `input`, never by `args`.
 */
import { spawn } from "node:child_process"
import { AppError, messageOf } from "../errors"

export interface ProgramCall {
  /** What the program is called in errors: without secrets. */
  readonly name: string
  /** A path, or a bare name to be looked up. */
  readonly program: string
  readonly args: readonly string[]
  /** Added to the small environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Written to its standard input, which is closed then; nothing when left out. */
  readonly input?: string | Uint8Array
  readonly timeoutMs?: number
}

export interface ProgramOutput {
  /** The last MiB. */
  readonly stdout: string
  readonly stderr: string
}

export interface ProgramRules {
  /** Searched for bare program names. */
  readonly path?: string
  readonly timeoutMs?: number
}

const longestOutput = 1024 * 1024
/** Of what a program said, in an error. */
const longestWords = 4096
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/**
 * Returns a function that runs one program to its end, in `/`, for 60 s at most. It fails with `upstream` unless the program
 * ends with code 0, in the program's own words (the last 4 KiB of both outputs, stderr at the end).
 */
export const programStarter =
  (rules: ProgramRules) =>
  async (call: ProgramCall): Promise<ProgramOutput> => {
    const timeoutMs = call.timeoutMs ?? rules.timeoutMs ?? 60_000
    const PATH = rules.path ?? process.env.PATH ?? defaultPath
    const program = call.program.includes("/") ? call.program : Bun.which(call.program, { PATH, cwd: "/" })
    if (program === null) throw new AppError("validation", `program ${call.program} was not found on this host`)
    const { promise, resolve, reject } = Promise.withResolvers<ProgramOutput>()
    // A process group of its own, so that the limit ends what the program started too.
    const child = spawn(program, [...call.args], {
      cwd: "/",
      detached: process.platform !== "win32",
      windowsHide: true,
      stdio: [call.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      env: { PATH, LANG: "C.UTF-8", ...call.env },
    })

    // Apart: two pipes have no common order, and what a program says on stderr must not be pushed out by what it prints.
    const tails = { stdout: "", stderr: "" }
    for (const name of ["stdout", "stderr"] as const) {
      child[name]?.on("data", (chunk: Buffer) => {
        tails[name] = (tails[name] + chunk.toString("utf8")).slice(-longestOutput)
      })
    }
    const words = (): string => {
      const stderr = tails.stderr.slice(-longestWords)
      const room = longestWords - stderr.length
      return `${room > 0 ? tails.stdout.slice(-room) : ""}${stderr}`.trim()
    }

    let isOverdue = false
    const limit = setTimeout(() => {
      isOverdue = true
      killGroup(child.pid)
    }, timeoutMs)

    const failure = (how: string) =>
      new AppError("upstream", `${call.name} ${how}${words() === "" ? "" : `: ${words()}`}`)
    const finish = (code: number | null, signal: string | null) => {
      if (isOverdue) reject(failure(`did not end within ${timeoutMs / 1000} s and was stopped`))
      else if (signal !== null) reject(failure(`was ended by ${signal}`))
      else if (code !== 0) reject(failure(`ended with code ${code}`))
      else resolve({ ...tails })
    }
    child.on("error", (error) => reject(failure(`could not be started: ${messageOf(error)}`)))
    child.on("close", finish)
    // A program that leaves a daemon behind leaves it our pipes too, and "close" would never come.
    child.on("exit", (code, signal) => {
      setTimeout(() => finish(code, signal), 500).unref()
    })
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on("error", () => undefined)
    if (call.input !== undefined) child.stdin?.end(call.input)

    try {
      return await promise
    } finally {
      clearTimeout(limit)
      child.stdout?.destroy()
      child.stderr?.destroy()
    }
  }

export type StartProgram = ReturnType<typeof programStarter>

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return
  if (process.platform === "win32") {
    // No groups to be killed there: taskkill follows the tree. Where it is missing the child alone is ended.
    spawn("taskkill", ["/T", "/F", "/PID", String(pid)], { stdio: "ignore", windowsHide: true }).on("error", () => {
      process.kill(pid, "SIGKILL")
    })
    return
  }
  try {
    process.kill(-pid, "SIGKILL")
  } catch (error) {
    // It ended by itself in the same moment.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}
