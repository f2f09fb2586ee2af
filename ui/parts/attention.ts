/** The dashboard's first list: what breaks if nobody does anything, soonest first, each with the one thing to do. */
import type { Named } from "../pages/views"
import { type Tone, toneMark } from "./badge"
import { html, type Markup } from "./markup"
import { dateText, relativeText, timeAgo } from "./time"

interface CertificateRef {
  readonly id: string
  readonly commonName: string
  readonly expiresAt: Date
}

export type AttentionItem =
  | { readonly kind: "expired"; readonly certificate: CertificateRef; readonly automatic: boolean }
  | {
      readonly kind: "renewal-failing"
      readonly certificate: CertificateRef
      readonly failedAttempts: number
      readonly lastError: string
      readonly jobId: string
    }
  /** Nothing was ever issued, and the attempts failed. */
  | {
      readonly kind: "issuance-failing"
      readonly certificate: Pick<CertificateRef, "id" | "commonName">
      readonly lastError: string
      readonly jobId: string
    }
  /** Nothing will renew it before it ends. */
  | {
      readonly kind: "no-automation"
      readonly certificate: CertificateRef
      readonly reason: "approval" | "manual" | "client" | "no-agent"
    }
  | {
      readonly kind: "mismatch"
      readonly certificate: CertificateRef
      readonly target: Named
      readonly observedAt: Date
    }
  | {
      readonly kind: "agent-silent"
      readonly agent: Named
      /** null: never heard of since it registered. */
      readonly lastHeartbeatAt: Date | null
      /** The certificates that only this agent can renew, soonest expiry first; maybe not all of them. */
      readonly dependents: readonly CertificateRef[]
      readonly dependentCount: number
    }
  | {
      readonly kind: "deployment-failed"
      readonly certificate: CertificateRef
      readonly target: Named
      readonly lastError: string
      readonly jobId: string
    }
  /** `firstExpiresAt`: when the first of the certificates lapses that wait for it; null when none was issued yet. */
  | {
      readonly kind: "approvals"
      readonly count: number
      readonly oldestAt: Date
      readonly firstExpiresAt: Date | null
    }
  /** Hardly any call to a CA succeeds. */
  | { readonly kind: "issuer-degraded"; readonly issuer: Named; readonly since: Date; readonly reason: string }
  | { readonly kind: "notifications-dead"; readonly count: number }

interface Line {
  readonly tone: Tone
  readonly title: Markup
  readonly text: Markup
  readonly action: { readonly label: string; readonly href: string }
  /** When it starts to hurt; sorts the list. */
  readonly deadline: number
}

const certificateLink = ({ id, commonName }: Pick<CertificateRef, "id" | "commonName">): Markup =>
  html`<a href=${`/certificates/${id}`}>${commonName}</a>`
const expiry = ({ expiresAt }: Pick<CertificateRef, "expiresAt">, now: Date): string =>
  `${expiresAt.getTime() > now.getTime() ? "expires" : "expired"} ${relativeText(expiresAt, now)}, on ${dateText(expiresAt, now)}`
const urgency = ({ expiresAt }: Pick<CertificateRef, "expiresAt">, now: Date): Tone =>
  expiresAt.getTime() - now.getTime() < 7 * 86_400_000 ? "bad" : "attention"

const unattended = {
  approval: "its renewal policy waits for somebody to approve",
  manual: "its renewal policy is manual",
  client: "its enrolment client must renew it and has not",
  "no-agent": "no online agent can make its next key",
} as const

const silentText = (item: Extract<AttentionItem, { kind: "agent-silent" }>, now: Date): Markup => {
  const [first] = item.dependents
  if (first === undefined) return html`Last heard ${timeAgo(item.lastHeartbeatAt, now)}. No certificate depends on it.`
  const rest = item.dependentCount - item.dependents.length
  return html`Last heard ${timeAgo(item.lastHeartbeatAt, now)}. ${item.dependentCount} ${item.dependentCount === 1 ? "certificate depends" : "certificates depend"} on it; the first lapses ${dateText(first.expiresAt, now)}: ${item.dependents.map(
    (certificate, index) => html`${index === 0 ? "" : ", "}${certificateLink(certificate)}`,
  )}${rest > 0 ? ` and ${rest} more` : ""}.`
}

