/** `certctl certs`. */
import { type Command, InvalidArgumentError } from "commander"
import type { InferRequestType, InferResponseType } from "hono/client"
import type { ApiClient } from "./api"
import {
  apiCommand,
  type Cli,
  calling,
  collected,
  commaList,
  idArgument,
  type PageFlags,
  pageQuery,
  type Session,
  withPages,
} from "./cli"
import { type Cell, day, lines, note } from "./output"
import { addExport, addRevocation } from "./revocation"
import { outcomeOf, type WaitFlags, waitForRun, withWait } from "./waiting"

type Certificate = InferResponseType<ApiClient["certificates"][":id"]["$get"]>
type NewCertificate = InferRequestType<ApiClient["certificates"]["$post"]>["json"]

/** A day means its beginning. The API ignores what it cannot read, so it is checked here. */
const timeArgument = (text: string): string => {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(time) || Number.isNaN(Date.parse(time))) {
    throw new InvalidArgumentError("It must be a date such as 2030-01-31 or an RFC 3339 time.")
  }
  return time
}

const tagArgument = (text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> => {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  if (key === undefined || value === undefined) throw new InvalidArgumentError("It must be key=value.")
  return { ...before, [key]: value }
}

const certificateLines = (certificate: Certificate): string =>
  lines([
    ["ID", certificate.id],
    ["Name", certificate.name],
    ["Common Name", certificate.common_name],
    ["Status", certificate.status],
    ["Issuer ID", certificate.issuer_id],
    ["Owner ID", certificate.owner_id],
    ["Team ID", certificate.team_id],
    ["Renewal Policy ID", certificate.renewal_policy_id],
    ["Expires At", day(certificate.expires_at)],
    ["Renews At", day(certificate.renew_at)],
    ["SANs", certificate.sans.join(", ")],
    ["Targets", certificate.target_ids.join(", ")],
  ])

const fieldCell = (value: unknown): Cell =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? value
    : value === undefined
      ? null
      : JSON.stringify(value)

interface ListFlags extends PageFlags {
  readonly status?: string
  readonly env?: string
  readonly issuer?: string
  readonly owner?: string
  readonly team?: string
  readonly profile?: string
  readonly agent?: string
  readonly search?: string
  readonly expiresBefore?: string
  readonly sort?: string
  readonly fields?: readonly string[]
}

const list = async ({ api, showPage }: Session, flags: ListFlags): Promise<void> => {
  const query = {
    ...pageQuery(flags),
    status: flags.status,
    environment: flags.env,
    issuer_id: flags.issuer,
    owner_id: flags.owner,
    team_id: flags.team,
    profile_id: flags.profile,
    agent_id: flags.agent,
    q: flags.search,
    expires_before: flags.expiresBefore,
    sort: flags.sort,
    fields: flags.fields?.join(","),
  }
  const page = await (await api.certificates.$get({ query })).json()
  const { fields } = flags
  if (fields !== undefined) {
    const headers = fields.map((field) => field.replaceAll("_", " ").toUpperCase())
    showPage<object>(page, headers, (row) => fields.map((field) => fieldCell(Reflect.get(row, field))))
    return
  }
  showPage<Partial<Certificate>>(page, ["ID", "COMMON NAME", "STATUS", "EXPIRES", "ISSUER"], (row) => [
    row.id,
    row.common_name,
    row.status,
    day(row.expires_at),
    row.issuer_id,
  ])
}

interface DeployFlags {
  readonly targetId?: string
  readonly versionId?: string
  readonly ignoreWindows?: true
}

/** Starts an issuance or renewal; with `wait` follows it and its deployments to the end. */
const renew = async (cli: Cli, session: Session, id: string, force: boolean, { wait, timeout }: WaitFlags) => {
  const triggered = await (
    await session.api.certificates[":id"].renew.$post({ param: { id }, query: {}, json: { force } })
  ).json()
  if (!wait) {
    session.show(triggered, () => `renewal of ${id} triggered\nJob ID: ${triggered.job_id}`)
    return
  }
  const jobs = await waitForRun(session, triggered.job_id, timeout)
  const failed = jobs.filter((job) => job.status !== "Completed")
  const deployed = jobs.filter((job) => job.type === "Deployment" && job.status === "Completed")
  session.show({ ...triggered, jobs }, () => {
    const placed = deployed.map((job) => job.target_id ?? "").join(", ")
    if (failed.length > 0) return `renewal of ${id} did not succeed\nJob ID: ${triggered.job_id}`
    const where = deployed.length === 0 ? "it has no target to deploy to" : `deployed to ${placed}`
    return `${id} was issued; ${where}\nJob ID: ${triggered.job_id}`
  })
  for (const job of failed) note(outcomeOf(job))
  if (failed.length > 0) cli.finish(1)
}

interface CreateFlags extends WaitFlags {
  readonly commonName: string
  readonly name?: string
  readonly san?: readonly string[]
  readonly ownerId: string
  readonly teamId: string
  readonly issuerId: string
  readonly renewalPolicyId: string
  readonly profileId?: string
  readonly targetId?: readonly string[]
  readonly environment?: string
  readonly tag?: Record<string, string>
  readonly id?: string
  readonly issue?: true
}

const create = async (cli: Cli, session: Session, flags: CreateFlags): Promise<void> => {
  const json: NewCertificate = {
    id: flags.id,
    name: flags.name ?? flags.commonName,
    common_name: flags.commonName,
    sans: flags.san === undefined ? undefined : [...flags.san],
    owner_id: flags.ownerId,
    team_id: flags.teamId,
    issuer_id: flags.issuerId,
    renewal_policy_id: flags.renewalPolicyId,
    certificate_profile_id: flags.profileId,
    target_ids: flags.targetId === undefined ? undefined : [...flags.targetId],
    environment: flags.environment,
    tags: flags.tag,
  }
  const certificate = await (await session.api.certificates.$post({ json })).json()
  if (flags.issue || flags.wait) {
    note(`created ${certificate.id}`)
    return renew(cli, session, encodeURIComponent(certificate.id), false, flags)
  }
  session.show(certificate, () => certificateLines(certificate))
  note(`nothing is issued yet: certctl certs renew ${certificate.id} --wait`)
}

export const addCerts = (program: Command, cli: Cli): void => {
  const certs = program.command("certs").description("managed certificates")

  withPages(
    apiCommand(certs, "list", "list certificates")
      .option("--status <status>", "Pending, Active, Expiring, Expired, RenewalInProgress, Failed, Revoked or Archived")
      .option("--env <environment>", "of this environment")
      .option("--issuer <id>", "of this issuer")
      .option("--owner <id>", "of this owner")
      .option("--team <id>", "of this team")
      .option("--profile <id>", "of this profile")
      .option("--agent <id>", "served by this agent")
      .option("--search <text>", "text in the name, common name, SANs or id")
      .option("--expires-before <date>", "a date or an RFC 3339 time", timeArgument)
      .option(
        "--sort <field>",
        "expiresAt, createdAt, updatedAt, commonName, name, status or environment; `-` in front: descending",
      )
      .option("--fields <names>", "comma list of the API's field names to show", commaList),
  ).action(calling(cli, list))

  apiCommand(certs, "get", "show a certificate")
    .argument("<id>", "id of the certificate", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const certificate = await (await api.certificates[":id"].$get({ param: { id } })).json()
        show(certificate, () => certificateLines(certificate))
      }),
    )

  withWait(
    apiCommand(certs, "create", "create a certificate; --issue has it issued at once")
      .requiredOption("--common-name <name>", "common name")
      .requiredOption("--owner-id <id>", "its owner")
      .requiredOption("--team-id <id>", "its team")
      .option("--issuer-id <id>", "its issuer", "iss-local")
      .option("--renewal-policy-id <id>", "its renewal policy", "rp-default")
      .option("--name <name>", "name for people (default: the common name)")
      .option("--san <name>", "further DNS name, IP address or mail address; may be repeated", collected)
      .option("--target-id <id>", "target that it goes to; may be repeated", collected)
      .option("--profile-id <id>", "profile that says what may be issued")
      .option("--environment <name>", "environment")
      .option("--tag <key=value>", "tag; may be repeated", tagArgument)
      .option("--id <id>", "id (default: the server makes one)")
      .option("--issue", "have it issued and deployed"),
    "the same as --issue, and wait until it is deployed; exit code 1 when that failed",
  ).action(calling(cli, (session, flags: CreateFlags) => create(cli, session, flags)))

  withWait(
    apiCommand(certs, "renew", "issue a certificate, or renew it now")
      .argument("<id>", "id of the certificate", idArgument)
      .option("--force", "also while a renewal is under way"),
    "wait until it is issued and deployed; exit code 1 when that failed",
  ).action(
    calling(cli, (session, id: string, flags: WaitFlags & { force?: true }) =>
      renew(cli, session, id, flags.force === true, flags),
    ),
  )

  apiCommand(certs, "deploy", "deploy a certificate again, to all its targets or to one")
    .argument("<id>", "id of the certificate", idArgument)
    .option("--target-id <id>", "to this target only")
    .option("--version-id <id>", "this older version, while it is still valid")
    .option("--ignore-windows", "at once, also outside the deployment windows of the targets")
    .action(
      calling(cli, async ({ api, show }, id: string, flags: DeployFlags) => {
        const json = {
          target_id: flags.targetId,
          version_id: flags.versionId,
          ...(flags.ignoreWindows === true ? { ignore_windows: true } : {}),
        }
        const answer = await (await api.certificates[":id"].deploy.$post({ param: { id }, json })).json()
        show(answer, () => `deployment of ${id} triggered: certctl jobs list --certificate ${id} --type Deployment`)
      }),
    )

  addRevocation(certs, cli)
  addExport(certs, cli)

  apiCommand(certs, "archive", "stop managing a certificate; its row stays for the record")
    .argument("<id>", "id of the certificate", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        await api.certificates[":id"].$delete({ param: { id } })
        show({ status: "archived" }, () => `${id} was archived`)
      }),
    )

  withPages(
    apiCommand(certs, "versions", "list what was issued for a certificate, newest first").argument(
      "<id>",
      "id of the certificate",
      idArgument,
    ),
  ).action(
    calling(cli, async ({ api, showPage }, id: string, flags: PageFlags) => {
      const page = await (
        await api.certificates[":id"].versions.$get({ param: { id }, query: pageQuery(flags) })
      ).json()
      showPage(page, ["ID", "SERIAL", "NOT BEFORE", "NOT AFTER", "KEY", "AGENT", "FINGERPRINT"], (version) => [
        version.id,
        version.serial_number,
        day(version.not_before),
        day(version.not_after),
        version.key_algorithm === undefined ? null : `${version.key_algorithm} ${version.key_size ?? ""}`.trimEnd(),
        version.agent_id,
        version.fingerprint_sha256,
      ])
    }),
  )
}
