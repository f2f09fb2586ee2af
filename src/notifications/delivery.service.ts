/**
 * Delivers notifications. Every channel has a lane of its own, run as a loop of its own, so that one that hangs keeps nothing else
 * waiting. A row is claimed by compare-and-set before it is sent: two servers never send the same one. Between sending and marking
 * nothing can be atomic; a server that dies there leaves a claim that ends by itself, and that one message is sent once more.
 */
import type { Clock } from "../clock"
import { type Channel, type Notice, type Notifier, retryAfterOf } from "../connectors/notifiers/contract"
import type { Db } from "../db/db"
import { AppError, messageOf } from "../errors"
import { bodyOf, kindOf, severityOf } from "./message-tags"
import { afterFailure, canMove } from "./notification.machine"
import type { DueNotification, LaneChannels, NotificationRow, NotificationStore } from "./notification.store"

interface Deps {
  db: Pick<Db, "transaction">
  notifications: Pick<NotificationStore, "pending" | "toRetry" | "replace" | "closeAll">
  notifiers: ReadonlyMap<Channel, Notifier>
  clock: Clock
  onRowError: (notificationId: string, error: unknown) => void
  onOutcome?: (row: NotificationRow, isDelivered: boolean) => void
}

export interface DeliveryLane {
  readonly name: string
  /** First deliveries: at most 1,000, oldest first. */
  deliverPending(signal: AbortSignal): Promise<void>
  /** Failed ones that are due again: at most 1,000, longest due first. */
  retry(signal: AbortSignal): Promise<void>
}

const mostRows = 1000
/** Of a channel that is not configured: there is nothing to wait for, so they share transactions. */
const closedAtOnce = 100
/** Deliveries of one channel under way at once. */
const concurrency = 4
/** Longer than any delivery may take, and than the clocks of two servers may differ. */
const claimMs = 5 * 60_000
const longestError = 2000

const noticeOf = ({ row, commonName }: DueNotification): Notice => ({
  id: row.id,
  kind: kindOf(row.type),
  type: row.type,
  severity: severityOf(row.type, row.message),
  subject: commonName === null ? row.type : `${row.type}: ${commonName}`,
  body: bodyOf(row.message),
  recipient: row.recipient,
  certificateId: row.certificateId,
  createdAt: row.createdAt,
})

export const deliveryService = ({ db, notifications, notifiers, clock, onRowError, onOutcome }: Deps) => {
  const replace = async (seen: NotificationRow, patch: Partial<NotificationRow>): Promise<boolean> => {
    const to = patch.status ?? seen.status
    if (to !== seen.status && !canMove(seen.status, to)) {
      throw new AppError("internal", `notification ${seen.id} cannot go from ${seen.status} to ${to}`)
    }
    return db.transaction((tx) => notifications.replace(tx, seen, patch))
  }

  /** Returns the moment before which the channel does not want to hear of us; null when it did not say. */
  const deliver = async (due: DueNotification, notifier: Notifier): Promise<Date | null> => {
    const claim = { nextRetryAt: new Date(clock.now().getTime() + claimMs) }
    if (!(await replace(due.row, claim))) return null
    const claimed = { ...due.row, ...claim }
    try {
      await notifier.send(noticeOf(due))
    } catch (error) {
      onOutcome?.(due.row, false)
      const [now, seconds] = [clock.now(), retryAfterOf(error)]
      await replace(claimed, afterFailure(due.row, messageOf(error).slice(0, longestError), now, seconds))
      return seconds === null ? null : new Date(now.getTime() + seconds * 1000)
    }
    onOutcome?.(due.row, true)
    // Lost when somebody marked it read or sent it again meanwhile: theirs counts.
    await replace(claimed, { status: "sent", sentAt: clock.now(), error: null, nextRetryAt: null })
    return null
  }

  const laneWith = (name: string, channels: LaneChannels, notifier: Notifier | null): DeliveryLane => {
    let quietUntil: Date | null = null
    const isQuiet = () => quietUntil !== null && clock.now() < quietUntil

    const handle = async (due: DueNotification, notifier: Notifier): Promise<void> => {
      const until = await deliver(due, notifier)
      if (until !== null) quietUntil = until
    }

    const close = async (rows: readonly DueNotification[], signal: AbortSignal): Promise<void> => {
      for (const [status, some] of Map.groupBy(rows, ({ row }) => row.status)) {
        if (!canMove(status, "sent")) throw new AppError("internal", `a notification cannot go from ${status} to sent`)
        const ids = some.map(({ row }) => row.id)
        for (let at = 0; at < ids.length && !signal.aborted; at += closedAtOnce) {
          const piece = ids.slice(at, at + closedAtOnce)
          await db.transaction((tx) => notifications.closeAll(tx, piece, status, "no notifier configured"))
        }
      }
    }

    const run = async (rows: readonly DueNotification[], signal: AbortSignal): Promise<void> => {
      if (notifier === null) return close(rows, signal)
      const waiting = [...rows]
      // A delivery under way is never cut short: it would be sent, and sent again.
      const worker = async (): Promise<void> => {
        for (let due = waiting.shift(); due !== undefined && !signal.aborted && !isQuiet(); due = waiting.shift()) {
          const { id } = due.row
          await handle(due, notifier).catch((error: unknown) => onRowError(id, error))
        }
      }
      await Promise.all(Array.from({ length: concurrency }, worker))
    }

    return {
      name,
      async deliverPending(signal) {
        if (!isQuiet()) await run(await notifications.pending(channels, clock.now(), mostRows), signal)
      },
      async retry(signal) {
        if (!isQuiet()) await run(await notifications.toRetry(channels, clock.now(), mostRows), signal)
      },
    }
  }

  /** One per channel that is configured, and one for what has nowhere to go. */
  const lanes: readonly DeliveryLane[] = [
    ...Array.from(notifiers, ([channel, notifier]) => laneWith(channel.toLowerCase(), { only: channel }, notifier)),
    laneWith("unconfigured", { except: [...notifiers.keys()] }, null),
  ]
  return { lanes }
}

export type DeliveryService = ReturnType<typeof deliveryService>
