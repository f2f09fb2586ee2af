/** What all commands of the command line have in common: the global options, the connection, the two output formats. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { type Env, parseGoDuration } from "../config/environment"
import type { ApiClient } from "./api"
import type { Connection, ConnectionFlags } from "./connection"
import { type Cell, note, print, table } from "./output"

/** 0 done, 1 failed, 2 called wrongly. */
export type ExitCode = 0 | 1 | 2

export interface Cli {
  readonly env: Env
  /** Sets the exit code of a command that ends without an error but not well. */
  readonly finish: (code: ExitCode) => void
}

export interface GlobalFlags extends ConnectionFlags {
  readonly format?: "table" | "json"
  readonly json?: true
}

/** Called wrongly, found out by the command itself: exit code 2. */
export class UsageError extends Error {}

const globalOptions = (): Option[] => [
  new Option("--server <url>", "the server (CERTCTL_SERVER_URL)"),
  new Option("--api-key <key>", "API key, or file:PATH (CERTCTL_API_KEY)"),
  new Option("--ca-bundle <file>", "further trusted CAs, PEM (CERTCTL_SERVER_CA_BUNDLE_PATH)"),
  new Option("--insecure", "do not verify the server (CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY)"),
  new Option("--format <format>", "output format (default: table)").choices(["table", "json"]),
  new Option("--json", "the API's answer as JSON, the same as --format json"),
]

export const withGlobalOptions = (program: Command): Command => {
  for (const option of globalOptions()) program.addOption(option)
  return program
}

/** A command over the API. It takes the global options behind its name too, where people write them. */
export const apiCommand = (parent: Command, signature: string, description: string): Command => {
  const command = parent.command(signature).description(description)
  for (const option of globalOptions()) command.addOption(option.hideHelp())
  return command
}

export interface Session {
  readonly api: ApiClient
  readonly connection: Connection
  readonly isJson: boolean
  /** The API's answer in the format that was asked for. */
  show(answer: unknown, asText: () => string): void
  /** A page of a list: table and total, and how to see the rest. */
  showPage<R>(page: Page<R>, headers: readonly string[], cells: (row: R) => readonly Cell[]): void
}

export interface Page<R> {
  readonly data: readonly R[]
  readonly total: number
}

const warning = (line: string) => note(`certctl: warning: ${line}`)

export const connect = async (cli: Cli, flags: GlobalFlags, options: { timeoutMs?: number } = {}) => {
  const [{ apiClient }, { connectionOf }] = await Promise.all([import("./api"), import("./connection")])
  const connection = connectionOf(cli.env, flags, warning)
  return { connection, ...apiClient(connection, options) }
}

const isJson = ({ json, format }: GlobalFlags): boolean => json === true || format === "json"

export const showIn =
  (flags: GlobalFlags): Session["show"] =>
  (answer, asText) =>
    print(isJson(flags) ? JSON.stringify(answer, null, 2) : asText())

/**
 * The action of an API command: `run` gets the session, then the arguments, then the command's own flags.
 * The last two parameters that Commander passes are flags and command.
 */
export const calling =
  <A extends readonly unknown[]>(
    cli: Cli,
    run: (session: Session, ...args: A) => Promise<void>,
    options: { readonly timeoutMs?: number } = {},
  ) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command
    const flags: GlobalFlags = command.optsWithGlobals()
    const { api, connection } = await connect(cli, flags, options)
    const show = showIn(flags)
    const session: Session = {
      api,
      connection,
      isJson: isJson(flags),
      show,
      showPage(page, headers, cells) {
        show(page, () => `${table(headers, page.data.map(cells))}\nTotal: ${page.total}`)
        if (!isJson(flags) && page.data.length < page.total) {
          note(`${page.data.length} of ${page.total} shown: see --page and --per-page (at most 500)`)
        }
      },
    }
    // Commander leaves the types of arguments and flags to whoever declared them.
    await run(session, ...(given.slice(0, -1) as unknown as A))
  }

/** An id as one segment of a path: what a URL would read as "here" or "one up" is refused. */
export const idArgument = (text: string): string => {
  if (text === "" || text === "." || text === "..") throw new InvalidArgumentError("It is no id.")
  return encodeURIComponent(text)
}

export const wholeNumber =
  (min: number, max = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const number = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
    if (!(number >= min && number <= max)) {
      throw new InvalidArgumentError(
        max === Number.MAX_SAFE_INTEGER
          ? `It must be a whole number from ${min}.`
          : `It must be a whole number from ${min} to ${max}.`,
      )
    }
    return number
  }

/** Milliseconds of `90s`, `1h30m`. */
export const durationArgument = (text: string): number => {
  const milliseconds = parseGoDuration(text)
  if (milliseconds === null || milliseconds <= 0) {
    throw new InvalidArgumentError("It must be a duration such as 90s or 1h30m.")
  }
  return milliseconds
}

/** For options that may be given several times. */
export const collected = (text: string, before: readonly string[] = []): readonly string[] => [...before, text]

export const commaList = (text: string): readonly string[] =>
  text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "")

export interface PageFlags {
  readonly page?: number
  readonly perPage?: number
  readonly limit?: number
}

export const withPages = (command: Command): Command =>
  command
    .option("--page <n>", "page, from 1", wholeNumber(1))
    .option("--per-page <n>", "rows a page, at most 500 (default: 50)", wholeNumber(1, 500))
    .option("--limit <n>", "the same as --per-page", wholeNumber(1, 500))

/** Page parameters as the API takes them. */
export const pageQuery = ({ page, perPage, limit }: PageFlags) => ({
  page: page?.toString(),
  per_page: (perPage ?? limit)?.toString(),
})
