/** Notifications: written with the change they tell of, looked at and sent again by people. Delivery is delivery.service's. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Channel, Severity } from "../connectors/notifiers/contract"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import type { CursorPage } from "../server/paging"
import { type NotificationType, tagged } from "./message-tags"
import type { NotificationFilter, NotificationRow, NotificationStore } from "./notification.store"

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
  const change = async (
    id: string,
    action: string,
    actor: Actor,
    patch: Partial<NotificationRow>,
  ): Promise<NotificationRow> =>
    db.transaction(async (tx) => {
      const row = await notifications.update(tx, id, patch)
      if (row === null) throw missing(id)
      await audit.append(tx, { actor, action, resourceType: "notification", resourceId: id })
      if (row.status === "pending") db.signal(tx, notificationTopic, row.channel)
      return row
    })

  return {
    /**
     * Writes one pending row per channel in the caller's transaction; delivery begins when it has committed. E-mail goes to the
     * owner of the certificate: to the owner's id where there is no address, so that the delivery fails where it is seen.
     */
    async notify(tx: Tx, notification: NewNotification): Promise<void> {
      const { type, certificateId, message, channels = usualChannels(type), covered } = notification
      const facts = certificateId === null ? null : await notifications.facts(tx, certificateId)
      const owner = facts === null ? null : facts.ownerEmail || facts.ownerId
      const rows = channels.flatMap((channel): NotificationRow[] => {
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
      await notifications.insert(tx, rows)
      if (rows.length > 0 && covered === undefined) db.signal(tx, notificationTopic)
    },

    async list(filter: NotificationFilter, range: { limit: number; offset: number }) {
      const [rows, total] = await Promise.all([notifications.list(filter, range), notifications.total(filter)])
      return { rows, total }
    },

    /** One row more than the page, where there is one. */
    async listAfter(filter: NotificationFilter, { pageSize, after }: CursorPage) {
      const [rows, total] = await Promise.all([
        notifications.listAfter(filter, pageSize + 1, after),
        notifications.total(filter),
      ])
      return { rows, total }
    },

    /** @throws AppError `not_found` */
    async get(id: string): Promise<NotificationRow> {
      const row = await notifications.get(id)
      if (row === null) throw missing(id)
      return row
    },

    /** @throws AppError `not_found` */
    async markRead(id: string, actor: Actor): Promise<void> {
      await change(id, "notification_read", actor, { status: "read", nextRetryAt: null })
    },

    /** Sends it again from the start, whatever became of it. @throws AppError `not_found` */
    async requeue(id: string, actor: Actor): Promise<void> {
      await change(id, "notification_requeued", actor, {
        status: "pending",
        retryCount: 0,
        nextRetryAt: null,
        lastError: null,
        error: null,
        sentAt: null,
      })
    },
  }
}

export type NotificationService = ReturnType<typeof notificationService>
