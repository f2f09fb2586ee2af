/** `certctl import`: certificates that exist already, from PEM files, into the inventory. Keys in the files are not looked at. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import type { Command } from "commander"
import { AppError, messageOf } from "../errors"
import type { CertificateFacts } from "../pki/certificate"
import { apiCommand, type Cli, calling, type Session } from "./cli"
import { lines, note, printable } from "./output"

interface ImportFlags {
  readonly ownerId: string
  readonly teamId: string
  readonly renewalPolicyId: string
  readonly issuerId: string
  readonly nameTemplate: string
  readonly environment: string
}

interface Outcome {
  readonly file: string
  readonly common_name?: string
  readonly certificate_id?: string
  readonly error?: string
}

const looksLikePem = /\.(pem|crt|cer|cert)$/i

/** Files as given; of folders, what their names say is PEM, at any depth. */
const filesIn = (path: string): string[] =>
  statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && looksLikePem.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name))
        .sort()
    : [path]

const nameOf = (facts: CertificateFacts): string | null => facts.commonName || facts.sans[0]?.value || null

/** Everybody's failure, not this certificate's. */
const concernsAll = (error: AppError): boolean =>
  ["unauthenticated", "forbidden", "unavailable", "rate_limited"].includes(error.code)

const importOne = async ({ api }: Session, facts: CertificateFacts, flags: ImportFlags): Promise<Partial<Outcome>> => {
  const commonName = nameOf(facts)
  if (commonName === null) return { error: "it has neither a common name nor a subject alternative name" }
  const name = flags.nameTemplate.replaceAll("{cn}", commonName).replaceAll("{serial}", facts.serial)
  try {
    const response = await api.certificates.$post({
      json: {
        name,
        common_name: commonName,
        sans: facts.sans.map(({ value }) => value),
        owner_id: flags.ownerId,
        team_id: flags.teamId,
        issuer_id: flags.issuerId,
        renewal_policy_id: flags.renewalPolicyId,
        environment: flags.environment,
        status: "Active",
        expires_at: facts.notAfter.toISOString(),
      },
    })
    return { common_name: commonName, certificate_id: (await response.json()).id }
  } catch (error) {
    if (!(error instanceof AppError) || concernsAll(error)) throw error
    return { common_name: commonName, error: error.message }
  }
}

/** The certificates of a file that are not CAs. Throws what is wrong with the file. */
const leavesIn = async (file: string): Promise<CertificateFacts[]> => {
  const [{ certificateBlocks }, { parseCertificate }] = await Promise.all([
    import("../pki/pem"),
    import("../pki/certificate"),
  ])
  const blocks = certificateBlocks(readFileSync(file, "utf8"))
  if (blocks.length === 0) throw new AppError("validation", "it holds no PEM certificate")
  return blocks.map(parseCertificate).filter(({ isCa }) => !isCa)
}

const importAll = async (cli: Cli, session: Session, paths: readonly string[], flags: ImportFlags): Promise<void> => {
  const outcomes: Outcome[] = []
  const add = (outcome: Outcome) => {
    outcomes.push(outcome)
    const words = outcome.error === undefined ? `imported as ${outcome.certificate_id}` : `failed: ${outcome.error}`
    note(printable(`${outcome.file}: ${outcome.common_name === undefined ? "" : `${outcome.common_name}: `}${words}`))
  }
  const seen = new Set<string>()
  for (const path of paths) {
    let files: string[] = []
    try {
      files = filesIn(path)
    } catch (error) {
      add({ file: path, error: messageOf(error) })
    }
    for (const file of files) {
      let leaves: CertificateFacts[] = []
      try {
        leaves = await leavesIn(file)
        if (leaves.length === 0) note(`${file}: nothing to import: CA certificates only`)
      } catch (error) {
        add({ file, error: messageOf(error) })
      }
      for (const facts of leaves) {
        // The same certificate often lies in several files: alone, with its chain, with its key.
        if (seen.has(facts.fingerprint)) continue
        seen.add(facts.fingerprint)
        add({ file, ...(await importOne(session, facts, flags)) })
      }
    }
  }
  const failed = outcomes.filter(({ error }) => error !== undefined).length
  const imported = outcomes.length - failed
  session.show({ imported, failed, files: outcomes }, () =>
    lines([
      ["Imported", imported],
      ["Failed", failed],
    ]),
  )
  if (failed > 0) cli.finish(1)
}

export const addImport = (program: Command, cli: Cli): void => {
  apiCommand(
    program,
    "import",
    "take existing certificates from PEM files into the inventory; CA certificates are left out",
  )
    .argument("<files...>", "PEM files, or folders to search for .pem, .crt, .cer and .cert files")
    .requiredOption("--owner-id <id>", "their owner")
    .requiredOption("--team-id <id>", "their team")
    .requiredOption("--renewal-policy-id <id>", "their renewal policy")
    .requiredOption("--issuer-id <id>", "the issuer that renews them")
    .option("--name-template <template>", "their names; {cn} and {serial} are replaced", "{cn}")
    .option("--environment <name>", "their environment", "imported")
    .action(
      calling(cli, (session, files: readonly string[], flags: ImportFlags) => importAll(cli, session, files, flags)),
    )
}
