/**
 * Tells owners what happened to their certificates. One method per kind of news, called in the transaction of the change, so that
 * there is no change without its news and no news without its change. Demo rows are nobody's: nothing is said about them.
 */
import type { Clock } from "../clock"
import { type Channel, channels, type Severity } from "../connectors/notifiers/contract"
import type { Tx } from "../db/db"
import type { Tier } from "./expiry-alerts"
import { severityOf } from "./message-tags"
import {
  deploymentFailureMessage,
  deploymentSuccessMessage,
  healthMessage,
  renewalFailureMessage,
  renewalSuccessMessage,
  revocationMessage,
  violationMessage,
} from "./messages"
import type { NotificationService } from "./notification.service"
import type { CertificateFacts, NotificationStore } from "./notification.store"

interface Deps {
  notifications: Pick<NotificationStore, "facts" | "factsOfAll" | "since" | "lastIssuedAt">
  notify: NotificationService["notify"]
  clock: Clock
  /** Base of links, without a trailing slash. */
  publicUrl: string
}

const hourMs = 3_600_000

interface Remaining {
  readonly expiresAt: Date | null
  readonly renewAt: Date | null
}

/** How loud a failed renewal is: the less of the renewal window is left, the louder. */
export const voiceOf = (
  { expiresAt, renewAt }: Remaining,
  now: Date,
): Extract<Severity, "warning" | "high" | "critical"> => {
  if (expiresAt === null || renewAt === null) return "high"
  const leftMs = expiresAt.getTime() - now.getTime()
  const windowMs = Math.max(expiresAt.getTime() - renewAt.getTime(), 1)
  return leftMs <= windowMs / 4 ? "critical" : leftMs <= windowMs / 2 ? "high" : "warning"
}

/** For how long the same thing is not said again in the same voice: an eighth of what remains, a day at most. */
export const silenceMs = ({ expiresAt }: Remaining, now: Date): number => {
  const leftMs = expiresAt === null ? 0 : expiresAt.getTime() - now.getTime()
  return leftMs <= 0 ? 6 * hourMs : Math.min(leftMs / 8, 24 * hourMs)
}

export interface WatchedEndpoint {
  readonly id: string
  readonly endpoint: string
  readonly certificateId: string | null
  readonly status: "healthy" | "degraded" | "down" | "cert_mismatch" | "unknown"
  readonly consecutiveFailures: number
  readonly failureReason: string
  readonly expectedFingerprint: string
  readonly observedFingerprint: string
}

const severityOfHealth: Readonly<Record<WatchedEndpoint["status"], Severity>> = {
  down: "critical",
  cert_mismatch: "high",
  degraded: "warning",
  healthy: "info",
  unknown: "info",
}

const tierFor: Readonly<Record<Severity, Tier>> = {
  info: "informational",
  warning: "warning",
  high: "warning",
  critical: "critical",
}

