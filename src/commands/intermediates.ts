/** `certctl intermediates`: the CAs of an issuer's hierarchy. */
import { readFileSync } from "node:fs"
import type { Command } from "commander"
import { AppError, messageOf } from "../errors"
import { apiCommand, type Cli, calling, idArgument } from "./cli"
import { day, lines, table } from "./output"

interface RootFlags {
  readonly name: string
  readonly cert: string
  readonly key: string
}

interface ChildFlags {
  readonly name: string
  readonly parent: string
  readonly organization: readonly string[]
  readonly country?: string
  readonly algorithm?: "ECDSA-P256" | "ECDSA-P384" | "RSA-2048" | "RSA-3072" | "RSA-4096"
  readonly days?: number
  readonly pathLen?: number
  readonly permit: readonly string[]
  readonly exclude: readonly string[]
}

interface RetireFlags {
  readonly note?: string
  readonly confirm?: boolean
}

const readPem = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    throw new AppError("validation", `cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
}

const each = (value: string, former: readonly string[]): readonly string[] => [...former, value]
const nothing: readonly string[] = []

export const addIntermediates = (program: Command, cli: Cli): void => {
  const intermediates = program.command("intermediates").description("CAs of an issuer's hierarchy")

  apiCommand(intermediates, "list", "list the CAs of an issuer, newest first")
    .argument("<issuer>", "id of the issuer", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const answer = await (await api.issuers[":id"].intermediates.$get({ param: { id } })).json()
        show(answer, () =>
          table(
            ["ID", "NAME", "SUBJECT", "PARENT", "STATE", "EXPIRES"],
            answer.data.map((ca) => [ca.id, ca.name, ca.subject, ca.parent_ca_id, ca.state, day(ca.not_after)]),
          ),
        )
      }),
    )

  apiCommand(intermediates, "get", "show a CA and its certificate")
    .argument("<id>", "id of the CA", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const ca = await (await api.intermediates[":id"].$get({ param: { id } })).json()
        show(ca, () =>
          lines([
            ["ID", ca.id],
            ["Name", ca.name],
            ["Subject", ca.subject],
            ["Issuer ID", ca.owning_issuer_id],
            ["Parent", ca.parent_ca_id],
            ["State", ca.state],
            ["Valid", `${day(ca.not_before)} to ${day(ca.not_after)}`],
            ["Path Length", ca.path_len_constraint],
            ["Certificate", `\n${ca.cert_pem.trim()}`],
          ]),
        )
      }),
    )

  apiCommand(intermediates, "add-root", "register a root whose key lies in a file of the server's host")
    .argument("<issuer>", "id of the issuer", idArgument)
    .requiredOption("--name <name>", "what to call it")
    .requiredOption("--cert <file>", "its certificate, PEM, on this machine")
    .requiredOption("--key <path>", "its key file on the server's host")
    .action(
      calling(cli, async ({ api, show }, id: string, { name, cert, key }: RootFlags) => {
        const json = { name, root_cert_pem: readPem(cert), key_driver_id: key }
        const ca = await (await api.issuers[":id"].intermediates.$post({ param: { id }, json })).json()
        show(ca, () => `${ca.id}: ${ca.subject}`)
      }),
    )

  apiCommand(intermediates, "add", "make a CA below another one; its key is made and sealed on the server")
    .argument("<issuer>", "id of the issuer", idArgument)
    .requiredOption("--name <name>", "what to call it, and its common name")
    .requiredOption("--parent <id>", "id of the CA above")
    .option("--organization <name>", "organization of its subject; may be repeated", each, nothing)
    .option("--country <code>", "country of its subject, two letters")
    .option("--algorithm <name>", "ECDSA-P256 (default), ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096")
    .option("--days <n>", "lifetime (default 1825), at most the parent's", Number)
    .option("--path-len <n>", "how many levels of CAs may stand below", Number)
    .option(
      "--permit <name>",
      "only names below this domain, in this IP range or @mail domain; may be repeated",
      each,
      nothing,
    )
    .option("--exclude <name>", "no names like this; may be repeated", each, nothing)
    .action(
      calling(cli, async ({ api, show }, id: string, flags: ChildFlags) => {
        const json = {
          name: flags.name,
          parent_ca_id: flags.parent,
          subject: {
            common_name: flags.name,
            organization: [...flags.organization],
            ...(flags.country === undefined ? {} : { country: [flags.country] }),
          },
          algorithm: flags.algorithm,
          ttl_days: flags.days,
          path_len_constraint: flags.pathLen,
          name_constraints:
            flags.permit.length + flags.exclude.length === 0
              ? []
              : [{ permitted: [...flags.permit], excluded: [...flags.exclude] }],
        }
        const ca = await (await api.issuers[":id"].intermediates.$post({ param: { id }, json })).json()
        show(ca, () => `${ca.id}: ${ca.subject}, until ${day(ca.not_after)}`)
      }),
    )

  apiCommand(intermediates, "retire", "retire a CA: it signs nothing new; a second time with --confirm ends it")
    .argument("<id>", "id of the CA", idArgument)
    .option("--note <text>", "why; stays in the audit trail")
    .option("--confirm", "end a CA that is retiring")
    .action(
      calling(cli, async ({ api, show }, id: string, { note, confirm }: RetireFlags) => {
        const answer = await (
          await api.intermediates[":id"].retire.$post({ param: { id }, json: { note, confirm } })
        ).json()
        show(answer, () =>
          answer.confirmed ? `${id} is retired` : `${id} is retiring: it signs nothing new; --confirm ends it`,
        )
      }),
    )
}
