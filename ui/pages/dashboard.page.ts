/** The first look: what is about to break, then how much there is, then how things have been going. */
import { type AttentionItem, attentionList } from "../parts/attention"
import { badge } from "../parts/badge"
import { bars, chartFrame, donut, lines } from "../parts/chart"
import { type Evidence, seal } from "../parts/evidence"
import { icon } from "../parts/icon"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import { expiryCell } from "../parts/lifetime"
import { breakable, classes, html, type Markup } from "../parts/markup"
import { panel } from "../parts/panel"
import { dateText, relativeText, timeAgo } from "../parts/time"
import type { JobRow, Named, RenewalOutlook } from "./views"

export interface DashboardProps {
  readonly frame: Frame
  readonly attention: readonly AttentionItem[]
  /** The next renewal that happens by itself; null when none is due. */
  readonly nextRenewal: { readonly id: string; readonly commonName: string; readonly at: Date } | null
  readonly summary: {
    readonly totalCertificates: number
    readonly expiringCertificates: number
    readonly expiredCertificates: number
    readonly activeAgents: number
    readonly totalAgents: number
    readonly pendingJobs: number
    readonly notificationsDead: number
  }
  readonly byStatus: readonly { readonly status: string; readonly count: number }[]
  /** One entry per day from today; `date` is the UTC day as "YYYY-MM-DD". */
  readonly expirations: readonly { readonly date: string; readonly count: number }[]
  readonly jobTrend: readonly { readonly date: string; readonly completed: number; readonly failed: number }[]
  readonly issuance: readonly { readonly date: string; readonly issued: number }[]
  readonly expiringNext: readonly {
    readonly id: string
    readonly commonName: string
    readonly expiresAt: Date
    readonly status: string
    readonly owner: string | null
    readonly renewal: RenewalOutlook
  }[]
  /** Places where the current version was seen on the wire a short time ago, newest first. */
  readonly proofs: readonly {
    readonly certificate: { readonly id: string; readonly commonName: string }
    readonly target: { readonly name: string; readonly endpoint: string | null }
    readonly agent: { readonly name: string }
    readonly served: Evidence
  }[]
  readonly recentJobs: readonly JobRow[]
  /** What is there before the first certificate; null once there is one. */
  readonly setup: { readonly agent: Named | null; readonly targets: number } | null
}

const statCard = (card: { label: string; value: Markup; href: string; tone?: string; note: string }): Markup =>
  html`<a class=${`stat ${card.tone ?? ""}`} href=${card.href}><span class="stat-label">${card.label}</span><b class="stat-value">${card.value}</b><span class="stat-note">${card.note}</span></a>`

const statCards = ({ summary }: DashboardProps): Markup => {
  const offline = summary.totalAgents - summary.activeAgents
  return html`<div class="stats">
    ${statCard({ label: "Certificates", value: summary.totalCertificates.toLocaleString("en"), href: "/certificates", note: "in the inventory" })}
    ${statCard({
      label: "Expiring",
      value: summary.expiringCertificates,
      href: "/certificates?status=Expiring&sort=notAfter",
      tone: summary.expiringCertificates > 0 ? "stat-attention" : "",
      note: "within 30 days",
    })}
    ${statCard({
      label: "Expired",
      value: summary.expiredCertificates,
      href: "/certificates?status=Expired&sort=notAfter",
      tone: summary.expiredCertificates > 0 ? "stat-bad" : "",
      note: summary.expiredCertificates === 0 ? "none, as it should be" : "no longer valid",
    })}
    ${statCard({
      label: "Agents online",
      value: html`${summary.activeAgents}<small> of ${summary.totalAgents}</small>`,
      href: "/agents",
      tone: offline > 0 ? "stat-attention" : "",
      note:
        summary.totalAgents === 0 ? "none has joined" : offline === 0 ? "all reporting" : `${offline} not reporting`,
    })}
    ${statCard({ label: "Open jobs", value: summary.pendingJobs, href: "/jobs?status=open", note: "waiting or running" })}
    ${summary.notificationsDead === 0 ? null : statCard({ label: "Dead notifications", value: summary.notificationsDead, href: "/audit", tone: "stat-bad", note: "not delivered" })}
  </div>`
}