export const announcementService = ({ notifications, notify, clock, publicUrl }: Deps) => {
  const about = async (
    tx: Tx,
    certificateId: string,
  ): Promise<(CertificateFacts & { now: Date; publicUrl: string }) | null> => {
    const facts = await notifications.facts(tx, certificateId)
    if (facts === null || facts.tags.demo === "true") return null
    return { ...facts, now: clock.now(), publicUrl }
  }

  /** Where the policy sends alerts of this urgency; by e-mail where it does not say. */
  const routeOf = (facts: CertificateFacts, severity: Severity): readonly Channel[] => {
    const named = facts.alertChannels[tierFor[severity]]
    return named === undefined ? ["Email"] : channels.filter((channel) => named.includes(channel))
  }

  return {
    /** The renewal of each has stored its last version: every agent of the certificate has the new one. */
    async renewalsSucceeded(tx: Tx, certificateIds: readonly string[]): Promise<void> {
      if (certificateIds.length === 0) return
      const now = clock.now()
      const found = await notifications.factsOfAll(tx, certificateIds)
      await notify(
        tx,
        ...found
          .filter(({ tags }) => tags.demo !== "true")
          .map((facts) => ({
            type: "RenewalSuccess" as const,
            certificateId: facts.id,
            message: renewalSuccessMessage({ ...facts, now, publicUrl }),
            facts,
          })),
      )
    },

    /**
     * An issuance or renewal job has failed for good (no attempts left). Said again only when the voice rises or after a while, so
     * that five agents with one sick CA are one message.
     */
    async renewalFailed(tx: Tx, certificateId: string, { reason }: { reason: string }): Promise<void> {
      const facts = await about(tx, certificateId)
      if (facts === null) return
      const severity = voiceOf(facts, facts.now)
      const issuedAt = await notifications.lastIssuedAt(tx, certificateId)
      const [last] = await notifications.since(tx, "RenewalFailure", certificateId, issuedAt)
      const isSaid =
        last !== undefined &&
        severityOf("RenewalFailure", last.message) === severity &&
        facts.now.getTime() - last.createdAt.getTime() < silenceMs(facts, facts.now)
      if (isSaid) return
      await notify(tx, {
        type: "RenewalFailure",
        certificateId,
        message: renewalFailureMessage({ ...facts, reason, isLastCall: severity === "critical" }),
        severity,
        channels: routeOf(facts, severity),
      })
    },

    async deploymentSucceeded(tx: Tx, certificateId: string, { targetName }: { targetName: string }): Promise<void> {
      const facts = await about(tx, certificateId)
      if (facts === null) return
      const message = deploymentSuccessMessage({ ...facts, targetName })
      await notify(tx, { type: "DeploymentSuccess", certificateId, message, facts })
    },

    /** A deployment job has failed for good. As loud as a failed renewal would be now. */
    async deploymentFailed(
      tx: Tx,
      certificateId: string,
      { targetName, reason }: { targetName: string; reason: string },
    ): Promise<void> {
      const facts = await about(tx, certificateId)
      if (facts === null) return
      const voice = voiceOf(facts, facts.now)
      await notify(tx, {
        type: "DeploymentFailure",
        certificateId,
        message: deploymentFailureMessage({ ...facts, targetName, reason }),
        severity: voice === "warning" ? "high" : voice,
      })
    },

    /** A violation that was not there before. Warnings are for the list of violations, not for the mailbox. */
    async policyViolated(
      tx: Tx,
      certificateId: string,
      violation: { ruleName: string; severity: "Warning" | "Error" | "Critical"; message: string },
    ): Promise<void> {
      if (violation.severity === "Warning") return
      const facts = await about(tx, certificateId)
      if (facts === null) return
      await notify(tx, {
        type: "PolicyViolation",
        certificateId,
        message: violationMessage({ ...facts, ruleName: violation.ruleName, violation: violation.message }),
        severity: violation.severity === "Critical" ? "critical" : "high",
      })
    },

    /** A watched endpoint has changed its state, for the worse or the better. */
    async healthChanged(tx: Tx, check: WatchedEndpoint): Promise<void> {
      const facts = check.certificateId === null ? null : await notifications.facts(tx, check.certificateId)
      if (facts?.tags.demo === "true") return
      await notify(tx, {
        type: check.status === "healthy" ? "DeploymentSuccess" : "DeploymentFailure",
        certificateId: check.certificateId,
        message: healthMessage({ ...check, commonName: facts?.commonName ?? null, publicUrl }),
        severity: severityOfHealth[check.status],
        channels: ["Webhook", "Email"],
      })
    },

    /** By webhook and e-mail: machines that hold the certificate want to know at once. */
    async revoked(tx: Tx, certificateId: string, { reason, actor }: { reason: string; actor: string }): Promise<void> {
      const facts = await about(tx, certificateId)
      if (facts === null) return
      await notify(tx, { type: "Revocation", certificateId, message: revocationMessage({ ...facts, reason, actor }) })
    },
  }
}

export type AnnouncementService = ReturnType<typeof announcementService>
