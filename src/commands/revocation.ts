/** `certctl certs revoke`, the commands for many certificates at once, and `certctl certs export`. */
import { readFileSync, writeFileSync } from "node:fs"
import type { Command } from "commander"
import type { InferRequestType } from "hono/client"
import type { InferOutput } from "valibot"
import type { PemAnswer } from "../certificates/revocation.schema"
import { AppError, messageOf } from "../errors"
import type { ApiClient } from "./api"
import { apiCommand, type Cli, calling, idArgument, type Session, UsageError } from "./cli"
import { lines, note, printable } from "./output"

type Reason = NonNullable<InferRequestType<ApiClient["certificates"][":id"]["revoke"]["$post"]>["json"]["reason"]>

/** A hundred thousand certificates take the server minutes, and the answer comes at the end. */
const bulkTimeoutMs = 30 * 60_000

/** `key_compromise` and `key-compromise` are written for `keyCompromise`; what the words are, the server knows. */
const reasonArgument = (text: string): string =>
  text.replace(/[_-]([a-z])/g, (_, letter: string) => letter.toUpperCase())

interface CriteriaFlags {
  readonly profileId?: string
  readonly ownerId?: string
  readonly agentId?: string
  readonly issuerId?: string
  readonly teamId?: string
}

const withCriteria = (command: Command): Command =>
  command
    .argument("[ids...]", "ids of certificates")
    .option("--profile-id <id>", "of this profile")
    .option("--owner-id <id>", "of this owner")
    .option("--agent-id <id>", "that go to targets of this agent")
    .option("--issuer-id <id>", "of this issuer")
    .option("--team-id <id>", "of this team")

const criteriaOf = (ids: readonly string[], flags: CriteriaFlags) => {
  const criteria = {
    profile_id: flags.profileId,
    owner_id: flags.ownerId,
    agent_id: flags.agentId,
    issuer_id: flags.issuerId,
    team_id: flags.teamId,
    certificate_ids: ids.length === 0 ? undefined : [...ids],
  }
  if (Object.values(criteria).every((criterion) => criterion === undefined)) {
    throw new UsageError(
      "which certificates? Give their ids, or --owner-id, --team-id, --issuer-id, --profile-id, --agent-id",
    )
  }
  return criteria
}

interface BulkAnswer {
  readonly total_matched: number
  readonly total_skipped: number
  readonly total_failed: number
  readonly errors?: readonly { readonly certificate_id: string; readonly error: string }[]
}

const report = (cli: Cli, session: Session, answer: BulkAnswer, word: string, done: number): void => {
  session.show(answer, () =>
    lines([
      ["Matched", answer.total_matched],
      [word, done],
      ["Skipped", answer.total_skipped],
      ["Failed", answer.total_failed],
    ]),
  )
  for (const { certificate_id, error } of answer.errors ?? []) note(printable(`${certificate_id}: ${error}`))
  if (answer.total_failed > 0) cli.finish(1)
}

export const addRevocation = (certs: Command, cli: Cli): void => {
  const reasonWords =
    "unspecified, keyCompromise, caCompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold or privilegeWithdrawn"

  apiCommand(certs, "revoke", "revoke what a certificate's agents have now; this cannot be undone")
    .argument("<id>", "id of the certificate", idArgument)
    .requiredOption("--reason <reason>", reasonWords, reasonArgument)
    .action(
      calling(cli, async ({ api, show }, id: string, { reason }: { reason: Reason }) => {
        const answer = await (await api.certificates[":id"].revoke.$post({ param: { id }, json: { reason } })).json()
        show(answer, () => `${id} was revoked (${reason})`)
      }),
    )

  withCriteria(apiCommand(certs, "bulk-revoke", "revoke all certificates that match; for administrators"))
    .requiredOption("--reason <reason>", reasonWords, reasonArgument)
    .action(
      calling(
        cli,
        async (session, ids: readonly string[], flags: CriteriaFlags & { reason: Reason }) => {
          const json = { ...criteriaOf(ids, flags), reason: flags.reason }
          const answer = await (await session.api.certificates["bulk-revoke"].$post({ json })).json()
          report(cli, session, answer, "Revoked", answer.total_revoked)
        },
        { timeoutMs: bulkTimeoutMs },
      ),
    )

  withCriteria(apiCommand(certs, "bulk-renew", "renew all certificates that match")).action(
    calling(
      cli,
      async (session, ids: readonly string[], flags: CriteriaFlags) => {
        const json = criteriaOf(ids, flags)
        const answer = await (await session.api.certificates["bulk-renew"].$post({ json })).json()
        report(cli, session, answer, "Enqueued", answer.total_enqueued)
      },
      { timeoutMs: bulkTimeoutMs },
    ),
  )

  apiCommand(certs, "bulk-reassign", "give certificates to another owner")
    .argument("<ids...>", "ids of certificates")
    .requiredOption("--owner-id <id>", "the new owner")
    .option("--team-id <id>", "the new team (default: each keeps its own)")
    .action(
      calling(
        cli,
        async (session, ids: readonly string[], flags: { ownerId: string; teamId?: string }) => {
          const json = { certificate_ids: [...ids], owner_id: flags.ownerId, team_id: flags.teamId }
          const answer = await (await session.api.certificates["bulk-reassign"].$post({ json })).json()
          report(cli, session, answer, "Reassigned", answer.total_reassigned)
        },
        { timeoutMs: bulkTimeoutMs },
      ),
    )
}

