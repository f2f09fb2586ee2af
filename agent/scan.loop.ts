/**
 * Looks through the configured folders for certificates nobody told us about, and reports them. Everything there is reported each
 * time, since the server notes when a certificate was last seen; but only files that have changed are read.
 */
import { readFileSync, statSync } from "node:fs"
import { lstat, readdir, readFile } from "node:fs/promises"
import { basename, join } from "node:path"
import type { Logger } from "@logtape/logtape"
import type { DiscoveredCertificate, DiscoveryBody } from "../src/agents/agent-protocol.schema"
import type { AgentClient } from "../src/client/agent-client"
import { AppError, messageOf } from "../src/errors"
import { type KnownFile, openScanCache, type ScanCache } from "./scan.cache"
import { type Findings, findingsIn, isKeyStore, isWorthReading, unreadable } from "./scanned-file"
import { backoffMs, pause } from "./waiting"

const largestFile = 1024 * 1024
/** Files looked at side by side: disks and network shares answer several questions in the time of one. */
const readers = 16
/** Of one report, well below the 1 MiB that servers take by default. */
const reportBytes = 512 * 1024
/** Beyond that many a report says only how many more there were. */
const mostErrors = 1000

export interface Findable {
  readonly folders: readonly string[]
  readonly cache: ScanCache
  /** Tried in turn on key stores; without any, key stores are not looked into. */
  readonly passwords: readonly string[]
  /** Changes when the passwords may have. */
  readonly passwordStamp: string
  /** Takes what was found as it is found. */
  onFindings(findings: Findings): Promise<void>
}

/** One pass over all folders. Symlinks are not followed; what cannot be read becomes a finding without certificates. */
export const scanFolders = async (
  { folders, cache, passwords, passwordStamp, onFindings }: Findable,
  signal: AbortSignal,
): Promise<void> => {
  const waiting = [...folders]
  cache.begin()
  try {
    for (let folder = waiting.pop(); folder !== undefined && !signal.aborted; folder = waiting.pop()) {
      const here = folder
      const files: string[] = []
      try {
        for (const entry of await readdir(here, { withFileTypes: true })) {
          if (entry.isDirectory()) waiting.push(join(here, entry.name))
          else if (entry.isFile() && isWorthReading(entry.name, passwords.length > 0)) files.push(entry.name)
        }
      } catch (error) {
        await onFindings({ certificates: [], error: `${here}: ${messageOf(error)}` })
        continue
      }
      const { id, files: known } = cache.folder(here)
      const look = async (path: string, before: KnownFile | undefined): Promise<Findings | null> => {
        const { size, mtimeMs, ctimeMs, ino } = await lstat(path)
        const stamp = `${size} ${mtimeMs} ${ctimeMs} ${ino}${isKeyStore(path) ? ` ${passwordStamp}` : ""}`
        if (before?.stamp === stamp) return before.findings === null ? null : JSON.parse(before.findings)
        const findings = size > largestFile ? null : findingsIn(path, await readFile(path), passwords)
        cache.put(id, basename(path), { stamp, findings: findings === null ? null : JSON.stringify(findings) })
        return findings
      }
      await sideBySide(files, async (name) => {
        const before = known.get(name)
        known.delete(name)
        const path = join(here, name)
        const findings = await look(path, before).catch((error) => unreadable(path, error))
        if (findings !== null) await onFindings(findings)
      })
      for (const name of known.keys()) cache.drop(id, name)
    }
  } finally {
    cache.end()
  }
}

const sideBySide = async <T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> => {
  let next = 0
  const reader = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await task(item)
  }
  await Promise.all(Array.from({ length: Math.min(readers, items.length) }, reader))
}

type Report = Required<Pick<DiscoveryBody, "directories" | "errors" | "scan_duration_ms">> & {
  certificates: DiscoveredCertificate[]
}

