/** Notifications: written with the change they tell of, looked at and sent again by people. Delivery is delivery.service's. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Channel, Severity } from "../connectors/notifiers/contract"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice } from "../db/listing"
import { AppError } from "../errors"
import { type NotificationType, tagged } from "./message-tags"
import { canMove } from "./notification.machine"
import type { CertificateFacts, NotificationFilter, NotificationRow, NotificationStore } from "./notification.store"

export interface NewNotification {
  readonly type: NotificationType
  /** null: about no certificate; then nobody owns it, and there is no e-mail. */
  readonly certificateId: string | null
  readonly message: string
  /** Default: what is usual for the type. */
  readonly channels?: readonly Channel[]
  /** Default: what is usual for the type. */
  readonly severity?: Severity
  /** Days, of an expiry alert. */
  readonly threshold?: number
  /** Of the certificate, where the caller has read them in this transaction. */
  readonly facts?: Pick<CertificateFacts, "ownerEmail" | "ownerId">
  /** Written as dealt with instead of being sent: why. */
  readonly covered?: string
}

/** Heard after the COMMIT of any transaction that left something to deliver. */
export const notificationTopic = "notifications"

interface Deps {
  db: Pick<Db, "transaction" | "signal">
  notifications: NotificationStore
  audit: Pick<AuditService, "append">
  clock: Clock
}

const usualChannels = (type: NotificationType): readonly Channel[] =>
  type === "Revocation" ? ["Webhook", "Email"] : ["Email"]

const missing = (id: string) => new AppError("not_found", `notification ${id} does not exist`)

export const notificationService = ({ db, notifications, audit, clock }: Deps) => {
  /** Whatever became of it, somebody decides. It is no change, and no event, where that has been decided already. */
  const change = (
    id: string,
    action: string,
    actor: Actor,
    patch: Partial<NotificationRow> & Pick<NotificationRow, "status">,
  ): Promise<void> =>
    db.transaction(async (tx) => {
      const row = await notifications.lock(tx, id)
      if (row === null) throw missing(id)
      const [from, to] = [row.status, patch.status]
      if (!canMove(from, to)) return
      await notifications.update(tx, id, patch)
      await audit.append(tx, { actor, action, resourceType: "notification", resourceId: id, details: { from, to } })
      if (to === "pending") db.signal(tx, notificationTopic, row.channel)
    })

  const rowsFor = (
    notification: Omit<NewNotification, "facts">,
    facts: NewNotification["facts"] | null,
  ): NotificationRow[] => {
    const { type, certificateId, message, channels = usualChannels(type), covered } = notification
    const owner = facts ? facts.ownerEmail || facts.ownerId : null
    return channels.flatMap((channel): NotificationRow[] => {
      const recipient = channel === "Email" ? owner : channel
      if (recipient === null) return []
      return [
        {
          id: newId("notif-"),
          type,
          certificateId,
          channel,
          recipient,
          message: tagged(message, { type, severity: notification.severity, threshold: notification.threshold }),
          status: covered === undefined ? "pending" : "sent",
          sentAt: null,
          error: covered ?? null,
          retryCount: 0,
          nextRetryAt: null,
          lastError: null,
          createdAt: clock.now(),
        },
      ]
    })
  }

  return {
    /**
     * Writes one pending row per channel of each in the caller's transaction; delivery begins when it has committed. E-mail goes to the
     * owner of the certificate: to the owner's id where there is no address, so that the delivery fails where it is seen.
     */
    async notify(tx: Tx, ...added: readonly NewNotification[]): Promise<void> {
      const rows: NotificationRow[] = []
      for (const { facts, ...notification } of added) {
        const { certificateId } = notification
        const known = facts ?? (certificateId === null ? null : await notifications.facts(tx, certificateId))
        rows.push(...rowsFor(notification, known))
      }
      await notifications.insert(tx, rows)
      if (rows.some(({ status }) => status === "pending")) db.signal(tx, notificationTopic)
    },

    async list(filter: NotificationFilter, slice: Slice) {
      const [rows, total] = await Promise.all([notifications.list(filter, slice), notifications.total(filter)])
      return { rows, total }
    },

    /** @throws AppError `not_found` */
    async get(id: string): Promise<NotificationRow> {
      const row = await notifications.get(id)
      if (row === null) throw missing(id)
      return row
    },

    /** @throws AppError `not_found` */
    markRead: (id: string, actor: Actor): Promise<void> =>
      change(id, "notification_read", actor, { status: "read", nextRetryAt: null }),

    /** Sends it again from the start, whatever became of it; one that waits for its first delivery waits. @throws AppError `not_found` */
    requeue: (id: string, actor: Actor): Promise<void> =>
      change(id, "notification_requeued", actor, {
        status: "pending",
        retryCount: 0,
        nextRetryAt: null,
        lastError: null,
        error: null,
        sentAt: null,
      }),
  }
}

export type NotificationService = ReturnType<typeof notificationService>
