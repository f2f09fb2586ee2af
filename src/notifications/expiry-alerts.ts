/**
 * Warnings before a certificate expires: one per threshold, certificate and channel, also across restarts, because what was sent is
 * read from the stored notifications. A new version starts the series anew.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import { effectiveThresholds } from "../certificates/renewal-point"
import type { Clock } from "../clock"
import { type Channel, channels, type Severity } from "../connectors/notifiers/contract"
import type { Query, Tx } from "../db/db"
import { thresholdOf } from "./message-tags"
import { expiryMessage } from "./messages"
import type { NotificationService } from "./notification.service"
import type { NotificationStore } from "./notification.store"

const dayMs = 86_400_000

export type Tier = "informational" | "warning" | "critical"
const tiers: readonly Tier[] = ["informational", "warning", "critical"]
const usualTiers: Readonly<Record<string, Tier>> = {
  "30": "informational",
  "14": "warning",
  "7": "warning",
  "0": "critical",
}

/** How far a threshold is from harmless: as the policy says, else as usual, else informational. */
export const tierOf = (threshold: number, severityMap: Readonly<Record<string, string>>): Tier => {
  const named = severityMap[String(threshold)]
  return tiers.find((tier) => tier === named) ?? usualTiers[String(threshold)] ?? "informational"
}

/**
 * Which threshold to alert for now, and which to take as dealt with by that alert.
 * @param daysLeft fractional; negative once expired
 * @param sent thresholds alerted for since the certificate was last issued
 */
export const decideAlert = (
  daysLeft: number,
  thresholds: readonly number[],
  sent: ReadonlySet<number>,
): { readonly send: number; readonly covered: readonly number[] } | null => {
  // A threshold above one that was sent would tell of more time than the owner has been told of already.
  const lowestSent = Math.min(...sent)
  const fresh = [...new Set(thresholds)].filter((days) => daysLeft <= days && days < lowestSent).sort((a, b) => a - b)
  const [send, ...covered] = fresh
  return send === undefined ? null : { send, covered: covered.reverse() }
}

interface Alerted {
  readonly id: string
  readonly commonName: string
  readonly expiresAt: Date | null
  readonly renewAt: Date | null
  readonly source: string
  readonly tags: Readonly<Record<string, string>>
}

interface AlertPolicy {
  readonly autoRenew: boolean
  readonly alertThresholdsDays: readonly number[]
  readonly alertChannels?: Readonly<Record<string, readonly string[]>>
  readonly alertSeverityMap?: Readonly<Record<string, string>>
}

interface Deps {
  notifications: Pick<NotificationStore, "of" | "lastIssuedAtOf" | "auditedOf">
  notify: NotificationService["notify"]
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Base of links, without a trailing slash. */
  publicUrl: string
  /** Hears of every look at a crossed threshold that had been alerted for before. */
  onDeduped?: (channel: string, threshold: number) => void
}

/** What was said of a certificate, and what was noted as not to be said. */
interface History {
  readonly sent: { readonly channel: string; readonly threshold: number }[]
  readonly skipped: Record<string, unknown>[]
}

/** The lowest threshold alerted for, by channel. */
const lastSaid = ({ sent }: History): ReadonlyMap<string, number> => {
  const lowest = new Map<string, number>()
  for (const { channel, threshold } of sent) lowest.set(channel, Math.min(threshold, lowest.get(channel) ?? threshold))
  return lowest
}

type Step =
  | { readonly kind: "send"; readonly channel: Channel; readonly decision: NonNullable<ReturnType<typeof decideAlert>> }
  | { readonly kind: "skip"; readonly action: string; readonly details: Record<string, unknown> }

const noChannels = "expiration_alert_skipped_no_channels"
const invalidChannel = "expiration_alert_skipped_invalid_channel"

/** What is crossed although certctl renews by itself is no reminder any more: the renewal has not happened. */
const urgency = (tier: Tier, threshold: number, isOverdue: boolean): Severity => {
  if (tier === "critical" || threshold === 0) return "critical"
  return tier === "warning" || isOverdue ? "warning" : "info"
}

