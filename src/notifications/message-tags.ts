/** What a notification's text says to programs: tags in square brackets. The row has no columns for it. */
import { type Severity, severities } from "../connectors/notifiers/contract"

export const notificationTypes = [
  "ExpirationWarning",
  "RenewalSuccess",
  "RenewalFailure",
  "DeploymentSuccess",
  "DeploymentFailure",
  "PolicyViolation",
  "Revocation",
] as const
export type NotificationType = (typeof notificationTypes)[number]

const usual: Readonly<Record<NotificationType, Severity>> = {
  ExpirationWarning: "warning",
  RenewalSuccess: "info",
  RenewalFailure: "high",
  DeploymentSuccess: "info",
  DeploymentFailure: "high",
  PolicyViolation: "warning",
  Revocation: "info",
}

const severityTag = /\s*\[severity:(\w+)\]/
const thresholdTag = /\[threshold:(\d+)\]/

const usualOf = (type: string): Severity => usual[type as NotificationType] ?? "warning"

/** The text with its tags. The threshold comes last: alerts are recognised by it. */
export const tagged = (
  text: string,
  {
    type,
    severity,
    threshold,
  }: { type: NotificationType; severity?: Severity | undefined; threshold?: number | undefined },
): string =>
  [
    text,
    severity === undefined || severity === usualOf(type) ? "" : ` [severity:${severity}]`,
    threshold === undefined ? "" : ` [threshold:${threshold}]`,
  ].join("")

export const severityOf = (type: string, message: string): Severity => {
  const named = severityTag.exec(message)?.[1]
  return severities.find((severity) => severity === named) ?? usualOf(type)
}

/** Days; null in a text that is no expiry alert. */
export const thresholdOf = (message: string): number | null => {
  const days = thresholdTag.exec(message)?.[1]
  return days === undefined ? null : Number(days)
}

/** The text as people get it: the severity is shown by other means. */
export const bodyOf = (message: string): string => message.replace(severityTag, "")

/** Alerts want somebody to act; a good end, and what somebody did on purpose, are events. */
export const kindOf = (type: string): "alert" | "event" =>
  ["RenewalSuccess", "DeploymentSuccess", "Revocation"].includes(type) ? "event" : "alert"
