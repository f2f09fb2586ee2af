/**
 * The one place that starts programs named by operators (reload and validate commands). They arrive over the network as
 * text, so there is no shell, nothing a shell would interpret is let through, and the host's owner may limit the programs.
 */
import { spawn } from "node:child_process"
import { isAbsolute } from "node:path"
import { AppError, messageOf } from "../errors"

export interface CommandRules {
  /** Names or absolute paths of the programs that may be started; empty means any (CERTCTL_AGENT_ALLOWED_COMMANDS). */
  readonly allowedPrograms: readonly string[]
  /** Searched for bare program names. */
  readonly path?: string
  readonly timeoutMs?: number
}

/** A command and the configuration key it came from, which errors name. */
interface NamedCommand {
  readonly key: string
  readonly command: string
}

const longestCommand = 1024
const longestOutput = 4096
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/** Characters with a meaning to some shell. Nothing here needs them, and their presence says that a shell was expected. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is one of the refused characters
const shellCharacters = /[;|&$`(){}<>\\"'\r\n\u0000]/

/** What is wrong with a command, or null. For checks of configurations as they are saved, before any agent sees them. */
export const commandProblem = (command: string): string | null => {
  if (command.trim() === "") return "must not be empty"
  if (command.length > longestCommand) return `must be at most ${longestCommand} characters`
  const refused = shellCharacters.exec(command)?.[0]
  if (refused !== undefined) {
    return `must be a program and its arguments without shell characters, but contains ${JSON.stringify(refused)}`
  }
  return null
}

/** Splits at blanks. Fails with `validation`, naming the configuration key. */
export const splitCommand = ({ key, command }: NamedCommand): [program: string, ...args: string[]] => {
  const problem = commandProblem(command)
  const [program, ...args] = command.trim().split(/[ \t]+/)
  if (problem !== null || program === undefined) throw new AppError("validation", `${key} ${problem}`)
  if (program.includes("/") && !isAbsolute(program)) {
    throw new AppError("validation", `${key} must name its program by an absolute path or by its bare name`)
  }
  return [program, ...args]
}

/** The absolute path of the program. Fails with `validation` when it is missing or not among the allowed ones. */
const resolveProgram = (key: string, program: string, rules: CommandRules): string => {
  const PATH = rules.path ?? process.env.PATH ?? defaultPath
  // Compared as found, not through links: where one binary serves many names (busybox) the link is what was allowed.
  const found = (name: string) => (isAbsolute(name) ? name : Bun.which(name, { PATH, cwd: "/" }))
  const path = found(program)
  if (
    rules.allowedPrograms.length > 0 &&
    !rules.allowedPrograms.some((name) => path !== null && found(name) === path)
  ) {
    throw new AppError(
      "validation",
      `${key} wants to start ${program}, which CERTCTL_AGENT_ALLOWED_COMMANDS of this agent does not allow`,
    )
  }
  if (path === null) throw new AppError("validation", `${key}: program ${program} was not found on this host`)
  return path
}

/**
 * Returns a function that runs one command to its end: no shell, no input, working directory `/`, a small environment,
 * at most 60 s. It fails with `upstream` and the program's own words (the last 4 KiB of both outputs, stderr at the end).
 */
export const commandRunner = (rules: CommandRules) => {
  const timeoutMs = rules.timeoutMs ?? 60_000

  return async ({ key, command }: NamedCommand): Promise<void> => {
    const [program, ...args] = splitCommand({ key, command })
    const path = resolveProgram(key, program, rules)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // A process group of its own, so that the limit ends what the program started too.
    const child = spawn(path, args, {
      cwd: "/",
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: rules.path ?? process.env.PATH ?? defaultPath, LANG: "C.UTF-8" },
    })

    // Apart: two pipes have no common order, and what a program says on stderr must not be pushed out by what it prints.
    const tails = { stdout: "", stderr: "" }
    for (const name of ["stdout", "stderr"] as const) {
      child[name].on("data", (chunk: Buffer) => {
        tails[name] = (tails[name] + chunk.toString("utf8")).slice(-longestOutput)
      })
    }
    const output = (): string => {
      const { stdout, stderr } = tails
      const room = longestOutput - stderr.length
      return `${room > 0 ? stdout.slice(-room) : ""}${stderr}`.trim()
    }

    let isOverdue = false
    const limit = setTimeout(() => {
      isOverdue = true
      killGroup(child.pid)
    }, timeoutMs)

    const failure = (how: string) =>
      new AppError("upstream", `${key} (${command}) ${how}${output() === "" ? "" : `: ${output()}`}`)
    const finish = (code: number | null, signal: string | null) => {
      if (isOverdue) reject(failure(`did not end within ${timeoutMs / 1000} s and was stopped`))
      else if (signal !== null) reject(failure(`was ended by ${signal}`))
      else if (code !== 0) reject(failure(`ended with code ${code}`))
      else resolve()
    }
    child.on("error", (error) => reject(failure(`could not be started: ${messageOf(error)}`)))
    child.on("close", finish)
    // A program that leaves a daemon behind leaves it our pipes too, and "close" would never come.
    child.on("exit", (code, signal) => {
      setTimeout(() => finish(code, signal), 500).unref()
    })

    try {
      await promise
    } finally {
      clearTimeout(limit)
      child.stdout.destroy()
      child.stderr.destroy()
    }
  }
}

export type RunCommand = ReturnType<typeof commandRunner>

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch (error) {
    // It ended by itself in the same moment.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}
