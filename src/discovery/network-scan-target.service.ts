/** Network scan targets: which addresses and ports are looked at for certificates, and how often. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { AppError } from "../errors"
import type { NetworkScanTargetRow, NetworkScanTargetStore } from "./network-scan-target.store"

type Settings = Omit<
  NetworkScanTargetRow,
  "id" | "lastScanAt" | "lastScanDurationMs" | "lastScanCertsFound" | "createdAt" | "updatedAt"
>

export type NewNetworkScanTarget = Settings
export type NetworkScanTargetPatch = Partial<Settings>

interface Deps {
  db: Pick<Db, "transaction">
  targets: NetworkScanTargetStore
  audit: Pick<AuditService, "append">
  clock: Clock
}

const notFound = (id: string) => new AppError("not_found", `network scan target ${id} does not exist`)
const resourceType = "network_scan_target"

export const networkScanTargetService = ({ db, targets, audit, clock }: Deps) => ({
  /** Newest first. `total` counts all targets that match. */
  async list(filter: TextFilter, slice: Slice) {
    const [rows, total] = await Promise.all([targets.list(filter, slice), targets.total(filter)])
    return { rows, total }
  },

  async get(id: string): Promise<NetworkScanTargetRow> {
    const target = await targets.get(id)
    if (target === null) throw notFound(id)
    return target
  },

  create: (settings: NewNetworkScanTarget, actor: Actor): Promise<NetworkScanTargetRow> =>
    db.transaction(async (tx) => {
      const now = clock.now()
      const target: NetworkScanTargetRow = {
        ...settings,
        id: newId("nst-"),
        lastScanAt: null,
        lastScanDurationMs: null,
        lastScanCertsFound: null,
        createdAt: now,
        updatedAt: now,
      }
      await targets.insert(tx, target)
      await audit.append(tx, { action: "network_scan_target_created", actor, resourceType, resourceId: target.id })
      return target
    }),

  /** Keys that are absent keep their value. @throws AppError `not_found` */
  update: (id: string, patch: NetworkScanTargetPatch, actor: Actor): Promise<NetworkScanTargetRow> =>
    db.transaction(async (tx) => {
      const target = await targets.update(tx, id, { ...patch, updatedAt: clock.now() })
      if (target === null) throw notFound(id)
      await audit.append(tx, {
        action: "network_scan_target_updated",
        actor,
        resourceType,
        resourceId: id,
        details: { changed: Object.keys(patch) },
      })
      return target
    }),

  /** What it found stays. @throws AppError `not_found` */
  remove: (id: string, actor: Actor): Promise<void> =>
    db.transaction(async (tx) => {
      if (!(await targets.remove(tx, id))) throw notFound(id)
      await audit.append(tx, { action: "network_scan_target_deleted", actor, resourceType, resourceId: id })
    }),
})

export type NetworkScanTargetService = ReturnType<typeof networkScanTargetService>
