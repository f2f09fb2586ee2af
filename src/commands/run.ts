/** Parses the command line, loads only the subcommand that was asked for, and turns its outcome into an exit code. */
import { Command, CommanderError, Help } from "commander"
import type { Env } from "../config/environment"
import { AppError, messageOf } from "../errors"
import { addAgents } from "./agents"
import { addApprovals } from "./approvals"
import { addCerts } from "./certs"
import { type Cli, collected, type ExitCode, UsageError, wholeNumber, withGlobalOptions } from "./cli"
import { addImport } from "./import"
import { addIntermediates } from "./intermediates"
import { addJobs } from "./jobs"
import { addKeys } from "./keys"
import { addIssuers, addOwners, addProfiles, addRenewalPolicies, addTargets, addTeams } from "./resources"
import { addScep } from "./scep"
import { addSearch } from "./search"
import { addStatus } from "./status"
import { versionText } from "./version"

const readStdin = async (): Promise<string> => (process.stdin.isTTY ? "" : await Bun.stdin.text())

const exitCode = (code: number): ExitCode => (code === 0 ? 0 : 1)

const afterHelp = `
Without an address the server is the one on this host, https://localhost:8443. Whoever can read its data directory
(CERTCTL_DATA_DIR) needs neither --ca-bundle nor, until the first \`certctl keys create\`, a key.

Exit codes: 0 done, 1 failed, 2 called wrongly.`

const agentOptions = (command: Command): Command =>
  command
    .option("--server <url>", "server to work for (CERTCTL_SERVER_URL)")
    .option("--api-key <key>", "key, or file:PATH (CERTCTL_API_KEY)")
    .option("--agent-id <id>", "id of this agent (CERTCTL_AGENT_ID)")
    .option("--key-dir <folder>", "where private keys are kept (CERTCTL_KEY_DIR)")
    .option("--discovery-dirs <folders>", "comma list of folders to scan for certificates (CERTCTL_DISCOVERY_DIRS)")
    .option("--ca-bundle <file>", "further trusted CAs, PEM (CERTCTL_SERVER_CA_BUNDLE_PATH)")
    .option("--insecure", "do not verify the server (CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY)")

const addServer = (program: Command, { env, finish }: Cli): void => {
  program
    .command("server")
    .description("run the control plane")
    .option("--demo", "with a demo inventory, a local agent and a TLS endpoint it deploys to")
    .action(async ({ demo }: { demo?: true }) => {
      if (demo === true) finish(exitCode(await (await import("./demo")).runDemo(env)))
      else finish(exitCode(await (await import("./server")).runServer(env)))
    })
}

interface JoinFlags {
  readonly token?: string
  readonly server?: string
  readonly name?: string
  readonly caBundle?: string
  readonly insecure?: boolean
}

const addAgent = (program: Command, { env, finish }: Cli): void => {
  const agent = agentOptions(program.command("agent").description("run the agent of this host")).action(async (flags) =>
    finish(exitCode(await (await import("./agent")).runAgent(env, { ...program.opts(), ...flags }))),
  )
  agent
    .command("join")
    .description("make this host an agent of a server, with a token of certctl agents token create")
    .option("--server <url>", "the server (CERTCTL_SERVER_URL)")
    .option("--token <token>", "the join token; CERTCTL_JOIN_TOKEN or standard input keep it out of the process list")
    .option("--name <name>", "name of the agent; default: the host's")
    .option("--ca-bundle <file>", "trusted CAs, PEM, for a server whose certificate is not its own CA's")
    .option("--insecure", "allow plain HTTP and do not verify the server")
    .action(async (flags: JoinFlags) => {
      const { joinAgent } = await import("./agent")
      const token = flags.token ?? env.CERTCTL_JOIN_TOKEN ?? (await readStdin()).trim()
      if (token === "") {
        throw new AppError("validation", "a join token is required: --token, CERTCTL_JOIN_TOKEN or standard input")
      }
      const joined = await joinAgent({ ...program.opts(), ...agent.opts(), ...flags, token, env })
      process.stdout.write(`joined ${joined.server} as ${joined.agent_id}\n`)
    })
  agent
    .command("doctor")
    .description("look at all that the agent of this host needs, and say what is wrong and what helps; changes nothing")
    .option(
      "--target-config <file>",
      "a target's type and config as JSON, checked on this host; may be repeated",
      collected,
    )
    .option("--json", "the findings as JSON")
    .action(async (flags: { targetConfig?: readonly string[]; json?: true }) =>
      finish(
        exitCode(await (await import("./agent")).examineAgent(env, { ...program.opts(), ...agent.opts(), ...flags })),
      ),
    )
}

