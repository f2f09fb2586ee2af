/** Lists of jobs and audit events inside an object's own page. */
import type { AuditRow, JobRow } from "../pages/views"
import { badge } from "./badge"
import { jobSubject } from "./job-words"
import { html, type Markup } from "./markup"
import { type Column, dataTable } from "./table"
import { timeAgo } from "./time"

/** "csr_submitted" as "CSR submitted"; API calls as "API GET". */
export const actionWords = (action: string): string => {
  const words = action
    .replace(/^api_(get|put|post|patch|delete|head|options)$/, (_, method: string) => `API ${method.toUpperCase()}`)
    .replaceAll("_", " ")
    .replace(/\b(acme|api|ari|ca|crl|csr|dns|est|http|id|ip|ocsp|pem|scep|tls)\b/g, (word) => word.toUpperCase())
  return words.charAt(0).toUpperCase() + words.slice(1)
}

const folders: Readonly<Record<string, string>> = {
  certificate: "certificates",
  agent: "agents",
  agent_group: "agent-groups",
  approval: "approvals",
  issuer: "issuers",
  job: "jobs",
  policy: "policies",
  target: "targets",
}

/** Where an audit event's object has its page; null when it has none. */
export const resourceLink = (type: string, id: string): string | null => {
  const folder = folders[type]
  return folder === undefined || id === "" ? null : `/${folder}/${encodeURIComponent(id)}`
}

export const jobsTable = (
  rows: readonly JobRow[],
  now: Date,
  leaveOut: readonly ("certificate" | "agent")[] = [],
): Markup => {
  const columns: (Column<JobRow> & { readonly about?: "certificate" | "agent" })[] = [
    {
      head: "Job",
      className: "lead",
      cell: (job) =>
        html`<span class="stacked"><a href=${`/jobs/${job.id}`} data-row-link>${job.type}</a>${job.lastError === null ? null : html`<span class="sub" title=${job.lastError}>${job.lastError}</span>`}</span>`,
    },
    { head: "Status", cell: (job) => badge({ status: job.status }) },
    { head: "Certificate", about: "certificate", cell: (job) => html`<span class="stacked">${jobSubject(job)}</span>` },
    {
      head: "Where",
      about: "agent",
      cell: (job) => job.target?.name ?? job.agent?.name ?? html`<span class="muted">server</span>`,
    },
    { head: "When", cell: (job) => timeAgo(job.completedAt ?? job.startedAt ?? job.createdAt, now) },
  ]
  return dataTable({
    caption: "Jobs",
    columns: columns.filter(({ about }) => about === undefined || !leaveOut.includes(about)),
    rows,
    rowId: (job) => job.id,
  })
}

/** Newest first: what was done, by whom, when. */
export const auditList = (rows: readonly AuditRow[], now: Date): Markup =>
  rows.length === 0
    ? html`<p class="chart-empty">Nothing recorded yet.</p>`
    : html`<ol class="activity">${rows.map(
        (row) =>
          html`<li data-key=${row.id}><span><b>${actionWords(row.action)}</b> <span class="sub">by ${row.actor === "" ? "anonymous" : row.actor}</span></span>${timeAgo(row.at, now)}</li>`,
      )}</ol>`
