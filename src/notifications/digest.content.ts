/**
 * The digest as HTML mail and as plain text. Mail programs know neither style sheets nor scripts, and remote pictures tell senders
 * who reads: so inline styles, tables, and nothing from elsewhere. Every value is escaped.
 */

export interface DigestFacts {
  readonly now: Date
  /** Base of links, without a trailing slash. */
  readonly publicUrl: string
  readonly totalCertificates: number
  readonly expiringCertificates: number
  readonly expiredCertificates: number
  readonly activeAgents: number
  readonly pendingJobs: number
  readonly failedJobs: number
  readonly completeJobs: number
  readonly byStatus: readonly { readonly status: string; readonly count: number }[]
  /** Together with what depends on them; `total` may be more than the rows. */
  readonly silentAgents: {
    readonly rows: readonly {
      readonly agentId: string
      readonly name: string
      readonly lastHeartbeatAt: Date | null
      readonly certificates: number
      readonly firstExpiresAt: Date | null
    }[]
    readonly total: number
  }
  readonly expiring: readonly {
    readonly id: string
    readonly commonName: string
    readonly ownerName: string
    readonly expiresAt: Date | null
  }[]
  readonly failures: readonly {
    readonly id: string
    readonly type: string
    readonly commonName: string
    readonly lastError: string | null
    readonly completedAt: Date | null
  }[]
}

const dayMs = 86_400_000
const longestReason = 200

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
}
const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? "")

const dateOf = (date: Date | null): string => (date === null ? "" : date.toISOString().slice(0, 10))
const daysUntil = (date: Date | null, now: Date): number =>
  date === null ? 0 : Math.max(0, Math.floor((date.getTime() - now.getTime()) / dayMs))

/** Dark enough for white text on it (WCAG 2.2, 4.5 to 1). */
const badgeColour = (days: number): string => (days <= 7 ? "#b42318" : days <= 14 ? "#93500a" : "#1a7f37")

const cell = "padding:8px 12px;border-bottom:1px solid #e4e7ec;text-align:left;font-size:14px"
const head = "padding:8px 12px;border-bottom:2px solid #d0d5dd;text-align:left;font-size:12px;color:#475467"
const headline = "margin:28px 0 8px;font-size:16px;color:#101828"

const card = (label: string, value: number): string =>
  `<td style="padding:12px 16px;background:#f2f4f7;border:4px solid #ffffff;text-align:center"><div style="font-size:24px;font-weight:bold;color:#101828">${value}</div><div style="font-size:12px;color:#475467">${escaped(label)}</div></td>`

const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<table role="presentation" cellspacing="0" cellpadding="0" style="width:100%;border-collapse:collapse"><tr>${heads
    .map((text) => `<th style="${head}">${escaped(text)}</th>`)
    .join("")}</tr>${rows
    .map((cells) => `<tr>${cells.map((html) => `<td style="${cell}">${html}</td>`).join("")}</tr>`)
    .join("")}</table>`

const badge = (days: number): string =>
  `<span style="display:inline-block;padding:2px 8px;border-radius:8px;color:#ffffff;background:${badgeColour(days)}">${days === 1 ? "1 day" : `${days} days`}</span>`

export const digestSubject = (now: Date): string => `certctl Certificate Digest — ${dateOf(now)}`

const certificateUrl = (facts: DigestFacts, id: string): string =>
  `${facts.publicUrl}/certificates/${encodeURIComponent(id)}`
const jobUrl = (facts: DigestFacts, id: string): string => `${facts.publicUrl}/jobs/${encodeURIComponent(id)}`

const agentUrl = (facts: DigestFacts, id: string): string => `${facts.publicUrl}/agents/${encodeURIComponent(id)}`

const hourOf = (date: Date | null): string =>
  date === null ? "never" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`

const dependentOn = ({ certificates }: DigestFacts["silentAgents"]["rows"][number]): string =>
  certificates === 1 ? "1 certificate" : `${certificates} certificates`

const furtherAgents = ({ rows, total }: DigestFacts["silentAgents"]): string | null =>
  total > rows.length ? `and ${total - rows.length} more agents` : null

const reasonOf = (text: string | null): string => (text ?? "").replace(/\s+/g, " ").slice(0, longestReason)

