/** What agents and scanners find outside our own inventory, and what people make of it. */
import type { Actor } from "../access/actor"
import type { DiscoveredCertificate, DiscoveryBody } from "../agents/agent-protocol.schema"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice } from "../db/listing"
import { AppError } from "../errors"
import { readTime } from "../server/wire"
import { canMove } from "./discovery.machine"
import type {
  DiscoveredFilter,
  DiscoveredRow,
  DiscoveryStore,
  NewDiscovered,
  ScanFilter,
  ScanRow,
} from "./discovery.store"

interface Deps {
  db: Pick<Db, "transaction">
  discoveries: DiscoveryStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Throws `not_found` or `gone`. */
  demandActiveAgent(agentId: string): Promise<unknown>
}

type Report = Pick<DiscoveryBody, "directories" | "certificates" | "errors" | "scan_duration_ms">

/** A place is part of an index entry, which PostgreSQL limits to 2,704 bytes. */
const longestPlaceBytes = 2000
const longestScanMs = 30 * 86_400_000
const largestKeyBits = 1_000_000

const notFound = (id: string) => new AppError("not_found", `discovered certificate ${id} does not exist`)

/** PostgreSQL stores no NUL, and a certificate's names may hold anything. */
const text = (value: string | null | undefined): string => (value ?? "").replaceAll("\0", "")

const wholeNumber = (value: number | null | undefined, most: number): number =>
  Math.min(Math.max(Math.trunc(value ?? 0), 0), most)

/** Only certificates are kept of a PEM: whatever else a file holds, a key above all, stays where it is. */
const certificatesOnly = (pem: string): string =>
  (pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [])
    .map((block) => `${block}\n`)
    .join("")

/** null: no fingerprint, or one of no use; a place too long to be told apart from others. */
const entryOf = (reported: DiscoveredCertificate) => {
  const fingerprintSha256 = (reported.fingerprint_sha256 ?? "").replaceAll(":", "").toLowerCase()
  const sourcePath = text(reported.source_path)
  if (!/^[0-9a-f]{64}$/.test(fingerprintSha256) || Buffer.byteLength(sourcePath) > longestPlaceBytes) return null
  return {
    fingerprintSha256,
    sourcePath,
    commonName: text(reported.common_name),
    sans: (reported.sans ?? []).map(text),
    serialNumber: text(reported.serial_number).replaceAll(":", "").toLowerCase(),
    issuerDn: text(reported.issuer_dn),
    subjectDn: text(reported.subject_dn),
    notBefore: readTime(reported.not_before ?? ""),
    notAfter: readTime(reported.not_after ?? ""),
    keyAlgorithm: text(reported.key_algorithm),
    keySize: wholeNumber(reported.key_size, largestKeyBits),
    isCa: reported.is_ca ?? false,
    pemData: certificatesOnly(text(reported.pem_data)),
    sourceFormat: text(reported.source_format) || "PEM",
  }
}

