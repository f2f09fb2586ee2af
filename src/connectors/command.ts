/**
 * The one place that starts programs named by operators (reload and validate commands). They arrive over the network as
 * text, so there is no shell, nothing a shell would interpret is let through, and the host's owner may limit the programs.
 */
import { isAbsolute } from "node:path"
import { AppError } from "../errors"
import { defaultPath, programStarter } from "./program"

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
  const start = programStarter(rules)

  return async ({ key, command }: NamedCommand): Promise<void> => {
    const [program, ...args] = splitCommand({ key, command })
    await start({ name: `${key} (${command})`, program: resolveProgram(key, program, rules), args })
  }
}

export type RunCommand = ReturnType<typeof commandRunner>

/** Returns a function that fails with `validation` when a command could not be started on this host. It starts nothing. */
export const commandChecker =
  (rules: CommandRules) =>
  ({ key, command }: NamedCommand): void => {
    const [program] = splitCommand({ key, command })
    const path = resolveProgram(key, program, rules)
    if (Bun.which(path) === null) throw new AppError("validation", `${key}: ${path} is no program of this host`)
  }