type ExportedPem = InferOutput<typeof PemAnswer>

interface ExportFlags {
  readonly pem?: string | true
  readonly p12?: string | true
  readonly pkcs12?: string | true
  readonly out?: string
  readonly passwordFile?: string
  readonly passwordStdin?: true
}

const readPassword = (path: string): string => {
  try {
    // The line's end is the editor's, blanks may be the password's.
    return readFileSync(path === "-" ? 0 : path, "utf8").replace(/\r?\n$/, "")
  } catch (error) {
    throw new AppError("validation", `--password-file: ${messageOf(error)}`, { cause: error })
  }
}

const write = (path: string, content: string | Buffer): void => {
  try {
    writeFileSync(path, content)
  } catch (error) {
    throw new AppError("validation", `cannot write ${path}: ${messageOf(error)}`, { cause: error })
  }
}

/** The limit's own words are for programs. */
const explained = async <R>(work: Promise<R>): Promise<R> => {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof AppError) || error.body?.error !== "rate_limit_exceeded") throw error
    throw new AppError("rate_limited", "the limit of exports per hour is used up: try again in an hour", {
      cause: error,
    })
  }
}

const exportCertificate = async ({ api, show }: Session, id: string, flags: ExportFlags): Promise<void> => {
  const p12 = flags.p12 ?? flags.pkcs12
  if (flags.pem !== undefined && p12 !== undefined) throw new UsageError("--pem and --p12 exclude each other")
  if (flags.passwordFile !== undefined && flags.passwordStdin) {
    throw new UsageError("--password-file and --password-stdin exclude each other")
  }
  const passwordFrom = flags.passwordStdin ? "-" : flags.passwordFile
  if (p12 === undefined && passwordFrom !== undefined)
    throw new UsageError("only a file made with --p12 has a password")
  const format = p12 ?? flags.pem
  const path = typeof format === "string" ? format : flags.out
  if (p12 === undefined) {
    const call = api.certificates[":id"].export.pem.$get({ param: { id }, query: {} })
    const pem = (await (await explained(call)).json()) as ExportedPem
    if (path === undefined) show(pem, () => pem.full_pem.trimEnd())
    else {
      write(path, pem.full_pem)
      note(`${path} was written`)
    }
    return
  }
  if (path === undefined && process.stdout.isTTY) throw new UsageError("--p12 needs a file: --out FILE")
  const password = passwordFrom === undefined ? "" : readPassword(passwordFrom)
  const answer = await explained(api.certificates[":id"].export.pkcs12.$post({ param: { id }, json: { password } }))
  const file = Buffer.from(await answer.arrayBuffer())
  if (password === "") note("it has an empty password: --password-file or --password-stdin give it one")
  if (path === undefined) process.stdout.write(file)
  else {
    write(path, file)
    note(`${path} was written`)
  }
}

export const addExport = (certs: Command, cli: Cli): void => {
  apiCommand(certs, "export", "export a certificate and its chain, without key: as PEM, or as a PKCS#12 trust store")
    .argument("<id>", "id of the certificate", idArgument)
    .option("--pem [file]", "PEM (the default)")
    .option("--p12 [file]", "PKCS#12, to be trusted by Java and Windows")
    .option("--pkcs12 [file]", "the same as --p12")
    .option("--out <file>", "where to (default: standard output)")
    .option("--password-file <file>", "the password of a PKCS#12 file; - for standard input")
    .option("--password-stdin", "the same as --password-file -")
    .action(calling(cli, exportCertificate))
}