export const discoveryService = ({ db, discoveries, audit, clock, demandActiveAgent }: Deps) => {
  const get = async (id: string): Promise<DiscoveredRow> => {
    const found = await discoveries.get(id)
    if (found === null) throw notFound(id)
    return found
  }

  return {
    get,

    /** Last seen first. */
    async list(filter: DiscoveredFilter, slice: Slice) {
      const [rows, total] = await Promise.all([discoveries.list(filter, slice), discoveries.total(filter)])
      return { rows, total }
    },

    /** Latest first. */
    async scans(filter: ScanFilter, slice: Slice) {
      const [rows, total] = await Promise.all([discoveries.scans(filter, slice), discoveries.totalScans(filter)])
      return { rows, total }
    },

    /** How many there are of each status, none left out. */
    async summary() {
      const counts = { Unmanaged: 0, Managed: 0, Dismissed: 0 }
      for (const { status, n } of await discoveries.countByStatus()) counts[status] = n
      return counts
    },

    /**
     * Records what one scan found. A certificate seen again at the same place keeps what people made of it.
     * @throws AppError `not_found`, `gone` the agent; `validation` there is neither a certificate nor an error
     */
    async report(agentId: string, report: Report, actor: Actor): Promise<ScanRow> {
      await demandActiveAgent(agentId)
      const reported = report.certificates ?? []
      const errors = report.errors ?? []
      if (reported.length === 0 && errors.length === 0) {
        throw new AppError("validation", "certificates is required where errors is empty")
      }
      const entries = reported.map(entryOf).filter((entry) => entry !== null)
      // One row per place, in one order: two reports of an agent at the same moment must not wait for each other in a circle.
      const places = new Map(entries.map((entry) => [`${entry.fingerprintSha256} ${entry.sourcePath}`, entry]))
      const ordered = [...places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)

      const now = clock.now()
      const scanDurationMs = wholeNumber(report.scan_duration_ms, longestScanMs)
      const scan: ScanRow = {
        id: newId("ds-"),
        agentId,
        directories: (report.directories ?? []).map(text),
        certificatesFound: entries.length,
        certificatesNew: 0,
        errorsCount: errors.length + reported.length - entries.length,
        scanDurationMs,
        startedAt: new Date(now.getTime() - scanDurationMs),
        completedAt: now,
      }
      const rows = ordered.map(
        (entry): NewDiscovered => ({
          ...entry,
          id: newId("dc-"),
          agentId,
          discoveryScanId: scan.id,
          status: "Unmanaged",
          firstSeenAt: now,
          lastSeenAt: now,
          createdAt: now,
          updatedAt: now,
        }),
      )
      return db.transaction(async (tx) => {
        await discoveries.insertScan(tx, scan)
        const certificatesNew = (await discoveries.record(tx, rows)).length
        await discoveries.setNewCount(tx, scan.id, certificatesNew)
        await audit.append(tx, {
          action: "discovery_scan_completed",
          actor,
          resourceType: "discovery_scan",
          resourceId: scan.id,
          details: {
            agent_id: agentId,
            found: scan.certificatesFound,
            new: certificatesNew,
            errors: scan.errorsCount,
          },
        })
        return { ...scan, certificatesNew }
      })
    },

    /**
     * Says that a found certificate is one we manage. Saying it twice is fine.
     * @throws AppError `not_found`; `bad_reference` no such managed certificate; `invalid_state` it is another one's
     */
    claim: (id: string, certificateId: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const found = await discoveries.lock(tx, id)
        if (found === null) throw notFound(id)
        const status = await discoveries.managedStatus(tx, certificateId)
        if (status === null || status === "Archived") {
          const problem = status === null ? `there is no ${certificateId}` : `${certificateId} is archived`
          throw new AppError(
            "bad_reference",
            `managed_certificate_id must be the id of a managed certificate; ${problem}`,
          )
        }
        if (!canMove(found.status, "Managed")) {
          if (found.managedCertificateId === certificateId) return
          throw new AppError(
            "invalid_state",
            `discovered certificate ${id} is claimed by ${found.managedCertificateId}; dismiss it first`,
          )
        }
        await discoveries.update(tx, id, {
          status: "Managed",
          managedCertificateId: certificateId,
          dismissedAt: null,
          updatedAt: clock.now(),
        })
        await audit.append(tx, {
          action: "discovery_cert_claimed",
          actor,
          resourceType: "discovered_certificate",
          resourceId: id,
          details: { managed_certificate_id: certificateId, from: found.status, to: "Managed" },
        })
      }),

    /** Says that a found certificate is of no interest. Saying it twice is fine. @throws AppError `not_found` */
    dismiss: (id: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const found = await discoveries.lock(tx, id)
        if (found === null) throw notFound(id)
        if (!canMove(found.status, "Dismissed")) return
        const now = clock.now()
        await discoveries.update(tx, id, {
          status: "Dismissed",
          managedCertificateId: null,
          dismissedAt: now,
          updatedAt: now,
        })
        await audit.append(tx, {
          action: "discovery_cert_dismissed",
          actor,
          resourceType: "discovered_certificate",
          resourceId: id,
          details: { from: found.status, to: "Dismissed" },
        })
      }),
  }
}

export type DiscoveryService = ReturnType<typeof discoveryService>