const lineOf = (item: AttentionItem, now: Date): Line => {
  switch (item.kind) {
    case "expired":
      return {
        tone: "bad",
        title: html`${certificateLink(item.certificate)} has expired`,
        text: `It ${expiry(item.certificate, now)}. ${item.automatic ? "certctl keeps trying to renew it." : "Nothing renews it by itself."}`,
        action: { label: "Renew", href: `/certificates/${item.certificate.id}` },
        deadline: item.certificate.expiresAt.getTime(),
      }
    case "renewal-failing":
      return {
        tone: urgency(item.certificate, now),
        title: html`Renewal of ${certificateLink(item.certificate)} keeps failing`,
        text: html`${item.failedAttempts} failed ${item.failedAttempts === 1 ? "attempt" : "attempts"}; it ${expiry(item.certificate, now)}. <span class="quoted">${item.lastError}</span>`,
        action: { label: "See why", href: `/jobs/${item.jobId}` },
        deadline: item.certificate.expiresAt.getTime(),
      }
    case "issuance-failing":
      return {
        tone: "attention",
        title: html`${certificateLink(item.certificate)} could not be issued`,
        text: html`Nothing is in use yet. <span class="quoted">${item.lastError}</span>`,
        action: { label: "See why", href: `/jobs/${item.jobId}` },
        deadline: Number.MAX_SAFE_INTEGER,
      }
    case "no-automation":
      return {
        tone: urgency(item.certificate, now),
        title: html`${certificateLink(item.certificate)} will not renew by itself`,
        text: `It ${expiry(item.certificate, now)}, and ${unattended[item.reason]}.`,
        action: { label: "Renew", href: `/certificates/${item.certificate.id}` },
        deadline: item.certificate.expiresAt.getTime(),
      }
    case "mismatch":
      return {
        tone: "bad",
        title: html`${item.target.name} serves another certificate than ${certificateLink(item.certificate)}`,
        text: html`Seen ${timeAgo(item.observedAt, now)}. Clients may already be turned away.`,
        action: { label: "Compare", href: `/certificates/${item.certificate.id}` },
        deadline: item.observedAt.getTime(),
      }
    case "agent-silent":
      return {
        tone: item.dependentCount === 0 ? "attention" : "bad",
        title: html`Agent <a href=${`/agents/${item.agent.id}`}>${item.agent.name}</a> is silent`,
        text: silentText(item, now),
        action: { label: "Open agent", href: `/agents/${item.agent.id}` },
        deadline: item.dependents[0]?.expiresAt.getTime() ?? Number.MAX_SAFE_INTEGER,
      }
    case "deployment-failed":
      return {
        tone: "attention",
        title: html`Deployment of ${certificateLink(item.certificate)} to ${item.target.name} failed`,
        text: html`The previous certificate is still in place; it ${expiry(item.certificate, now)}. <span class="quoted">${item.lastError}</span>`,
        action: { label: "See why", href: `/jobs/${item.jobId}` },
        deadline: item.certificate.expiresAt.getTime(),
      }
    case "approvals":
      return {
        tone: item.firstExpiresAt === null ? "attention" : urgency({ expiresAt: item.firstExpiresAt }, now),
        title: `${item.count} ${item.count === 1 ? "job awaits" : "jobs await"} approval`,
        text: html`The oldest was asked for ${timeAgo(item.oldestAt, now)}.${item.firstExpiresAt === null ? "" : ` ${item.count === 1 ? "Its certificate" : "The first of their certificates"} ${expiry({ expiresAt: item.firstExpiresAt }, now)}.`}`,
        action: { label: "Decide", href: "/approvals" },
        deadline: item.firstExpiresAt?.getTime() ?? Number.MAX_SAFE_INTEGER,
      }
    case "issuer-degraded":
      return {
        tone: "bad",
        title: html`Issuer <a href=${`/issuers/${item.issuer.id}`}>${item.issuer.name}</a> hardly answers`,
        text: html`It began ${timeAgo(item.since, now)}. Its certificates wait, and it is asked again by itself from time to time. <span class="quoted">${item.reason}</span>`,
        action: { label: "Test connection", href: `/issuers/${item.issuer.id}` },
        deadline: item.since.getTime(),
      }
    case "notifications-dead":
      return {
        tone: "attention",
        title: `${item.count} ${item.count === 1 ? "notification" : "notifications"} could not be delivered`,
        text: "Every retry failed, so nobody was told.",
        action: { label: "See why", href: "/notifications?status=dead" },
        deadline: Number.MAX_SAFE_INTEGER,
      }
  }
}

/** The list, worst first; `calm` is what to say when there is nothing. */
export const attentionList = (items: readonly AttentionItem[], calm: Markup, now: Date): Markup => {
  if (items.length === 0) {
    return html`<div class="calm"><span class="calm-mark">${toneMark("good")}</span><div><p class="calm-title">Nothing needs you</p><p>${calm}</p></div></div>`
  }
  const order = (tone: Tone) => (tone === "bad" ? 0 : 1)
  const sorted = items
    .map((item) => lineOf(item, now))
    .sort((a, b) => order(a.tone) - order(b.tone) || a.deadline - b.deadline)
  return html`<ul class="attention">${sorted.map(
    ({ tone, title, text, action }) => html`<li class=${`tone-${tone}`}>
      ${toneMark(tone)}<div><h3>${title}</h3><p>${text}</p></div>
      <a class="button" href=${action.href}>${action.label}</a>
    </li>`,
  )}</ul>`
}
