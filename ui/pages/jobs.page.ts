/** The job list: what waits, runs and failed, and the decisions that wait for a person. */
import { badge, toneMark } from "../parts/badge"
import { filterBar } from "../parts/filter-bar"
import { isOpenJob } from "../parts/job-words"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import { isFiltered, type ListState, linkTo, type Paging } from "../parts/list-state"
import { html, type Markup } from "../parts/markup"
import { empty, tabs } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { timeAgo } from "../parts/time"
import type { JobRow } from "./views"

export interface JobsProps {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly rows: readonly JobRow[]
}

const types = ["Issuance", "Renewal", "Deployment", "Validation"].map((name) => ({ value: name, label: name }))

const statusTabs = [
  { status: null, label: "All" },
  { status: "open", label: "Open" },
  { status: "AwaitingApproval", label: "Awaiting approval" },
  { status: "Failed", label: "Failed" },
  { status: "Completed", label: "Completed" },
  { status: "Cancelled", label: "Cancelled" },
]

const rowActions = (frame: Frame, job: JobRow): Markup => {
  if (!mayWork(frame) || !isOpenJob(job.status)) return null
  const post = (verb: string, label: string, look = "") =>
    html`<form method="post" action=${`/jobs/${job.id}/${verb}`}><input type="hidden" name="back" value=${frame.url} /><button class=${`button small ${look}`} aria-label=${`${label} ${job.type} ${job.certificate?.commonName ?? job.id}`}>${label}</button></form>`
  return html`<span class="row-actions">${
    job.status === "AwaitingApproval" && job.requestedBy !== null && job.requestedBy === frame.actor?.name
      ? html`<span class="sub" title="Another person must decide about it.">asked by you</span>`
      : job.status === "AwaitingApproval"
        ? html`${post("approve", "Approve", "primary")}<a class="button small" href=${`/jobs/${job.id}/reject`} aria-label=${`Reject ${job.type} ${job.certificate?.commonName ?? job.id}`}>Reject</a>`
        : html`<a class="button small quiet" href=${`/jobs/${job.id}/cancel`} aria-label=${`Cancel ${job.type} ${job.certificate?.commonName ?? job.id}`}>Cancel</a>`
  }</span>`
}

/** What a deployment's look at the wire gave, in the place of a second date. */
const outcome = ({ verification, scheduledAt }: JobRow, now: Date): Markup => {
  switch (verification) {
    case "success":
      return html`<span class="proof proof-good">${toneMark("good")}verified</span>`
    case "failed":
      return html`<span class="proof proof-bad">${toneMark("bad")}not verified</span>`
    case "skipped":
      return html`<span class="sub">not checked</span>`
    default:
      return html`<span class="sub">scheduled ${timeAgo(scheduledAt, now)}</span>`
  }
}

const moments = (job: JobRow, now: Date): Markup =>
  job.completedAt === null
    ? html`<span class="stacked"><span>${job.startedAt === null ? "not started" : html`started ${timeAgo(job.startedAt, now)}`}</span><span class="sub">scheduled ${timeAgo(job.scheduledAt, now)}</span></span>`
    : html`<span class="stacked"><span>${timeAgo(job.completedAt, now)}</span>${outcome(job, now)}</span>`

/** The certificate, below it the target and the agent that works there. */
const subject = ({ certificate, target, agent }: JobRow): Markup => {
  const place =
    agent === null
      ? "on the server"
      : html`${target === null ? "by" : `to ${target.name},`} <a href=${`/agents/${agent.id}`}>${agent.name}</a>`
  return html`<span class="stacked">${
    certificate === null
      ? html`<span class="muted">no certificate</span>`
      : html`<a href=${`/certificates/${certificate.id}`} title=${certificate.commonName}>${certificate.commonName}</a>`
  }<span class="sub" title=${target === null || agent === null ? undefined : `to ${target.name}, ${agent.name}`}>${place}</span></span>`
}

const columns = (frame: Frame): Column<JobRow>[] => [
  {
    head: "Job",
    className: "lead",
    cell: (job) =>
      html`<span class="stacked"><a href=${`/jobs/${job.id}`} data-row-link>${job.type}</a>${
        job.lastError === null
          ? html`<span class="sub">${job.requestedBy === null ? "by the schedule" : `by ${job.requestedBy}`}</span>`
          : html`<span class=${job.status === "Failed" ? "sub alarm" : "sub"} title=${job.lastError}>${job.lastError}</span>`
      }</span>`,
  },
  {
    head: "Status",
    cell: (job) =>
      html`<span class="stacked">${badge({ status: job.status })}<span class="sub">${job.hold === null ? `attempt ${job.attempts} of ${job.maxAttempts}` : "held"}</span></span>`,
  },
  { head: "Certificate, place", className: "trim", cell: subject },
  { head: "Completed", cell: (job) => moments(job, frame.now) },
  { head: "Actions", quietHead: true, className: "actions", cell: (job) => rowActions(frame, job) },
]

const emptyList = (state: ListState): Markup =>
  isFiltered(state)
    ? empty({
        icon: "filter",
        title: "No job matches",
        text: "Nothing fits these filters.",
        action: html`<a class="button" href=${state.path}>Clear filters</a>`,
      })
    : empty({
        icon: "job",
        title: "No jobs yet",
        text: "Issuing, renewing and deploying a certificate leaves a job here, with what happened at each step.",
      })

export const jobsPage = ({ frame, state, paging, rows }: JobsProps): Markup => {
  const waiting = frame.counts.awaitingApproval
  const current = state.params.status ?? null
  return layout(
    frame,
    {
      title: "Jobs",
      subtitle: `${paging.total.toLocaleString("en")} ${isFiltered(state) ? "match" : "on record"}`,
      live: { intervalSeconds: 10 },
    },
    html`
      ${tabs(
        "Jobs by state",
        statusTabs.map(({ status, label }) => ({
          label,
          href: linkTo(state, { status }),
          current: current === status,
          ...(status === "AwaitingApproval" && waiting > 0 ? { count: waiting } : {}),
        })),
      )}
      ${filterBar(state, {
        selects: [{ name: "type", label: "Type", options: types }],
        texts: [
          { name: "certificate_id", label: "Certificate id" },
          { name: "agent_id", label: "Agent id" },
        ],
        kept: ["status"],
      })}
      ${live(
        "list",
        html`${
          waiting > 0 && current !== "AwaitingApproval"
            ? html`<div class="notice tone-attention">${toneMark("attention")}<p>${waiting} ${waiting === 1 ? "job awaits" : "jobs await"} approval. <a href=${linkTo(state, { status: "AwaitingApproval" })}>Decide</a></p></div>`
            : null
        }<div class="panel flush list">${
          rows.length === 0
            ? emptyList(state)
            : html`${dataTable({ caption: "Jobs", columns: columns(frame), rows, rowId: (job) => job.id, state })}${pager(state, paging)}`
        }</div>`,
      )}`,
  )
}
