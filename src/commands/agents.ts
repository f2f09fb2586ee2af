/** `certctl agents`: the agents of a server, and the tokens with which hosts join it. */
import type { Command } from "commander"
import { isLoopback } from "../client/server-url"
import { AppError } from "../errors"
import {
  apiCommand,
  type Cli,
  calling,
  durationArgument,
  idArgument,
  type PageFlags,
  pageQuery,
  type Session,
  withPages,
} from "./cli"
import { day, lines, moment, note } from "./output"

interface Counts {
  readonly active_targets: number
  readonly active_certificates: number
  readonly pending_jobs: number
}

const countLines = (counts: Counts) =>
  [
    ["Active Targets", counts.active_targets],
    ["Active Certificates", counts.active_certificates],
    ["Pending Jobs", counts.pending_jobs],
  ] as const

/** The counts in a refusal, which say what still depends on the agent. */
const countsIn = (error: AppError): Counts | null => {
  const counts: unknown = error.body?.counts
  return error.body?.error === "blocked_by_dependencies" && typeof counts === "object" && counts !== null
    ? (counts as Counts)
    : null
}

const retire = async ({ api, show }: Session, id: string, flags: { force?: true; reason?: string }) => {
  const query = { force: flags.force === true ? "true" : undefined, reason: flags.reason }
  try {
    const response = await api.agents[":id"].$delete({ param: { id }, query })
    if (response.status === 204) {
      show({ status: "already_retired" }, () => `${id} was retired already`)
      return
    }
    const answer = await response.json()
    show(answer, () =>
      lines([
        ["Retired", id],
        ["Retired At", day(answer.retired_at)],
        ["Cascade", answer.cascade],
        ...countLines(answer.counts),
      ]),
    )
  } catch (error) {
    const counts = error instanceof AppError ? countsIn(error) : null
    if (counts === null || !(error instanceof AppError)) throw error
    note(lines(countLines(counts)))
    throw new AppError(
      error.code,
      `${error.message}; --force --reason TEXT retires its targets and cancels its jobs too`,
      {
        cause: error,
      },
    )
  }
}

/** The token alone on stdout, so that a script can take it from there; the way to use it on stderr. */
const createToken = async ({ api, connection, show, isJson }: Session, { ttl }: { ttl?: number }) => {
  const json = ttl === undefined ? {} : { ttl_seconds: Math.round(ttl / 1000) }
  const made = await (await api["join-tokens"].$post({ json })).json()
  show(made, () => made.token)
  if (isJson) return
  // A log that keeps stderr must not get to know the token.
  const shown = process.stdout.isTTY ? made.token : "TOKEN"
  note(`good for one agent until ${moment(made.expires_at)}; on its host, as root:`)
  note(`  certctl agent join --server ${connection.server} --token ${shown}`)
  if (isLoopback(new URL(connection.server).hostname)) {
    note("another host needs the address by which it reaches this server in place of this one")
  }
}

export const addAgents = (program: Command, cli: Cli): void => {
  const agents = program.command("agents").description("agents and the tokens with which they join")

  withPages(
    apiCommand(agents, "list", "list agents")
      .option("--status <status>", "Online, Offline or Degraded")
      .option("--retired", "those that were retired"),
  ).action(
    calling(cli, async ({ api, showPage }, flags: PageFlags & { status?: string; retired?: true }) => {
      if (flags.retired) {
        const page = await (await api.agents.retired.$get({ query: pageQuery(flags) })).json()
        showPage(page, ["ID", "HOSTNAME", "OS", "ARCHITECTURE", "RETIRED AT", "REASON"], (agent) => [
          agent.id,
          agent.hostname,
          agent.os,
          agent.architecture,
          day(agent.retired_at),
          agent.retired_reason,
        ])
        return
      }
      const page = await (await api.agents.$get({ query: { ...pageQuery(flags), status: flags.status } })).json()
      showPage(page, ["ID", "HOSTNAME", "STATUS", "OS", "ARCHITECTURE", "IP ADDRESS"], (agent) => [
        agent.id,
        agent.hostname,
        agent.status,
        agent.os,
        agent.architecture,
        agent.ip_address,
      ])
    }),
  )

  apiCommand(agents, "get", "show an agent")
    .argument("<id>", "id of the agent", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const agent = await (await api.agents[":id"].$get({ param: { id } })).json()
        show(agent, () =>
          lines([
            ["ID", agent.id],
            ["Name", agent.name],
            ["Hostname", agent.hostname],
            ["Status", agent.status],
            ["OS", agent.os],
            ["Architecture", agent.architecture],
            ["IP Address", agent.ip_address],
            ["Version", agent.version],
            ["Last Heartbeat", moment(agent.last_heartbeat_at)],
            ...(agent.retired_at === undefined
              ? []
              : ([
                  ["Retired At", day(agent.retired_at)],
                  ["Reason", agent.retired_reason],
                ] as const)),
          ]),
        )
      }),
    )

  apiCommand(agents, "retire", "retire an agent; refused while something depends on it")
    .argument("<id>", "id of the agent", idArgument)
    .option("--force", "retire its targets and cancel its jobs too; needs --reason")
    .option("--reason <text>", "why")
    .action(calling(cli, retire))

  const token = agents.command("token").description("tokens with which a host joins, once")

  apiCommand(token, "create", "make a token; it is shown this once")
    .option("--ttl <duration>", "how long it is good for, up to 168h (default: 1h)", durationArgument)
    .action(calling(cli, createToken))

  withPages(apiCommand(token, "list", "list tokens; the tokens themselves are not kept")).action(
    calling(cli, async ({ api, showPage }, flags: PageFlags) => {
      const page = await (await api["join-tokens"].$get({ query: pageQuery(flags) })).json()
      showPage(page, ["ID", "CREATED BY", "EXPIRES", "USED AT", "AGENT"], (row) => [
        row.id,
        row.created_by,
        moment(row.expires_at),
        moment(row.used_at),
        row.agent_id,
      ])
    }),
  )

  apiCommand(token, "revoke", "delete a token")
    .argument("<id>", "id of the token", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        await api["join-tokens"][":id"].$delete({ param: { id } })
        show({ status: "revoked" }, () => `token ${id} was revoked`)
      }),
    )
}
