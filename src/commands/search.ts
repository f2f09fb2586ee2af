/** `certctl search`: one search over everything the server has. */
import type { Command } from "commander"
import { apiCommand, type Cli, calling, wholeNumber } from "./cli"
import { note, table } from "./output"

interface SearchFlags {
  readonly kinds?: string
  readonly limit?: number
}

export const addSearch = (program: Command, cli: Cli): void => {
  apiCommand(program, "search", "find anything by a part of its name, its id, serial number or fingerprint")
    .argument("<text>", "what to look for; part of a name is enough from three characters on")
    .option(
      "--kinds <list>",
      "only these, separated by commas: certificate, version, agent, target, issuer, owner, team ...",
    )
    .option("--limit <n>", "results of each kind (default: 5)", wholeNumber(1, 50))
    .action(
      calling(cli, async ({ api, show, isJson }, text: string, { kinds, limit }: SearchFlags) => {
        const query = { q: text, kinds, limit: limit === undefined ? undefined : String(limit) }
        const found = await (await api.search.$get({ query })).json()
        show(found, () =>
          found.data.length === 0
            ? "Nothing found."
            : table(
                ["KIND", "ID", "NAME", "DETAILS", "STATUS", "MATCH"],
                found.data.map((hit) => [
                  hit.kind,
                  hit.id,
                  hit.title,
                  hit.subtitle,
                  hit.status,
                  `${hit.match} ${hit.field}`,
                ]),
              ),
        )
        if (isJson) return
        const shown = Object.groupBy(found.data, ({ kind }) => kind)
        for (const [kind, total] of Object.entries(found.total_by_kind)) {
          const count = shown[kind as keyof typeof shown]?.length ?? 0
          const words = total >= found.counted_to ? `${found.counted_to} or more` : String(total)
          if (count < total) note(`${count} of ${words} of kind ${kind} shown: see --kinds and --limit (at most 50)`)
        }
      }),
    )
}