export const expiryAlerts = ({ notifications, notify, audit, clock, publicUrl, onDeduped }: Deps) => {
  const send = async (
    tx: Tx,
    certificate: Alerted,
    policy: AlertPolicy,
    channel: Channel,
    decision: { readonly send: number; readonly covered: readonly number[] },
  ): Promise<void> => {
    const now = clock.now()
    const isOverdue = policy.autoRenew && certificate.renewAt !== null && certificate.renewAt <= now
    const message = expiryMessage({ ...certificate, autoRenew: policy.autoRenew, isOverdue, now, publicUrl })
    const severityAt = (threshold: number) =>
      urgency(tierOf(threshold, policy.alertSeverityMap ?? {}), threshold, isOverdue)
    const common = { type: "ExpirationWarning", certificateId: certificate.id, channels: [channel], message } as const
    const covered = `covered by the alert for ${decision.send} days`
    for (const threshold of decision.covered) {
      await notify(tx, { ...common, threshold, severity: severityAt(threshold), covered })
    }
    await notify(tx, { ...common, threshold: decision.send, severity: severityAt(decision.send) })
    const daysLeft = ((certificate.expiresAt?.getTime() ?? 0) - now.getTime()) / dayMs
    await audit.append(tx, {
      actor: systemActor,
      action: "expiration_alert_sent",
      resourceType: "certificate",
      resourceId: certificate.id,
      details: { threshold: decision.send, days_until_expiry: daysLeft, channel },
    })
  }

  const daysLeftOf = (expiresAt: Date): number => (expiresAt.getTime() - clock.now().getTime()) / dayMs

  /** Whether a threshold is crossed at all: nothing is ever said of what is healthy, of demo rows and of what does not expire. */
  const isNear = (certificate: Alerted, policy: AlertPolicy): boolean => {
    const { expiresAt, tags } = certificate
    if (expiresAt === null || tags.demo === "true") return false
    const daysLeft = daysLeftOf(expiresAt)
    return effectiveThresholds(certificate, policy).some((days) => daysLeft <= days)
  }

  /** What is known of each certificate since it was last issued. */
  const historiesOf = async (query: Query | Tx, ids: readonly string[]): Promise<(id: string) => History> => {
    const issuedAt = await notifications.lastIssuedAtOf(query, ids)
    const isOfNow = (id: string, time: Date) => time >= (issuedAt.get(id) ?? new Date(0))
    const histories = new Map<string, History>()
    const historyOf = (id: string): History => {
      const history = histories.get(id) ?? { sent: [], skipped: [] }
      histories.set(id, history)
      return history
    }
    for (const { certificateId, channel, message, createdAt } of await notifications.of(
      query,
      "ExpirationWarning",
      ids,
    )) {
      const threshold = thresholdOf(message)
      if (certificateId === null || threshold === null || !isOfNow(certificateId, createdAt)) continue
      historyOf(certificateId).sent.push({ channel, threshold })
    }
    for (const { resourceId, details, timestamp } of await notifications.auditedOf(
      query,
      [noChannels, invalidChannel],
      ids,
    )) {
      if (isOfNow(resourceId, timestamp)) historyOf(resourceId).skipped.push(details)
    }
    return historyOf
  }

  /** What there is to say or to note, given what was said before. */
  const decide = (certificate: Alerted, policy: AlertPolicy, { sent: earlier, skipped }: History): Step[] => {
    if (certificate.expiresAt === null || !isNear(certificate, policy)) return []
    const daysLeft = daysLeftOf(certificate.expiresAt)
    const thresholds = effectiveThresholds(certificate, policy)
    const routeOf = (threshold: number): readonly string[] =>
      policy.alertChannels?.[tierOf(threshold, policy.alertSeverityMap ?? {})] ?? ["Email"]
    const isNoted = (threshold: number, channel?: string) =>
      skipped.some((details) => details.threshold === threshold && details.channel === channel)
    const steps: Step[] = []
    const skip = (action: string, threshold: number, channel?: string) => {
      if (isNoted(threshold, channel)) return
      const details = { threshold, days_until_expiry: daysLeft, ...(channel === undefined ? {} : { channel }) }
      steps.push({ kind: "skip", action, details })
    }
    for (const threshold of thresholds.filter((days) => daysLeft <= days)) {
      if (routeOf(threshold).length === 0) skip(noChannels, threshold)
    }
    for (const name of new Set(thresholds.flatMap(routeOf))) {
      const routed = thresholds.filter((threshold) => routeOf(threshold).includes(name))
      const channel = channels.find((known) => known === name)
      const sent = new Set(earlier.filter((alert) => alert.channel === name).map((alert) => alert.threshold))
      const decision = decideAlert(daysLeft, routed, sent)
      if (decision === null) continue
      if (channel === undefined) skip(invalidChannel, decision.send, name)
      else steps.push({ kind: "send", channel, decision })
    }
    return steps
  }

  return {
    /** Ids of the certificates for which `check` would write something. */
    async unsaid(
      query: Query | Tx,
      looked: readonly { readonly certificate: Alerted; readonly policy: AlertPolicy }[],
    ): Promise<ReadonlySet<string>> {
      const near = looked.filter(({ certificate, policy }) => isNear(certificate, policy))
      if (near.length === 0) return new Set()
      const historyOf = await historiesOf(
        query,
        near.map(({ certificate }) => certificate.id),
      )
      return new Set(
        near.flatMap(({ certificate, policy }) => {
          const history = historyOf(certificate.id)
          if (decide(certificate, policy, history).length > 0) return [certificate.id]
          for (const [channel, threshold] of lastSaid(history)) onDeduped?.(channel, threshold)
          return []
        }),
      )
    },

    /**
     * Writes the alerts that are due for a certificate, in the caller's transaction and with the certificate locked. Says nothing of
     * what is healthy, of demo rows, and of certificates without expiry; the caller leaves out revoked and archived ones.
     */
    async check(tx: Tx, certificate: Alerted, policy: AlertPolicy): Promise<void> {
      if (!isNear(certificate, policy)) return
      const { id } = certificate
      const historyOf = await historiesOf(tx, [id])
      for (const step of decide(certificate, policy, historyOf(id))) {
        if (step.kind === "send") await send(tx, certificate, policy, step.channel, step.decision)
        else {
          const { action, details } = step
          await audit.append(tx, { actor: systemActor, action, resourceType: "certificate", resourceId: id, details })
        }
      }
    },
  }
}

export type ExpiryAlerts = ReturnType<typeof expiryAlerts>
