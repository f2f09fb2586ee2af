/** Approvals: what waits for a second person, what was decided, and one request by itself. */
import { auditList } from "../parts/activity"
import { badge, toneMark } from "../parts/badge"
import { copyable } from "../parts/copyable"
import { decisionDialogs, decisionLinks, decisionObstacle } from "../parts/decision"
import { filterBar } from "../parts/filter-bar"
import { type Frame, layout, live } from "../parts/layout"
import { isFiltered, type ListState, linkTo, type Paging } from "../parts/list-state"
import { breakable, html, type Markup } from "../parts/markup"
import { empty, facts, panel, tabs } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { timeAgo } from "../parts/time"
import type { ApprovalRow, AuditRow } from "./views"

export interface ApprovalsProps {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly rows: readonly ApprovalRow[]
  /** Requests that wait, on whatever tab. */
  readonly pending: number
}

const stateTabs = [
  { state: null, label: "Waiting" },
  { state: "approved", label: "Approved" },
  { state: "rejected", label: "Rejected" },
  { state: "expired", label: "Expired" },
  { state: "all", label: "All" },
]

const subject = ({ id, certificate, sans }: ApprovalRow): Markup => {
  const others = sans.filter((name) => name !== certificate.commonName)
  return html`<span class="stacked"><a href=${`/approvals/${id}`} data-row-link>${breakable(certificate.commonName)}</a>${
    others.length === 0
      ? null
      : html`<span class="sub" title=${others.join(", ")}>${others.slice(0, 2).join(", ")}${others.length > 2 ? ` and ${others.length - 2} more` : ""}</span>`
  }</span>`
}

const outcome = (row: ApprovalRow, now: Date): Markup => {
  const { state, decidedBy, decidedAt, note } = row
  return html`<span class="stacked"><span>${badge({ status: `approval-${state}` })}</span>${
    state === "pending"
      ? null
      : html`<span class="sub">${state === "expired" ? "" : `by ${decidedBy}, `}${timeAgo(decidedAt, now)}</span>`
  }${note === null ? null : html`<span class="sub" title=${note}>${note}</span>`}</span>`
}

const columns = (frame: Frame): Column<ApprovalRow>[] => [
  { head: "Certificate", className: "lead", cell: subject },
  {
    head: "Issuer, profile",
    className: "trim",
    cell: (row) =>
      html`<span class="stacked"><span>${row.issuer?.name ?? "its issuer"}</span><span class="sub">${row.profile.name}</span></span>`,
  },
  {
    head: "Asked",
    cell: (row) =>
      html`<span class="stacked"><span>${row.requestedBy ?? "the schedule"}</span><span class="sub">${timeAgo(row.createdAt, frame.now)}</span></span>`,
  },
  { head: "State", className: "trim", cell: (row) => outcome(row, frame.now) },
  {
    head: "Actions",
    quietHead: true,
    className: "actions",
    cell: (row) => {
      if (row.state !== "pending") return null
      const obstacle = decisionObstacle(frame, row)
      return html`<span class="row-actions">${decisionLinks(frame, row, false)}${obstacle === null ? null : html`<span class="sub" title=${obstacle}>${row.requestedBy === frame.actor?.name ? "asked by you" : "not by you"}</span>`}</span>`
    },
  },
]

const emptyList = (state: ListState): Markup =>
  isFiltered(state)
    ? empty({
        icon: "filter",
        title: "No request matches",
        text: "Nothing fits these filters.",
        action: html`<a class="button" href=${state.path}>Show what waits</a>`,
      })
    : empty({
        icon: "approval",
        title: "Nothing waits for approval",
        text: "Certificates whose profile requires approval wait here until another person than the one who asked has decided.",
      })

/** Jobs that wait for anybody's yes, since their renewal policy does not renew by itself. */
const plainJobs = (count: number): Markup =>
  count <= 0
    ? null
    : html`<div class="notice tone-attention">${toneMark("attention")}<p>${count} ${count === 1 ? "renewal waits" : "renewals wait"} for approval by anybody but its owner, since the renewal policy does not renew by itself. <a href="/jobs?status=AwaitingApproval">Decide</a></p></div>`