const statusOrder = ["Active", "Expiring", "Expired", "RenewalInProgress", "Pending", "Failed", "Revoked", "Archived"]
const statusWords: Readonly<Record<string, string>> = { RenewalInProgress: "Renewing" }

const statusChart = ({ byStatus }: DashboardProps): Markup => {
  const place = (status: string) => statusOrder.indexOf(status) + 1 || 99
  const present = byStatus.filter(({ count }) => count > 0).sort((a, b) => place(a.status) - place(b.status))
  return chartFrame({
    summary: present.map(({ status, count }) => `${count} ${statusWords[status] ?? status}`).join(", "),
    isEmpty: present.length === 0,
    emptyText: "No certificates yet.",
    body: donut(
      present.map(({ status, count }) => ({
        label: statusWords[status] ?? status,
        count,
        className: `status-${status}`,
        href: `/certificates?status=${status}`,
      })),
      "certificates",
    ),
    columns: ["Status", "Certificates"],
    rows: present.map(({ status, count }) => [statusWords[status] ?? status, count]),
  })
}

const utcDay = (date: string): Date => new Date(`${date}T00:00:00Z`)
const isoDay = (at: Date): string => at.toISOString().slice(0, 10)

const expirationChart = ({ expirations, frame: { now } }: DashboardProps): Markup => {
  const weeks: { from: Date; count: number; index: number }[] = []
  for (let day = 0; day < expirations.length; day += 7) {
    const week = expirations.slice(day, day + 7)
    const first = week[0]
    if (first)
      weeks.push({
        from: utcDay(first.date),
        count: week.reduce((sum, { count }) => sum + count, 0),
        index: weeks.length,
      })
  }
  const total = weeks.reduce((sum, { count }) => sum + count, 0)
  const title = ({ from, count }: { from: Date; count: number }) =>
    `Week of ${dateText(from, now)}: ${count} ${count === 1 ? "expires" : "expire"}`
  const labels = [weeks[0], weeks[Math.floor(weeks.length / 2)], weeks.at(-1)].flatMap((week) =>
    week ? [dateText(week.from, now)] : [],
  )
  return chartFrame({
    summary: `${total} certificates expire within the next ${expirations.length} days.`,
    isEmpty: total === 0,
    emptyText: `Nothing expires within the next ${expirations.length} days.`,
    body: bars(
      weeks.map((week) => ({
        count: week.count,
        title: title(week),
        className: week.index === 0 ? "near" : week.index < 5 ? "soon" : "later",
        href: `/certificates?expires_after=${isoDay(week.from)}&expires_before=${isoDay(new Date(week.from.getTime() + 7 * 86_400_000))}&sort=notAfter`,
      })),
      labels,
    ),
    columns: ["Week of", "Expiring"],
    rows: weeks.map((week) => [dateText(week.from), week.count]),
  })
}

const dayLabels = (days: readonly { date: string }[], now: Date): string[] =>
  [days[0], days[Math.floor(days.length / 2)], days.at(-1)].flatMap((day) =>
    day ? [dateText(utcDay(day.date), now)] : [],
  )

const jobChart = ({ jobTrend, frame: { now } }: DashboardProps): Markup => {
  const completed = jobTrend.reduce((sum, day) => sum + day.completed, 0)
  const failed = jobTrend.reduce((sum, day) => sum + day.failed, 0)
  const rate = completed + failed === 0 ? 0 : Math.round((completed / (completed + failed)) * 1000) / 10
  return chartFrame({
    summary: `${completed} jobs completed and ${failed} failed: ${rate} % succeeded.`,
    isEmpty: completed + failed === 0,
    emptyText: "No job has finished in the last 30 days.",
    body: html`<p class="chart-figure"><b>${rate} %</b> succeeded</p>${lines(
      [
        { label: "Completed", values: jobTrend.map((day) => day.completed), className: "completed" },
        { label: "Failed", values: jobTrend.map((day) => day.failed), className: "failed" },
      ],
      dayLabels(jobTrend, now),
    )}`,
    columns: ["Day", "Completed", "Failed"],
    rows: jobTrend.map((day) => [dateText(utcDay(day.date)), day.completed, day.failed]),
  })
}