const addMigrate = (program: Command, { env, finish }: Cli): void => {
  program
    .command("migrate")
    .description("bring the database to the schema of this build, or back to that of an older one")
    .option("--to <migration>", "name or number of a migration; none: undo all")
    .action(async ({ to }: { to?: string }) =>
      finish(exitCode(await (await import("./migrate")).migrateDatabase(env, to))),
    )
}

interface VerifyFlags {
  readonly size?: number
  readonly root?: string
}

const addAudit = (program: Command, { env, finish }: Cli): void => {
  program
    .command("audit")
    .description("the audit trail")
    .command("verify")
    .description("recompute the audit trail from the database itself; a server may be running on it")
    .option("--size <n>", "with --root: what an earlier run printed must still be true", wholeNumber(1))
    .option("--root <hash>", "root hash that an earlier run printed for --size events")
    .action(async ({ size, root }: VerifyFlags) => {
      if ((size === undefined) !== (root === undefined)) throw new UsageError("--size and --root go together")
      const noted = size === undefined || root === undefined ? null : { size, root: root.toLowerCase() }
      finish(exitCode(await (await import("./audit-verify")).verifyAuditTrail(env, noted)))
    })
}

/** The whole command line. Building it loads no command. */
export const programOf = (cli: Cli): Command => {
  const program = withGlobalOptions(
    new Command("certctl")
      .description("Certificate lifecycle platform: inventory, issuance, renewal, deployment, verification")
      .version(versionText(), "--version", "print which build this is")
      .exitOverride()
      .configureHelp({
        optionDescription: (option) =>
          `${new Help().optionDescription(option)}${option.mandatory ? " (required)" : ""}`,
      })
      .showHelpAfterError("(certctl --help shows what there is)")
      // Otherwise --server of `certctl agent` would be taken for ours.
      .enablePositionalOptions(),
  ).addHelpText("after", afterHelp)

  program.commandsGroup("Run:")
  addServer(program, cli)
  addDemoEndpoint(program, cli)
  addAgent(program, cli)
  addMigrate(program, cli)
  addAudit(program, cli)
  program.commandsGroup("Certificates and hosts:")
  addCerts(program, cli)
  addAgents(program, cli)
  addJobs(program, cli)
  addApprovals(program, cli)
  addIntermediates(program, cli)
  addScep(program, cli)
  addImport(program, cli)
  addSearch(program, cli)
  program.commandsGroup("Settings:")
  addIssuers(program, cli)
  addTargets(program, cli)
  addTeams(program, cli)
  addOwners(program, cli)
  addProfiles(program, cli)
  addRenewalPolicies(program, cli)
  addKeys(program, cli)
  program.commandsGroup("About:")
  addStatus(program, cli)
  return program
}

/** What `server --demo` starts for itself. */
const addDemoEndpoint = (program: Command, { env, finish }: Cli): void => {
  program
    .command("demo-endpoint <action>", { hidden: true })
    .option("--folder <folder>", "where the endpoint's files are", ".")
    .action(async (action: string, { folder }: { folder: string }) =>
      finish(exitCode(await (await import("./demo-endpoint")).runDemoEndpoint(action, folder, env))),
    )
}

/** The words for the terminal. What is no AppError is a bug, and its stack is of use to somebody. */
const complain = (error: unknown): void => {
  const text =
    error instanceof AppError || error instanceof UsageError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : messageOf(error)
  process.stderr.write(`certctl: ${text}\n`)
}

/** `args` without the executable. Never throws. */
export const run = async (args: readonly string[], env: Env): Promise<ExitCode> => {
  let code: ExitCode = 0
  const finish = (finished: ExitCode) => {
    code = finished
  }
  try {
    await programOf({ env, finish }).parseAsync([...args], { from: "user" })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    complain(error)
    return error instanceof UsageError ? 2 : 1
  }
}
