/** Parses the command line, loads only the subcommand that was asked for, and turns its outcome into an exit code. */
import { Command, CommanderError } from "commander"
import { AppError, messageOf } from "../errors"

type Env = Readonly<Record<string, string | undefined>>

/** 0 done, 1 failed, 2 called wrongly. */
export type ExitCode = 0 | 1 | 2

const readStdin = async (): Promise<string> => (process.stdin.isTTY ? "" : await Bun.stdin.text())

const agentOptions = (command: Command): Command =>
  command
    .option("--server <url>", "server to work for (CERTCTL_SERVER_URL)")
    .option("--api-key <key>", "key, or file:PATH (CERTCTL_API_KEY)")
    .option("--agent-id <id>", "id of this agent (CERTCTL_AGENT_ID)")
    .option("--key-dir <folder>", "where private keys are kept (CERTCTL_KEY_DIR)")
    .option("--discovery-dirs <folders>", "comma list of folders to scan for certificates (CERTCTL_DISCOVERY_DIRS)")
    .option("--ca-bundle <file>", "further trusted CAs, PEM (CERTCTL_SERVER_CA_BUNDLE_PATH)")
    .option("--insecure", "do not verify the server (CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY)")

const programOf = (env: Env, finish: (code: number) => void): Command => {
  const program = new Command("certctl")
    .description("Certificate lifecycle platform: inventory, issuance, renewal, deployment, verification")
    .exitOverride()
    .showHelpAfterError("(certctl --help shows what there is)")

  program
    .command("server")
    .description("run the control plane")
    .option("--demo", "with a demo inventory, a local agent and a TLS endpoint it deploys to")
    .action(async ({ demo }: { demo?: true }) => {
      if (demo === true) finish(await (await import("./demo")).runDemo(env))
      else finish(await (await import("./server")).runServer(env))
    })

  const agent = agentOptions(program.command("agent").description("run the agent of this host")).action(async (flags) =>
    finish(await (await import("./agent")).runAgent(env, flags)),
  )
  agent
    .command("join")
    .description("make this host an agent of a server, with a token of certctl agents token create")
    .option("--server <url>", "the server (CERTCTL_SERVER_URL)")
    .option("--token <token>", "the join token; CERTCTL_JOIN_TOKEN or standard input keep it out of the process list")
    .option("--name <name>", "name of the agent; default: the host's")
    .option("--ca-bundle <file>", "trusted CAs, PEM, for a server whose certificate is not its own CA's")
    .option("--insecure", "allow plain HTTP and do not verify the server")
    .action(
      async (flags: { token?: string; server?: string; name?: string; caBundle?: string; insecure?: boolean }) => {
        const { joinAgent } = await import("./agent")
        const token = flags.token ?? env.CERTCTL_JOIN_TOKEN ?? (await readStdin()).trim()
        if (token === "") {
          throw new AppError("validation", "a join token is required: --token, CERTCTL_JOIN_TOKEN or standard input")
        }
        const joined = await joinAgent({ ...agent.opts(), ...flags, token, env })
        process.stdout.write(`joined ${joined.server} as ${joined.agent_id}\n`)
      },
    )

  program
    .command("migrate")
    .description("bring the database to the schema of this build, or back to that of an older one")
    .option("--to <migration>", "name or number of a migration; none: undo all")
    .action(async ({ to }: { to?: string }) =>
      finish(await (await import("./migrate")).migrateDatabase(env, to)),
    )

  program
    .command("version")
    .description("print which build this is")
    .action(() => undefined)
  return program
}

/** The words for the terminal. What is no AppError is a bug, and its stack is of use to somebody. */
const complain = (error: unknown): void => {
  const text =
    error instanceof AppError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : messageOf(error)
  process.stderr.write(`certctl: ${text}\n`)
}

/** `args` without the executable. Never throws. */
export const run = async (args: readonly string[], env: Env): Promise<number> => {
  let code = 0
  try {
    await programOf(env, (finished) => {
      code = finished
    }).parseAsync([...args], { from: "user" })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    complain(error)
    return 1
  }
}
