/** `certctl status`, and the server's part of `certctl version`. */
import type { Command } from "commander"
import * as v from "valibot"
import { answerIn } from "../client/api-answer"
import { AppError } from "../errors"
import { version } from "../version"
import { apiCommand, type Cli, connect, type GlobalFlags, showIn } from "./cli"
import { type Cell, lines, note } from "./output"
import { versionText } from "./version"

const Health = v.looseObject({ status: v.string() })
const ServerVersion = v.looseObject({ version: v.string(), commit: v.optional(v.string(), "") })

/** A server that answers at all answers these at once. */
const versionTimeoutMs = 5000

type Connected = Awaited<ReturnType<typeof connect>>

const serverVersion = async ({ send }: Connected) =>
  answerIn(await send({ method: "GET", path: "/api/v1/version" }), 200, ServerVersion)

const label = (key: string): string => key.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase())

export const showStatus = async (cli: Cli, flags: GlobalFlags): Promise<void> => {
  const connected = await connect(cli, flags)
  const health = answerIn(await connected.send({ method: "GET", path: "/health" }), 200, Health)
  const server = await serverVersion(connected)
  const summary = await (await connected.api.stats.summary.$get()).json()
  const answer = { server: connected.connection.server, ...health, version: server.version, summary }
  showIn(flags)(answer, () =>
    lines([
      ["Server", answer.server],
      ["Status", answer.status],
      ["Version", answer.version],
      ...Object.entries(summary)
        .filter(([, value]) => typeof value === "number")
        .map(([key, value]): [string, Cell] => [label(key), value]),
    ]),
  )
}

/** This program's version, and the server's where it can be had: that it cannot is no failure. */
export const showVersions = async (cli: Cli, flags: GlobalFlags): Promise<void> => {
  let server: v.InferOutput<typeof ServerVersion> | null = null
  try {
    const connected = await connect(cli, flags, { timeoutMs: versionTimeoutMs })
    if (!connected.connection.isAssumed) server = await serverVersion(connected)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    note(`certctl: the server's version: ${error.message}`)
  }
  showIn(flags)({ client: version, ...(server === null ? {} : { server }) }, () => {
    const commit = server?.commit ? ` (${server.commit.slice(0, 12)})` : ""
    return server === null ? versionText() : `${versionText()}\nserver ${server.version}${commit}`
  })
}

export const addStatus = (program: Command, cli: Cli): void => {
  apiCommand(program, "status", "show how the server is and what it has").action(async (_flags, command: Command) =>
    showStatus(cli, command.optsWithGlobals()),
  )
  apiCommand(
    program,
    "version",
    "print which build this is, and which the server when one is named with --server or CERTCTL_SERVER_URL",
  ).action(async (_flags, command: Command) => showVersions(cli, command.optsWithGlobals()))
}
