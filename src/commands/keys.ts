/** `certctl keys`: API keys, for administrators. A key is alone on stdout, so that a script can take it from there. */
import { type Command, Option } from "commander"
import { apiCommand, type Cli, calling, idArgument, type PageFlags, pageQuery, withPages } from "./cli"
import { day, note } from "./output"

interface CreateFlags {
  readonly name: string
  readonly role: "admin" | "operator" | "viewer"
  readonly principal?: string
}

export const addKeys = (program: Command, cli: Cli): void => {
  const keys = program.command("keys").description("API keys")

  apiCommand(keys, "create", "make a key; it is shown this once")
    .requiredOption("--name <name>", "unique name of the key")
    .addOption(
      new Option("--role <role>", "what it may do").choices(["admin", "operator", "viewer"]).makeOptionMandatory(),
    )
    .option("--principal <name>", "whose actions they are (default: the key's name)")
    .action(
      calling(cli, async ({ api, show, isJson }, { name, role, principal }: CreateFlags) => {
        const made = await (await api["api-keys"].$post({ json: { name, role, principal } })).json()
        show(made, () => made.key)
        if (!isJson) note(`key ${made.id} (${made.name}, ${made.role}): keep it now, it is not shown again`)
      }),
    )

  withPages(apiCommand(keys, "list", "list keys; the keys themselves are not kept")).action(
    calling(cli, async ({ api, showPage }, flags: PageFlags) => {
      const page = await (await api["api-keys"].$get({ query: pageQuery(flags) })).json()
      showPage(page, ["ID", "NAME", "PRINCIPAL", "ROLE", "CREATED", "LAST USED", "DISABLED"], (key) => [
        key.id,
        key.name,
        key.principal,
        key.role,
        day(key.created_at),
        day(key.last_used_at),
        day(key.disabled_at),
      ])
    }),
  )

  apiCommand(keys, "rotate", "replace a key; the former one ends at once")
    .argument("<id>", "id of the key", idArgument)
    .action(
      calling(cli, async ({ api, show, isJson }, id: string) => {
        const made = await (await api["api-keys"][":id"].rotate.$post({ param: { id } })).json()
        show(made, () => made.key)
        if (!isJson) note(`key ${made.id} (${made.name}) was replaced: keep it now, it is not shown again`)
      }),
    )

  apiCommand(keys, "disable", "disable a key and end its sessions")
    .argument("<id>", "id of the key", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        await api["api-keys"][":id"].$delete({ param: { id } })
        show({ status: "disabled" }, () => `key ${id} was disabled`)
      }),
    )
}