const issuanceChart = ({ issuance, frame: { now } }: DashboardProps): Markup => {
  const total = issuance.reduce((sum, { issued }) => sum + issued, 0)
  return chartFrame({
    summary: `${total} certificates were issued in the last 30 days.`,
    isEmpty: total === 0,
    emptyText: "Nothing was issued in the last 30 days.",
    body: html`<p class="chart-figure"><b>${total}</b> issued</p>${bars(
      issuance.map(({ date, issued }) => ({
        count: issued,
        title: `${dateText(utcDay(date), now)}: ${issued} issued`,
        className: "later",
      })),
      dayLabels(issuance, now),
    )}`,
    columns: ["Day", "Issued"],
    rows: issuance.map(({ date, issued }) => [dateText(utcDay(date)), issued]),
  })
}

/** What happens before it lapses; what does not go by itself says so. */
const renewalWords = (status: string, renewal: RenewalOutlook, now: Date): string => {
  if (status === "Failed") return "renewal failed"
  if (status === "RenewalInProgress") return "renewal is under way"
  switch (renewal.kind) {
    case "automatic":
      return renewal.at.getTime() <= now.getTime()
        ? "renewal is due"
        : `renews by itself ${relativeText(renewal.at, now)}`
    case "approval":
      return renewal.at.getTime() <= now.getTime()
        ? "renewal needs approval"
        : `needs approval ${relativeText(renewal.at, now)}`
    case "manual":
      return "renews only by hand"
    case "client":
      return `renewed by its ${renewal.protocol} client`
    case "none":
      return "no renewal planned"
  }
}

const expiringNext = ({ expiringNext: rows, frame: { now } }: DashboardProps): Markup =>
  rows.length === 0
    ? html`<p class="chart-empty">No certificate has been issued yet.</p>`
    : html`<ul class="brief">${rows.map(
        (row) =>
          html`<li><div><a href=${`/certificates/${row.id}`}>${breakable(row.commonName)}</a><span class="sub">${renewalWords(
            row.status,
            row.renewal,
            now,
          )}${row.owner === null ? "" : ` · ${row.owner}`}</span></div>${expiryCell(row.expiresAt, now)}</li>`,
      )}</ul>`

const proofList = ({ proofs, frame: { now } }: DashboardProps): Markup =>
  proofs.length === 0
    ? html`<p class="chart-empty">No endpoint was seen serving its certificate lately. Agents look after every deployment.</p>`
    : html`<ul class="brief">${proofs.map(
        ({ certificate, target, agent, served }) =>
          html`<li><div><a href=${`/certificates/${certificate.id}`}>${breakable(certificate.commonName)}</a><span class="sub" title=${target.endpoint}>${target.name} · agent ${agent.name}</span></div>${seal("served", served, now)}</li>`,
      )}</ul><p class="hint">Read from a TLS handshake within the last 26 hours, and equal to what was deployed.</p>`

const recentJobs = ({ recentJobs: rows, frame: { now } }: DashboardProps): Markup =>
  rows.length === 0
    ? html`<p class="chart-empty">No job has run yet.</p>`
    : html`<ul class="brief">${rows.map(
        (job) =>
          html`<li><div><a href=${`/jobs/${job.id}`}>${job.type}</a><span class="sub">${job.certificate?.commonName ?? ""}${job.target === null ? "" : ` to ${job.target.name}`}</span></div><span class="stacked end">${badge({ status: job.status })}<span class="sub">${timeAgo(job.completedAt ?? job.startedAt ?? job.createdAt, now)}</span></span></li>`,
      )}</ul>`

