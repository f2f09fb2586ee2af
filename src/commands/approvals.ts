/** `certctl approvals`. */
import type { Command } from "commander"
import { apiCommand, type Cli, calling, idArgument, type PageFlags, pageQuery, withPages } from "./cli"
import { day, lines } from "./output"

interface ListFlags extends PageFlags {
  readonly state?: string
  readonly certificate?: string
  readonly requestedBy?: string
}

interface DecisionFlags {
  readonly note?: string
}

/** One value of what was asked for, in words. */
const asked = (metadata: Readonly<Record<string, unknown>> | undefined, key: string): string | undefined => {
  const value = metadata?.[key]
  return Array.isArray(value) ? value.join(", ") : typeof value === "string" ? value : undefined
}

export const addApprovals = (program: Command, cli: Cli): void => {
  const approvals = program.command("approvals").description("issuances that another person must approve")

  withPages(
    apiCommand(approvals, "list", "list approval requests, newest first")
      .option("--state <state>", "pending, approved, rejected or expired")
      .option("--certificate <id>", "of this certificate")
      .option("--requested-by <name>", "asked for by this person"),
  ).action(
    calling(cli, async ({ api, showPage }, flags: ListFlags) => {
      const query = {
        ...pageQuery(flags),
        state: flags.state,
        certificate_id: flags.certificate,
        requested_by: flags.requestedBy,
      }
      const page = await (await api.approvals.$get({ query })).json()
      showPage(page, ["ID", "COMMON NAME", "PROFILE", "REQUESTED BY", "CREATED", "STATE"], (row) => [
        row.id,
        asked(row.metadata, "common_name") ?? row.certificate_id,
        row.profile_id,
        row.requested_by,
        day(row.created_at),
        row.state,
      ])
    }),
  )

  apiCommand(approvals, "get", "show an approval request")
    .argument("<id>", "id of the request", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const row = await (await api.approvals[":id"].$get({ param: { id } })).json()
        show(row, () =>
          lines([
            ["ID", row.id],
            ["State", row.state],
            ["Common Name", asked(row.metadata, "common_name")],
            ["SANs", asked(row.metadata, "sans")],
            ["Issuer ID", asked(row.metadata, "issuer_id")],
            ["Profile ID", row.profile_id],
            ["Certificate ID", row.certificate_id],
            ["Job ID", row.job_id],
            ["Requested By", row.requested_by],
            ["Created At", day(row.created_at)],
            ["Decided By", row.decided_by],
            ["Decided At", row.decided_at === undefined ? undefined : day(row.decided_at)],
            ["Note", row.decision_note],
          ]),
        )
      }),
    )

  apiCommand(approvals, "approve", "approve a request of somebody else: its job goes on")
    .argument("<id>", "id of the request", idArgument)
    .option("--note <text>", "why; stays with the request")
    .action(
      calling(cli, async ({ api, show }, id: string, { note }: DecisionFlags) => {
        const answer = await (await api.approvals[":id"].approve.$post({ param: { id }, json: { note } })).json()
        show(answer, () => `request ${id} was approved by ${answer.decided_by}`)
      }),
    )

  apiCommand(approvals, "reject", "reject a request of somebody else: its job is cancelled")
    .argument("<id>", "id of the request", idArgument)
    .option("--note <text>", "why; stays with the request")
    .action(
      calling(cli, async ({ api, show }, id: string, { note }: DecisionFlags) => {
        const answer = await (await api.approvals[":id"].reject.$post({ param: { id }, json: { note } })).json()
        show(answer, () => `request ${id} was rejected by ${answer.decided_by}`)
      }),
    )
}
