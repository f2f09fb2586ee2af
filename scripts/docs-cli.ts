/**
 * `npm run docs` writes docs/reference/cli.md from the commands' own help, so that it cannot say anything else. A test compares
 * the two.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Command } from "commander"
import { programOf } from "../src/commands/run"

export const cliReferencePath = join(import.meta.dir, "../docs/reference/cli.md")

/** Not the width of whatever terminal this runs in. */
const width = 110

const introduction = `# Command line

Written by \`npm run docs\` from \`certctl --help\`.

- Results go to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 2 called wrongly.
- The options of \`certctl\` itself stand before the command; commands that talk to a server take them behind their name too. A flag
  beats its variable.
- \`--json\` prints the API's answer. Without it lists are tables with dates in UTC and \`-\` where there is nothing.
- Keys: \`CERTCTL_API_KEY\` holds one or, as \`file:PATH\`, says where it lies; \`--api-key\` takes the same two forms, but what a command
  line holds every user of the host can read.
- On the server's own host: without \`--server\` and \`CERTCTL_SERVER_URL\` the server is \`https://localhost:8443\` (or
  \`CERTCTL_SERVER_PORT\`). Where \`tls/ca.pem\` in the data directory can be read, that CA is the one it must have; where no key is given
  either, \`initial-admin-key\` there is used until the first \`certctl keys create\` removes it. So \`sudo certctl agents token create\` works
  right after the installation. That key is never sent to an address somebody named.
`

const nameOf = (command: Command): string =>
  command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`

const sectionsOf = (command: Command, depth: number): string[] => {
  command.configureOutput({ getOutHelpWidth: () => width, getOutHasColors: () => false })
  const help = command.helpInformation().trimEnd()
  const subcommands = command
    .createHelp()
    .visibleCommands(command)
    .filter((sub) => sub.name() !== "help")
  return [
    `${"#".repeat(Math.min(depth, 4))} ${nameOf(command)}\n\n\`\`\`text\n${help}\n\`\`\`\n`,
    ...subcommands.flatMap((sub) => sectionsOf(sub, depth + 1)),
  ]
}

export const cliReference = (): string => {
  const program = programOf({ env: {}, finish: () => undefined })
  return [introduction, ...sectionsOf(program, 2)].join("\n")
}

if (import.meta.main) {
  mkdirSync(dirname(cliReferencePath), { recursive: true })
  writeFileSync(cliReferencePath, cliReference())
  console.log("docs/reference/cli.md written")
}
