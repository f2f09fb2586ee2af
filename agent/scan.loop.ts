/** Looks through the configured folders for certificates nobody told us about, and reports them. Keys are never read. */
import { lstat, readdir, readFile } from "node:fs/promises"
import { extname, join } from "node:path"
import type { Logger } from "@logtape/logtape"
import type { DiscoveredCertificate, DiscoveryBody } from "../src/agents/agent-protocol.schema"
import type { AgentClient } from "../src/client/agent-client"
import { messageOf } from "../src/errors"
import { parseCertificate } from "../src/pki/certificate"
import { certificateBlocks } from "../src/pki/pem"
import { pause } from "./waiting"

const largestFile = 1024 * 1024
const pemExtensions = new Set([".pem", ".crt", ".cer", ".cert"])
/** Often PEM, sometimes DER: the content tells. */
const eitherExtensions = new Set([".crt", ".cer"])

/** One pass over all folders. Symlinks are not followed; what cannot be read becomes a line of `errors`. */
export const scanFolders = async (
  folders: readonly string[],
): Promise<Required<Pick<DiscoveryBody, "directories" | "certificates" | "errors" | "scan_duration_ms">>> => {
  const started = performance.now()
  const certificates: DiscoveredCertificate[] = []
  const errors: string[] = []
  const waiting = [...folders]
  for (let folder = waiting.shift(); folder !== undefined; folder = waiting.shift()) {
    try {
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name)
        if (entry.isDirectory()) waiting.push(path)
        else if (entry.isFile()) await scanFile(path, certificates, errors)
      }
    } catch (error) {
      errors.push(`${folder}: ${messageOf(error)}`)
    }
  }
  return {
    directories: [...folders],
    certificates,
    errors,
    scan_duration_ms: Math.round(performance.now() - started),
  }
}

const scanFile = async (path: string, certificates: DiscoveredCertificate[], errors: string[]): Promise<void> => {
  const extension = extname(path).toLowerCase()
  if (extension === "" || extension === ".key") return
  try {
    if ((await lstat(path)).size > largestFile) return
    const bytes = await readFile(path)
    const isDer = extension === ".der" || (eitherExtensions.has(extension) && bytes[0] === 0x30)
    for (const der of isDer ? [bytes] : certificateBlocks(bytes.toString("latin1"))) {
      certificates.push(described(der, path, isDer ? "DER" : "PEM"))
    }
  } catch (error) {
    // A file with another extension may hold anything: only what claims to be a certificate is worth a word.
    if (pemExtensions.has(extension) || extension === ".der") errors.push(`${path}: ${messageOf(error)}`)
  }
}

const described = (der: Buffer, path: string, format: "PEM" | "DER"): DiscoveredCertificate => {
  const facts = parseCertificate(der)
  return {
    fingerprint_sha256: facts.fingerprint,
    common_name: facts.commonName,
    sans: facts.sans.map(({ value }) => value),
    serial_number: facts.serial,
    issuer_dn: facts.issuerDn,
    subject_dn: facts.subjectDn,
    not_before: facts.notBefore.toISOString(),
    not_after: facts.notAfter.toISOString(),
    key_algorithm: facts.keyAlgorithm,
    key_size: facts.keySize,
    is_ca: facts.isCa,
    pem_data: facts.pem,
    source_path: path,
    source_format: format,
  }
}

interface ScanLoopDeps {
  readonly client: Pick<AgentClient, "reportDiscovery">
  readonly agentId: string
  readonly folders: readonly string[]
  readonly intervalMs: number
  readonly log: Logger
}

/** Scans at once and then every interval, until the signal fires. Without folders there is nothing to do. */
export const scanLoop = async (deps: ScanLoopDeps, signal: AbortSignal): Promise<void> => {
  const { client, agentId, folders, intervalMs, log } = deps
  if (folders.length === 0) return
  while (!signal.aborted) {
    const report = await scanFolders(folders)
    const found = report.certificates?.length ?? 0
    if (found > 0 || report.errors?.length) {
      await client
        .reportDiscovery({ agent_id: agentId, ...report })
        .then(() => log.info("scan: {found} certificates reported", { found }))
        .catch((error) => log.warn("scan: report failed: {error}", { error: messageOf(error) }))
    }
    await pause(intervalMs, signal)
  }
}
