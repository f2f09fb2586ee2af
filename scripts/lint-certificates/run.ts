/**
 * Has pkilint and zlint, linters for certificates that are none of ours, judge what the compiled server signs: certificates of all
 * profiles, CAs, revocation lists and OCSP answers. Needs Python 3 with venv and Go, and their registries for the first run.
 */
import "reflect-metadata"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type CertificateSpecimen, makeSpecimens } from "../../src/testing/pki-specimens"
import { openStage } from "../../src/testing/stage"
import { excluded } from "./exclusions"

/** Pinned: another version finds other things, and finds them when nobody has time for them. */
const pkilintVersion = "0.13.3"
const zlintVersion = "v3.6.8"
const cache = join(tmpdir(), `certctl-linters-${pkilintVersion}-${zlintVersion}`)
const python = join(cache, "venv/bin/python")
const zlint = join(cache, "zlint")

interface Finding {
  readonly tool: "pkilint" | "zlint"
  readonly file: string
  readonly severity: string
  readonly lint: string
  readonly message: string
}

const run = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> => {
  const child = Bun.spawn([...argv], { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...env } })
  if ((await child.exited) !== 0) throw new Error(`${argv.join(" ")} failed`)
}

const output = async (argv: readonly string[], input: string): Promise<string> => {
  const child = Bun.spawn([...argv], { stdio: [new Blob([input]), "pipe", "inherit"] })
  const text = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) throw new Error(`${argv[0]} failed`)
  return text
}

const install = async (): Promise<void> => {
  mkdirSync(cache, { recursive: true })
  if (!existsSync(join(cache, "venv/bin/lint_pkix_cert"))) {
    await run(["python3", "-m", "venv", join(cache, "venv")])
    await run([join(cache, "venv/bin/pip"), "install", "-q", `pkilint==${pkilintVersion}`])
  }
  if (!existsSync(zlint)) {
    await run(["go", "install", `github.com/zmap/zlint/v3/cmd/zlint@${zlintVersion}`], { GOBIN: cache })
  }
}

/** The TLS baseline requirements speak of TLS servers and of the CAs and responders behind them. */
const baselineType = ({ role, profile }: CertificateSpecimen): string | null => {
  if (role === "root") return "ROOT-CA"
  if (role === "cross") return "INTERNAL-CROSS-CA"
  if (role === "intermediate") return "INTERNAL-UNCONSTRAINED-TLS-CA"
  if (role === "responder") return "OCSP-RESPONDER"
  return ["server", "staple", "brief", "mutual"].includes(profile) ? "DV-FINAL-CERTIFICATE" : null
}

const pkilint = async (jobs: readonly { file: string; linter: string }[]): Promise<Finding[]> => {
  const found = JSON.parse(await output([python, join(import.meta.dir, "pkilint_all.py")], JSON.stringify(jobs)))
  return found.map((one: Omit<Finding, "tool">) => ({ tool: "pkilint", ...one }))
}

/** What is said of certificates whatever they are for. */
const standards = ["RFC3279", "RFC5280", "RFC5480", "RFC5891", "RFC8813"]

/** Only these say that something is wrong; `na`, `NE` and `pass` do not. */
const zlintSeverities: Readonly<Record<string, string>> = {
  warn: "WARNING",
  error: "ERROR",
  fatal: "FATAL",
}

const zlintFindings = async (file: string, sources: readonly string[]): Promise<Finding[]> => {
  const only = sources.length === 0 ? [] : ["-includeSources", sources.join(",")]
  const results: Record<string, { result: string; details?: string }> = JSON.parse(
    await output([zlint, "-format", "der", ...only, file], ""),
  )
  return Object.entries(results).flatMap(([lint, { result, details }]) => {
    const severity = zlintSeverities[result]
    return severity === undefined ? [] : [{ tool: "zlint" as const, file, severity, lint, message: details ?? "" }]
  })
}

await install()
const stage = openStage()
let code = 0
try {
  const { certificates, crls, ocspAnswers } = await makeSpecimens(stage)
  const write = (name: string, der: Buffer): string => {
    const file = stage.at(`${name.replaceAll(/[^\w-]+/g, "-")}.der`)
    writeFileSync(file, der)
    return file
  }
  const jobs: { file: string; linter: string }[] = []
  const forZlint: { file: string; sources: readonly string[] }[] = []
  for (const specimen of certificates) {
    const file = write(specimen.name, specimen.der)
    const type = baselineType(specimen)
    jobs.push({ file, linter: "pkix" }, ...(type === null ? [] : [{ file, linter: type }]))
    forZlint.push({ file, sources: type === null ? standards : [] })
  }
  for (const { name, der } of crls) {
    const file = write(name, der)
    jobs.push({ file, linter: "crl" })
    forZlint.push({ file, sources: [] })
  }
  for (const { name, der } of ocspAnswers) jobs.push({ file: write(name, der), linter: "ocsp" })
  const findings = await pkilint(jobs)
  for (const { file, sources } of forZlint) findings.push(...(await zlintFindings(file, sources)))

  const used = new Set<string>()
  const remaining = findings.filter(({ severity, lint, message }) => {
    // Notices are remarks, such as how a key identifier was computed.
    if (severity === "INFO" || severity === "NOTICE") return false
    const exclusion = excluded[lint]
    if (exclusion === undefined || !(exclusion.only?.test(message) ?? true)) return true
    used.add(lint)
    return false
  })
  const seen = new Map<string, { first: Finding; times: number }>()
  for (const finding of remaining) {
    const entry = seen.get(finding.lint)
    seen.set(finding.lint, { first: entry?.first ?? finding, times: (entry?.times ?? 0) + 1 })
  }
  for (const { first, times } of seen.values()) {
    console.log(
      `${first.tool} ${first.severity} ${first.lint} (${times}): ${first.file.split("/").at(-1)}: ${first.message}`,
    )
  }
  const stale = Object.keys(excluded).filter((lint) => !used.has(lint))
  if (stale.length > 0) console.log(`excluded, but not found any more: ${stale.join(", ")}`)
  const documents = `${certificates.length} certificates, ${crls.length} lists, ${ocspAnswers.length} OCSP answers`
  console.log(`${documents}: ${remaining.length} findings, ${used.size} lints excluded`)
  if (remaining.length > 0 || stale.length > 0) code = 1
} finally {
  await stage.end()
}
process.exit(code)
