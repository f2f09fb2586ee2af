/**
 * Warnings before a certificate expires: one per threshold, certificate and channel, also across restarts, because what was sent is
 * read from the stored notifications. A new version starts the series anew.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import { effectiveThresholds } from "../certificates/renewal-point"
import type { Clock } from "../clock"
import { type Channel, channels, type Severity } from "../connectors/notifiers/contract"
import type { Tx } from "../db/db"
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
  notifications: Pick<NotificationStore, "since" | "lastIssuedAt" | "auditedSince">
  notify: NotificationService["notify"]
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Base of links, without a trailing slash. */
  publicUrl: string
}

const noChannels = "expiration_alert_skipped_no_channels"
const invalidChannel = "expiration_alert_skipped_invalid_channel"

/** What is crossed although certctl renews by itself is no reminder any more: the renewal has not happened. */
const urgency = (tier: Tier, threshold: number, isOverdue: boolean): Severity => {
  if (tier === "critical" || threshold === 0) return "critical"
  return tier === "warning" || isOverdue ? "warning" : "info"
}

export const expiryAlerts = ({ notifications, notify, audit, clock, publicUrl }: Deps) => {
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

  /**
   * Writes the alerts that are due for a certificate, in the caller's transaction and with the certificate locked. Says nothing of
   * what is healthy, of demo rows, and of certificates without expiry; the caller leaves out revoked and archived ones.
   */
  const check = async (tx: Tx, certificate: Alerted, policy: AlertPolicy): Promise<void> => {
    const { id, expiresAt } = certificate
    if (expiresAt === null || certificate.tags.demo === "true") return
    const now = clock.now()
    const daysLeft = (expiresAt.getTime() - now.getTime()) / dayMs
    const thresholds = effectiveThresholds(certificate, policy)
    if (!thresholds.some((days) => daysLeft <= days)) return

    const issuedAt = await notifications.lastIssuedAt(tx, id)
    const earlier = (await notifications.since(tx, "ExpirationWarning", id, issuedAt)).flatMap(
      ({ channel, message }) => {
        const threshold = thresholdOf(message)
        return threshold === null ? [] : [{ channel, threshold }]
      },
    )
    const skipped = await notifications.auditedSince(tx, [noChannels, invalidChannel], id, issuedAt)
    const skip = async (action: string, threshold: number, channel?: string) => {
      const isKnown = skipped.some(({ details }) => details.threshold === threshold && details.channel === channel)
      if (isKnown) return
      const details = { threshold, days_until_expiry: daysLeft, ...(channel === undefined ? {} : { channel }) }
      await audit.append(tx, { actor: systemActor, action, resourceType: "certificate", resourceId: id, details })
    }

    const routeOf = (threshold: number): readonly string[] =>
      policy.alertChannels?.[tierOf(threshold, policy.alertSeverityMap ?? {})] ?? ["Email"]
    const used = new Set(thresholds.flatMap(routeOf))
    for (const threshold of thresholds.filter((days) => daysLeft <= days)) {
      if (routeOf(threshold).length === 0) await skip(noChannels, threshold)
    }
    for (const name of used) {
      const routed = thresholds.filter((threshold) => routeOf(threshold).includes(name))
      const channel = channels.find((known) => known === name)
      const sent = new Set(earlier.filter((alert) => alert.channel === name).map((alert) => alert.threshold))
      const decision = decideAlert(daysLeft, routed, sent)
      if (decision === null) continue
      if (channel === undefined) await skip(invalidChannel, decision.send, name)
      else await send(tx, certificate, policy, channel, decision)
    }
  }

  return { check }
}

export type ExpiryAlerts = ReturnType<typeof expiryAlerts>