export const approvalsPage = ({ frame, state, paging, rows, pending }: ApprovalsProps): Markup => {
  const current = state.params.state ?? null
  return layout(
    frame,
    {
      title: "Approvals",
      subtitle: `${paging.total.toLocaleString("en")} ${current === null ? "waiting" : "on record"}`,
      live: { intervalSeconds: 15 },
    },
    html`
      ${tabs(
        "Requests by state",
        stateTabs.map(({ state: value, label }) => ({
          label,
          href: linkTo(state, { state: value }),
          current: current === value,
          ...(value === null && pending > 0 ? { count: pending } : {}),
        })),
      )}
      ${filterBar(state, {
        search: { name: "q", label: "Search", placeholder: "Name or person" },
        kept: ["state", "certificate_id"],
      })}
      ${live(
        "list",
        html`${current === null ? plainJobs(frame.counts.awaitingApproval - pending) : null}<div class="panel flush list">${
          rows.length === 0
            ? emptyList(state)
            : html`${dataTable({ caption: "Approval requests", columns: columns(frame), rows, rowId: (row) => row.id, state })}${pager(state, paging)}`
        }</div>`,
      )}`,
  )
}

export interface ApprovalProps {
  readonly frame: Frame
  readonly request: ApprovalRow
  readonly audit: readonly AuditRow[]
}

const sentence = ({ state, decidedBy }: ApprovalRow): string =>
  ({
    pending: "Waits for another person to decide.",
    approved: `Approved by ${decidedBy}; its job went on.`,
    rejected: `Rejected by ${decidedBy}; its job was cancelled.`,
  })[state] ?? "Expired: its job ended before anybody decided."

const tones: Readonly<Record<string, "attention" | "good" | "bad">> = {
  pending: "attention",
  approved: "good",
  rejected: "bad",
}

export const approvalPage = ({ frame, request, audit }: ApprovalProps): Markup => {
  const { certificate, sans, issuer, profile, requestedBy, note } = request
  const tone = tones[request.state] ?? "neutral"
  const obstacle = decisionObstacle(frame, request)
  return layout(
    frame,
    {
      title: `Approval of ${certificate.commonName}`,
      heading: html`<span class="break">${breakable(certificate.commonName)}</span>`,
      subtitle: "approval of an issuance",
      up: { label: "Approvals", href: "/approvals" },
      actions: decisionLinks(frame, request, true),
      ...(request.state === "pending" ? { live: { intervalSeconds: 15 } } : {}),
    },
    html`${live(
      "approval",
      html`<section class=${`headline tone-${tone}`} aria-label="How it stands">${toneMark(tone)}<div class="headline-words">
          <p class="headline-sentence">${sentence(request)}</p>
          ${obstacle === null ? null : html`<p>${obstacle}</p>`}
          ${note === null ? null : html`<p class="quoted">${note}</p>`}</div></section>
        <div class="grid aside">
          <div class="main-column">
            ${panel(
              { title: "What is asked for" },
              facts([
                ["Certificate", html`<a href=${`/certificates/${certificate.id}`}>${certificate.commonName}</a>`],
                [
                  "Names",
                  sans.length === 0
                    ? null
                    : html`<ul class="names">${sans.map((san) => html`<li>${copyable(san, "name", breakable(san))}</li>`)}</ul>`,
                ],
                ["Issuer", issuer?.name ?? "its issuer"],
                ["Profile", profile.name],
                ["Job", html`<a href=${`/jobs/${request.jobId}`}>${request.jobId}</a>`],
              ]),
            )}
            ${panel({ title: "Audit trail", actions: html`<a href=${`/audit?resource_id=${request.id}`}>All events</a>` }, auditList(audit, frame.now))}
          </div>
          <div class="side-column">${panel(
            { title: "Details" },
            facts([
              ["State", badge({ status: `approval-${request.state}` })],
              ["Id", copyable(request.id, "id")],
              ["Asked by", requestedBy ?? "the schedule"],
              ["Asked", timeAgo(request.createdAt, frame.now)],
              ["Decided by", request.decidedBy],
              ["Decided", request.decidedAt === null ? null : timeAgo(request.decidedAt, frame.now)],
            ]),
          )}</div>
        </div>`,
    )}${decisionDialogs(frame, request)}`,
  )
}