export const digestHtml = (facts: DigestFacts): string => {
  const { now, expiring, failures, byStatus } = facts
  const expiringRows = expiring.map(({ id, commonName, ownerName, expiresAt }) => [
    `<a href="${escaped(certificateUrl(facts, id))}" style="color:#175cd3">${escaped(commonName)}</a><br><span style="font-size:12px;color:#475467">${escaped(id)}</span>`,
    escaped(ownerName),
    escaped(dateOf(expiresAt)),
    badge(daysUntil(expiresAt, now)),
  ])
  const failureRows = failures.map(({ id, type, commonName, lastError, completedAt }) => [
    `<a href="${escaped(jobUrl(facts, id))}" style="color:#175cd3">${escaped(type)}</a>`,
    escaped(commonName),
    escaped(reasonOf(lastError)),
    escaped(dateOf(completedAt)),
  ])
  const { silentAgents } = facts
  const agentRows = silentAgents.rows.map((agent) => [
    `<a href="${escaped(agentUrl(facts, agent.agentId))}" style="color:#175cd3">${escaped(agent.name)}</a>`,
    escaped(hourOf(agent.lastHeartbeatAt)),
    escaped(dependentOn(agent)),
    escaped(dateOf(agent.firstExpiresAt)),
  ])
  const further = furtherAgents(silentAgents)
  return `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>${escaped(digestSubject(now))}</title></head>
<body style="margin:0;padding:24px;background:#ffffff;color:#101828;font-family:Arial,Helvetica,sans-serif">
<div style="max-width:720px;margin:0 auto">
<h1 style="margin:0 0 16px;font-size:20px">Certificate digest, ${dateOf(now)}</h1>
<table role="presentation" cellspacing="0" cellpadding="0" style="width:100%"><tr>
${card("certificates", facts.totalCertificates)}
${card("expire within 30 days", facts.expiringCertificates)}
${card("expired", facts.expiredCertificates)}
${card("active agents", facts.activeAgents)}
</tr></table>
<p style="font-size:14px;color:#475467">Jobs: ${facts.pendingJobs} pending, ${facts.failedJobs} failed, ${facts.completeJobs} completed</p>
${
  agentRows.length === 0
    ? ""
    : `<h2 style="${headline}">Agents that went silent</h2>\n${table(["Agent", "Last heard of", "Serves", "First expiry"], agentRows)}${
        further === null ? "" : `\n<p style="font-size:14px">${escaped(further)}</p>`
      }`
}
<h2 style="${headline}">By status</h2>
${table(
  ["Status", "Certificates"],
  byStatus.map(({ status, count }) => [escaped(status), String(count)]),
)}
<h2 style="${headline}">Expiring within 30 days</h2>
${
  expiringRows.length === 0
    ? '<p style="font-size:14px">Nothing expires within 30 days.</p>'
    : table(["Certificate", "Owner", "Expires", "Left"], expiringRows)
}
${
  failureRows.length === 0
    ? ""
    : `<h2 style="${headline}">Jobs that failed lately</h2>\n${table(["Job", "Certificate", "Reason", "Day"], failureRows)}`
}
<p style="margin-top:28px;font-size:12px;color:#475467">Sent by certctl, <a href="${escaped(facts.publicUrl)}" style="color:#175cd3">${escaped(facts.publicUrl)}</a></p>
</div>
</body>
</html>
`
}

export const digestText = (facts: DigestFacts): string => {
  const { now, expiring, failures, byStatus } = facts
  return [
    `Certificate digest, ${dateOf(now)}`,
    "",
    `${facts.totalCertificates} certificates, ${facts.expiringCertificates} expire within 30 days, ${facts.expiredCertificates} expired`,
    `${facts.activeAgents} active agents`,
    `Jobs: ${facts.pendingJobs} pending, ${facts.failedJobs} failed, ${facts.completeJobs} completed`,
    ...(facts.silentAgents.rows.length === 0
      ? []
      : [
          "",
          "Agents that went silent:",
          ...facts.silentAgents.rows.map((agent) => {
            const lapse = agent.firstExpiresAt === null ? "" : `, the first lapses on ${dateOf(agent.firstExpiresAt)}`
            return `- ${agent.name} (${agent.agentId}), last heard of: ${hourOf(agent.lastHeartbeatAt)}; serves ${dependentOn(agent)}${lapse}`
          }),
          ...[furtherAgents(facts.silentAgents)].filter((line) => line !== null),
        ]),
    ...(byStatus.length === 0 ? [] : ["", ...byStatus.map(({ status, count }) => `${status}: ${count}`)]),
    "",
    ...(expiring.length === 0
      ? ["Nothing expires within 30 days."]
      : [
          "Expiring within 30 days:",
          ...expiring.map(
            ({ id, commonName, ownerName, expiresAt }) =>
              `- ${dateOf(expiresAt)} (${daysUntil(expiresAt, now)} days): ${commonName} (${id}), ${ownerName}`,
          ),
        ]),
    ...(failures.length === 0
      ? []
      : [
          "",
          "Jobs that failed lately:",
          ...failures.map(
            ({ type, commonName, lastError, completedAt }) =>
              `- ${dateOf(completedAt)} ${type} of ${commonName}: ${reasonOf(lastError)}`,
          ),
        ]),
    "",
    `Sent by certctl, ${facts.publicUrl}`,
  ].join("\n")
}
