/** list, get, create, update and delete for resources that have nothing else to them: one description makes all five. */
import { readFileSync } from "node:fs"
import { type Command, InvalidArgumentError, Option } from "commander"
import type { ClientResponse } from "hono/client"
import { AppError, messageOf } from "../errors"
import type { ApiClient } from "./api"
import {
  apiCommand,
  type Cli,
  calling,
  commaList,
  idArgument,
  type PageFlags,
  pageQuery,
  type Session,
  UsageError,
  withPages,
} from "./cli"
import { type Cell, lines } from "./output"

/** The resource's part of the API client. Methods, not function fields: each resource narrows the bodies. */
export interface Endpoint {
  $get(args: { query: { page?: string; per_page?: string } }): Promise<ClientResponse<unknown>>
  $post(args: { json: Record<string, unknown> }): Promise<ClientResponse<unknown>>
  readonly ":id": {
    $get(args: { param: { id: string } }): Promise<ClientResponse<unknown>>
    $put(args: { param: { id: string }; json: Record<string, unknown> }): Promise<ClientResponse<unknown>>
    $delete(args: { param: { id: string } }): Promise<ClientResponse<unknown>>
  }
}

interface Field {
  readonly kind: "text" | "number" | "boolean" | "list" | "numbers" | "json"
  readonly description: string
  readonly required?: true
}

/** A field for every key of the API's body: a key that is new there is an error here. */
export type Fields<Body> = { readonly [Key in Exclude<keyof Body, "id">]-?: Field }

export interface Resource<Row, Body> {
  /** The command: `targets`. */
  readonly noun: string
  /** One of them: `target`. */
  readonly singular: string
  readonly description: string
  readonly endpoint: (api: ApiClient) => Endpoint
  readonly fields: Fields<Body>
  /** Column heads and what stands below them. */
  readonly columns: Readonly<Record<string, (row: Row) => Cell>>
}

const flagName = (key: string): string => `--${key.replaceAll("_", "-")}`
/** As Commander names the value of a flag. */
const attributeOf = (key: string): string => key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())

const numberOf = (text: string): number => {
  if (!/^-?\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.")
  return Number(text)
}

const fieldOptions = (key: string, { kind, description }: Field): Option[] => {
  const name = flagName(key)
  switch (kind) {
    case "text":
      return [new Option(`${name} <text>`, description)]
    case "number":
      return [new Option(`${name} <n>`, description).argParser(numberOf)]
    case "boolean":
      return [new Option(`${name} <bool>`, description).choices(["true", "false"])]
    case "list":
      return [new Option(`${name} <list>`, `${description}, comma list`).argParser(commaList)]
    case "numbers":
      return [
        new Option(`${name} <list>`, `${description}, comma list`).argParser((text) => commaList(text).map(numberOf)),
      ]
    case "json":
      return [
        new Option(`${name} <json>`, `${description}, as JSON`).conflicts(attributeOf(`${key}_file`)),
        // What a command line holds, every user of the host can read.
        new Option(`${name}-file <file>`, "the same from a file, or from standard input with -"),
      ]
  }
}

/** Parsed here and not by Commander, whose message and the parser's own repeat the text: it may hold a secret. */
const jsonIn = (text: string, flag: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError(`${flag} must be JSON`)
  }
}

const fileText = (path: string, flag: string): string => {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8")
  } catch (error) {
    throw new AppError("validation", `${flag}: ${messageOf(error)}`, { cause: error })
  }
}

/** What the flags say about one key; undefined when they are silent. */
const givenValue = (key: string, kind: Field["kind"], flags: Flags): unknown => {
  const value = flags[attributeOf(key)]
  if (kind === "boolean") return value === undefined ? undefined : value === "true"
  if (kind !== "json") return value
  const file = flags[attributeOf(`${key}_file`)]
  if (typeof file === "string") return jsonIn(fileText(file, `${flagName(key)}-file`), `${flagName(key)}-file`)
  return typeof value === "string" ? jsonIn(value, flagName(key)) : undefined
}

type Flags = Readonly<Record<string, unknown>>

const bodyOf = (fields: Readonly<Record<string, Field>>, flags: Flags): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields)
      .map(([key, { kind }]) => [key, givenValue(key, kind, flags)] as const)
      .filter(([, value]) => value !== undefined),
  )

const labelOf = (key: string): string =>
  key
    .split("_")
    .map((word) => (word === "id" ? "ID" : word.charAt(0).toUpperCase() + word.slice(1)))
    .join(" ")

/** Every key of the answer; what is no plain value as JSON. */
const rowLines = (row: unknown): string =>
  lines(
    Object.entries(row as Record<string, unknown>).map(([key, value]) => [
      labelOf(key),
      typeof value === "object" && value !== null ? JSON.stringify(value) : (value as Cell),
    ]),
  )

const update = async (resource: Resource<never, never>, { api, show }: Session, id: string, flags: Flags) => {
  const json = bodyOf(resource.fields, flags)
  if (Object.keys(json).length === 0) {
    throw new UsageError(`nothing to change was given: see certctl ${resource.noun} update --help`)
  }
  const row = await (await resource.endpoint(api)[":id"].$put({ param: { id }, json })).json()
  show(row, () => rowLines(row))
}

/** Adds the noun with its five commands and returns it, for commands of its own. */
export const addResource = <Row, Body>(program: Command, cli: Cli, resource: Resource<Row, Body>): Command => {
  const { noun, singular, columns } = resource
  const fields: Readonly<Record<string, Field>> = resource.fields
  const group = program.command(noun).description(resource.description)

  withPages(apiCommand(group, "list", `list ${noun}`)).action(
    calling(cli, async ({ api, showPage }, flags: PageFlags) => {
      const page = await (await resource.endpoint(api).$get({ query: pageQuery(flags) })).json()
      showPage(page as { data: Row[]; total: number }, Object.keys(columns), (row) =>
        Object.values(columns).map((cell) => cell(row)),
      )
    }),
  )

  apiCommand(group, "get", `show one of the ${noun}`)
    .argument("<id>", `id of the ${singular}`, idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const row = await (await resource.endpoint(api)[":id"].$get({ param: { id } })).json()
        show(row, () => rowLines(row))
      }),
    )

  const create = apiCommand(group, "create", `create a ${singular}`)
  for (const [key, field] of Object.entries(fields)) {
    for (const option of fieldOptions(key, field)) create.addOption(option.makeOptionMandatory(field.required === true))
  }
  create.option("--id <id>", "id (default: the server makes one)").action(
    calling(cli, async ({ api, show }, flags: Flags) => {
      const json = { ...bodyOf(fields, flags), id: flags.id }
      const row = await (await resource.endpoint(api).$post({ json })).json()
      show(row, () => rowLines(row))
    }),
  )

  const change = apiCommand(group, "update", `change what is given of a ${singular}`).argument(
    "<id>",
    `id of the ${singular}`,
    idArgument,
  )
  for (const [key, field] of Object.entries(fields)) {
    for (const option of fieldOptions(key, field)) change.addOption(option)
  }
  change.action(
    calling(cli, (session, id: string, flags: Flags) => update(resource as Resource<never, never>, session, id, flags)),
  )

  apiCommand(group, "delete", `delete a ${singular}`)
    .argument("<id>", `id of the ${singular}`, idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        await resource.endpoint(api)[":id"].$delete({ param: { id } })
        show({ status: "deleted" }, () => `${singular} ${id} was deleted`)
      }),
    )
  return group
}