/** Sends a report; one that the server finds too large goes in halves. */
export const sendReport = async (send: (report: Report) => Promise<void>, report: Report): Promise<void> => {
  try {
    await send(report)
  } catch (error) {
    const { certificates } = report
    if (!(error instanceof AppError && error.code === "too_large") || certificates.length < 2) throw error
    const middle = Math.ceil(certificates.length / 2)
    await sendReport(send, { ...report, certificates: certificates.slice(0, middle) })
    await sendReport(send, { ...report, certificates: certificates.slice(middle), errors: [] })
  }
}

/** Collects findings and hands them on in reports of a size that servers take. */
const reporter = (folders: readonly string[], send: (report: Report) => Promise<void>) => {
  let began = performance.now()
  let certificates: DiscoveredCertificate[] = []
  let errors: string[] = []
  let bytes = 0
  let found = 0
  let failed = 0
  const flush = async (): Promise<void> => {
    if (certificates.length === 0 && errors.length === 0) return
    const now = performance.now()
    const report = {
      directories: [...folders],
      certificates,
      errors,
      scan_duration_ms: Math.round(now - began),
    }
    ;[began, certificates, errors, bytes] = [now, [], [], 0]
    await sendReport(send, report)
  }
  return {
    async add(findings: Findings): Promise<void> {
      for (const certificate of findings.certificates) {
        certificates.push(certificate)
        found++
        bytes += JSON.stringify(certificate).length
      }
      if (findings.error !== undefined) {
        failed++
        if (failed <= mostErrors) errors.push(findings.error)
        bytes += findings.error.length
      }
      if (bytes >= reportBytes) await flush()
    },
    async end(): Promise<number> {
      if (failed > mostErrors) errors.push(`${failed - mostErrors} more files could not be read`)
      await flush()
      return found
    },
  }
}

export interface ScanLoopDeps {
  readonly client: Pick<AgentClient, "reportDiscovery">
  readonly agentId: string
  readonly folders: readonly string[]
  /** One password of key stores a line; null: none. */
  readonly passwordsFile: string | null
  /** Where what was found is remembered. */
  readonly cachePath: string
  readonly intervalMs: number
  readonly backoffUnitMs: number
  readonly log: Logger
}

/** Read anew for every pass: passwords are changed without a restart. */
const passwordsIn = (path: string | null): { passwords: readonly string[]; passwordStamp: string } => {
  if (path === null) return { passwords: [], passwordStamp: "" }
  const { size, mtimeMs, ino } = statSync(path)
  const lines = readFileSync(path, "utf8").split(/\r?\n/)
  return { passwords: lines.filter((line) => line !== ""), passwordStamp: `${size} ${mtimeMs} ${ino}` }
}

const scanOnce = async (deps: ScanLoopDeps, signal: AbortSignal): Promise<number> => {
  const { client, agentId, folders, passwordsFile, cachePath } = deps
  const reports = reporter(folders, (report) => client.reportDiscovery({ agent_id: agentId, ...report }))
  const cache = openScanCache(cachePath)
  try {
    await scanFolders({ folders, cache, ...passwordsIn(passwordsFile), onFindings: reports.add }, signal)
  } finally {
    cache.close()
  }
  return signal.aborted ? 0 : reports.end()
}

/** Scans at once and then every interval, until the signal fires. Without folders there is nothing to do. */
export const scanLoop = async (deps: ScanLoopDeps, signal: AbortSignal): Promise<void> => {
  const { agentId, folders, intervalMs, backoffUnitMs, log } = deps
  if (folders.length === 0) return
  let failures = 0
  while (!signal.aborted) {
    try {
      const found = await scanOnce(deps, signal)
      failures = 0
      if (found > 0) log.info("scan: {found} certificates reported", { found })
    } catch (error) {
      failures++
      log.warn("scan: report of {agentId} failed: {error}", { agentId, error: messageOf(error) })
    }
    // What could not be told is told when the server is back: the files need not be read again.
    await pause(failures === 0 ? intervalMs : Math.min(intervalMs, backoffMs(failures, backoffUnitMs)), signal)
  }
}