const calmWords = ({ nextRenewal, summary, frame: { now } }: DashboardProps): Markup =>
  html`${summary.totalCertificates.toLocaleString("en")} certificates are looked after. ${
    nextRenewal === null
      ? "No renewal is due."
      : html`The next renewal happens by itself ${relativeText(nextRenewal.at, now)}: <a href=${`/certificates/${nextRenewal.id}`}>${nextRenewal.commonName}</a>.`
  }`

/** The way to the first certificate, with what is done already. */
const firstRun = ({ frame, setup }: DashboardProps): Markup => {
  const agent = setup?.agent ?? null
  const hasTarget = (setup?.targets ?? 0) > 0
  const steps: readonly { title: string; isDone: boolean; text: Markup; action?: Markup }[] = [
    {
      title: "Connect an agent",
      isDone: agent !== null,
      text:
        agent === null
          ? "It runs on the host that serves TLS, makes the keys there, installs what is issued and looks at what is served."
          : html`<a href=${`/agents/${agent.id}`}>${agent.name}</a> has joined.`,
      action: html`<a class="button primary" href="/agents/join">Connect an agent</a>`,
    },
    {
      title: "Make a target",
      isDone: hasTarget,
      text: hasTarget
        ? `${setup?.targets} ${setup?.targets === 1 ? "target is" : "targets are"} there.`
        : "It says where the agent puts the certificate and how the service takes it up.",
      action: html`<a class=${classes("button", agent !== null && "primary")} href="/targets/new">Make a target</a>`,
    },
    {
      title: "Add a certificate",
      isDone: false,
      text: "It is issued, deployed and verified at once, and renewed from then on.",
      action: html`<a class=${classes("button", agent !== null && hasTarget && "primary")} href="/certificates/new">${icon("plus")}Add a certificate</a>`,
    },
  ]
  const next = steps.find(({ isDone }) => !isDone)
  return panel(
    { title: "From here to the first certificate", className: "attention-panel" },
    html`<ol class="setup">${steps.map(
      (step, index) =>
        html`<li class=${classes(step.isDone && "done", step === next && "next")}>
          <span class="setup-mark">${step.isDone ? html`${icon("check")}<span class="visually-hidden">done</span>` : index + 1}</span>
          <div><h3>${step.title}</h3><p>${step.text}</p>${step.isDone || !mayWork(frame) ? null : html`<div class="setup-action">${step.action}</div>`}</div>
        </li>`,
    )}</ol>`,
  )
}

export const dashboardPage = (props: DashboardProps): Markup => {
  const { frame, attention, summary } = props
  const urgent = attention.length
  const body =
    summary.totalCertificates === 0 && urgent === 0
      ? html`${firstRun(props)}${statCards(props)}`
      : html`
        ${panel({ title: "Needs attention", id: "attention", className: urgent === 0 ? "attention-panel" : "attention-panel urgent", actions: urgent === 0 ? null : html`<span class="panel-count">${urgent}</span>` }, attentionList(attention, calmWords(props), frame.now))}
        ${statCards(props)}
        <div class="grid two">
          ${panel({ title: "Expiring next", actions: html`<a href="/certificates?sort=notAfter">All by expiry</a>` }, expiringNext(props))}
          ${panel({ title: "Seen on the wire" }, proofList(props))}
          ${panel({ title: "Status" }, statusChart(props))}
          ${panel({ title: "Expirations, next 90 days" }, expirationChart(props))}
          ${panel({ title: "Recent jobs", actions: html`<a href="/jobs">All jobs</a>` }, recentJobs(props))}
          ${panel({ title: "Job outcomes, last 30 days" }, jobChart(props))}
          ${panel({ title: "Issued, last 30 days" }, issuanceChart(props))}
        </div>`
  return layout(
    frame,
    {
      title: "Dashboard",
      live: { intervalSeconds: 30 },
      actions: mayWork(frame)
        ? html`<a class="button primary" href="/certificates/new" data-new>${icon("plus")}New certificate</a>`
        : undefined,
    },
    live("dashboard", body),
  )
}
