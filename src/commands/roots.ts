/** `certctl issuers roots`, `roll-over` and `retire-root`: the roots that the server keeps for an issuer. */
import { type Command, Option } from "commander"
import type { InferResponseType } from "hono/client"
import { type KeyType, keyTypes } from "../pki/keys"
import type { ApiClient } from "./api"
import { apiCommand, type Cli, calling, idArgument } from "./cli"
import { day, table } from "./output"

type Roots = InferResponseType<ApiClient["issuers"][":id"]["roots"]["$get"], 200>

const rootsTable = ({ data }: Roots): string =>
  table(
    ["KEY", "STATE", "SUBJECT", "FROM", "EXPIRES"],
    data.map((root) => [root.key_id, root.state, root.subject, day(root.not_before), day(root.not_after)]),
  )

export const addRoots = (issuers: Command, cli: Cli): void => {
  apiCommand(issuers, "roots", "list the roots that the server keeps for an issuer, newest first")
    .argument("<id>", "id of the issuer", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const answer = await (await api.issuers[":id"].roots.$get({ param: { id } })).json()
        show(answer, () => rootsTable(answer))
      }),
    )

  apiCommand(issuers, "roll-over", "have a new root sign from now on; each certifies the other")
    .argument("<id>", "id of the issuer", idArgument)
    .addOption(
      new Option("--key-type <type>", "of the new root; default: CERTCTL_CA_KEY_TYPE of the server").choices(keyTypes),
    )
    .action(
      calling(cli, async ({ api, show }, id: string, { keyType }: { keyType?: KeyType }) => {
        const json = keyType === undefined ? {} : { key_type: keyType }
        const answer = await (await api.issuers[":id"].roots.$post({ param: { id }, json })).json()
        show(answer, () => rootsTable(answer))
      }),
    )

  apiCommand(issuers, "retire-root", "stop leading clients from a former root to the present one")
    .argument("<id>", "id of the issuer", idArgument)
    .argument("<key>", "key identifier of the former root", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string, key_id: string) => {
        const param = { id, key_id }
        const answer = await (await api.issuers[":id"].roots[":key_id"].retire.$post({ param })).json()
        show(answer, () => rootsTable(answer))
      }),
    )
}
