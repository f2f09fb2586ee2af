/** Who did what: events are written in the transaction of the change they describe, so that there is no change without one. */
import { type Actor, actorName } from "../access/actor"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice } from "../db/listing"
import { AppError } from "../errors"
import { type Page, rangeOf } from "../server/paging"
import type { AuditEvent, AuditFilter, AuditStore } from "./audit.store"
import { redactDetails } from "./redaction"

export interface NewAuditEvent {
  readonly action: string
  readonly actor: Actor
  readonly resourceType: string
  readonly resourceId: string
  /** JSON. Never secrets, PEM of keys or configuration values; keys that look like one are stored redacted. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** Heard after the COMMIT of any transaction that appended: there are events to seal. */
export const auditTopic = "audit"

interface Deps {
  readonly db: Pick<Db, "signal" | "gather">
  readonly events: AuditStore
  readonly clock: Clock
}

export const auditService = ({ db, events, clock }: Deps) => ({
  /**
   * Adds one event, or several in order, to the caller's transaction. Those of one transaction are written together at its end: a
   * certificate's way through an issuance has four or five.
   */
  async append(tx: Tx, ...added: readonly NewAuditEvent[]): Promise<void> {
    if (added.length === 0) return
    const timestamp = clock.now()
    db.gather(
      tx,
      events.insert,
      added.map(({ action, actor, resourceType, resourceId, details = {} }) => ({
        id: newId("audit-"),
        actor: actorName(actor),
        actorType: actor.type,
        action,
        resourceType,
        resourceId,
        details: redactDetails(details),
        timestamp,
      })),
    )
    db.signal(tx, auditTopic)
  },

  /** Newest first. */
  async list(filter: AuditFilter, range: Page | Slice) {
    const slice = "page" in range ? rangeOf(range) : range
    const [rows, total] = await Promise.all([events.list(filter, slice), events.count(filter)])
    return { rows, total }
  },

  /** All events of a filter, newest first, batch by batch: an export may be larger than memory. */
  async *batches(filter: AuditFilter, size = 500) {
    let after: { createdAt: Date; id: string } | null = null
    for (;;) {
      const batch: AuditEvent[] = await events.list(filter, { limit: size, after })
      if (batch.length > 0) yield batch
      const last = batch.at(-1)
      after = last === undefined ? null : { createdAt: last.timestamp, id: last.id }
      if (batch.length < size) return
    }
  },

  /** @throws AppError `not_found` */
  async get(id: string) {
    const event = await events.find(id)
    if (event === null) throw new AppError("not_found", `audit event ${id} does not exist`)
    return event
  },
})

export type AuditService = ReturnType<typeof auditService>
