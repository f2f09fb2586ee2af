/** One agent: how it is, what depends on it, what it has been doing. */
import { jobsTable } from "../parts/activity"
import { badge, toneMark } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import { textField } from "../parts/form"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import { expiryCell } from "../parts/lifetime"
import { html, type Markup } from "../parts/markup"
import { empty, facts, panel } from "../parts/panel"
import { type Column, dataTable } from "../parts/table"
import { absoluteText, dateText, durationText, relativeText, timeAgo } from "../parts/time"
import type { AgentRow } from "./agents.page"
import type { JobRow } from "./views"

export interface AgentTargetRow {
  readonly id: string
  readonly name: string
  readonly type: string
  readonly certificates: readonly {
    readonly id: string
    readonly commonName: string
    readonly status: string
    readonly expiresAt: Date | null
  }[]
}

export interface AgentProps {
  readonly frame: Frame
  readonly agent: AgentRow & { readonly registeredAt: Date }
  readonly targets: readonly AgentTargetRow[]
  readonly jobs: readonly JobRow[]
  readonly discoveredCount: number
  readonly dependencies: RetireDependencies
}

export interface RetireDependencies {
  readonly activeTargets: number
  readonly activeCertificates: number
  readonly pendingJobs: number
}

/** What is asked before an agent is retired; with dependencies it takes a reason and is done by force. */
export const retireQuestion = (
  agent: { id: string; name: string },
  dependencies: RetireDependencies,
  error?: string,
): Question => {
  const { activeTargets, activeCertificates, pendingJobs } = dependencies
  const blocked = activeTargets + activeCertificates + pendingJobs > 0
  return {
    id: "ask-retire",
    title: `Retire ${agent.name}?`,
    text: blocked
      ? html`<p>Still depending on it:</p><ul>
          <li>${activeTargets} active ${activeTargets === 1 ? "target" : "targets"}, which are retired with it</li>
          <li><a href=${`/certificates?agent_id=${agent.id}`}>${activeCertificates} active ${activeCertificates === 1 ? "certificate" : "certificates"}</a>, which it no longer renews or deploys</li>
          <li><a href=${`/jobs?agent_id=${agent.id}`}>${pendingJobs} open ${pendingJobs === 1 ? "job" : "jobs"}</a>, which are cancelled</li></ul>`
      : html`<p>Nothing depends on it. It can no longer report or take work; its history stays.</p>`,
    action: `/agents/${agent.id}/retire`,
    confirmLabel: blocked ? "Force retire" : "Retire agent",
    danger: true,
    ...(error === undefined ? {} : { error }),
    fields: (prefix) =>
      html`${blocked ? html`<input type="hidden" name="force" value="true" />` : null}${textField({ id: `${prefix}-reason`, name: "reason", label: "Reason", required: blocked })}`,
  }
}

const targetColumns = (
  now: Date,
): Column<AgentTargetRow["certificates"][number] & { readonly target: AgentTargetRow }>[] => [
  {
    head: "Certificate",
    className: "lead",
    cell: (row) => html`<a href=${`/certificates/${row.id}`} data-row-link>${row.commonName}</a>`,
  },
  { head: "Status", cell: (row) => badge({ status: row.status }) },
  { head: "Expires", cell: (row) => expiryCell(row.expiresAt, now) },
  {
    head: "Target",
    cell: (row) => html`<span class="stacked">${row.target.name}<span class="sub">${row.target.type}</span></span>`,
  },
]

const dependents = (targets: readonly AgentTargetRow[], now: Date): Markup => {
  const rows = targets
    .flatMap((target) => target.certificates.map((certificate) => ({ ...certificate, target })))
    .sort(
      (a, b) =>
        (a.expiresAt?.getTime() ?? Number.MAX_SAFE_INTEGER) - (b.expiresAt?.getTime() ?? Number.MAX_SAFE_INTEGER),
    )
  const idle = targets.filter(({ certificates }) => certificates.length === 0)
  return html`${
    rows.length === 0
      ? empty({
          icon: "certificate",
          title: "No certificate depends on it",
          text: "Map a certificate to one of its targets to have it made and installed here.",
        })
      : dataTable({
          caption: "Certificates that depend on this agent",
          columns: targetColumns(now),
          rows,
          rowId: (row) => `${row.target.id}-${row.id}`,
        })
  }${idle.length === 0 ? null : html`<p class="panel-note">Targets without a certificate: ${idle.map(({ name }) => name).join(", ")}.</p>`}`
}

const silence = ({ agent, frame: { now } }: AgentProps): Markup => {
  if (agent.health === "Retired")
    return html`<section class="headline tone-neutral" aria-label="How it stands">${toneMark("neutral")}<div class="headline-words"><p class="headline-sentence">Retired${agent.retiredAt === null ? "" : ` ${relativeText(agent.retiredAt, now)}`}.</p>${agent.retiredReason === null ? null : html`<p>${agent.retiredReason}</p>`}</div></section>`
  if (agent.health === "Online" || agent.builtIn) return null
  const tone = agent.health === "Offline" ? "bad" : "attention"
  return html`<section class=${`headline tone-${tone}`} aria-label="How it stands">${toneMark(tone)}<div class="headline-words">
    <p class="headline-sentence">Silent ${agent.lastHeartbeatAt === null ? "since it registered" : `for ${durationText(now.getTime() - agent.lastHeartbeatAt.getTime())}, since ${absoluteText(agent.lastHeartbeatAt)}`}.</p>
    <p>${agent.certificateCount === 0 ? "No certificate depends on it." : `${agent.certificateCount} ${agent.certificateCount === 1 ? "certificate depends" : "certificates depend"} on it${agent.firstExpiryAt === null ? "" : `; the first lapses ${dateText(agent.firstExpiryAt, now)}`}.`} On the host, check that <code>certctl agent</code> runs and reaches this server.</p></div></section>`
}

export const agentPage = (props: AgentProps): Markup => {
  const { frame, agent, targets, jobs, discoveredCount, dependencies } = props
  const question = retireQuestion(agent, dependencies)
  const canRetire = mayWork(frame) && !agent.builtIn && agent.health !== "Retired"
  return layout(
    frame,
    {
      title: agent.name,
      subtitle: agent.hostname,
      up: { label: "Agents", href: "/agents" },
      live: { intervalSeconds: 10 },
      actions: canRetire
        ? askLink(question, `/agents/${agent.id}/retire`, { label: "Retire", icon: "archive" })
        : undefined,
    },
    html`${live(
      "agent",
      html`
        ${silence(props)}
        <div class="grid aside">
          <div class="main-column">
            ${panel({ title: "Certificates that depend on it", flush: true, id: "dependents" }, dependents(targets, frame.now))}
            ${panel(
              {
                title: "Recent jobs",
                flush: true,
                actions: html`<a href=${`/jobs?agent_id=${agent.id}`}>All jobs</a>`,
              },
              jobs.length === 0
                ? empty({ icon: "job", title: "No jobs yet", text: "What this agent is asked to do appears here." })
                : jobsTable(jobs, frame.now, ["agent"]),
            )}
          </div>
          <div class="side-column">
            ${panel(
              { title: "Health" },
              facts([
                ["State", badge({ status: agent.health })],
                ["Last heartbeat", timeAgo(agent.lastHeartbeatAt, frame.now)],
                ["Registered", timeAgo(agent.registeredAt, frame.now)],
                ["Version", agent.version || "unknown"],
              ]),
            )}
            ${panel(
              { title: "System" },
              facts([
                ["Id", copyable(agent.id, "id")],
                ["Hostname", agent.hostname],
                ["System", agent.os || "unknown"],
                ["Architecture", agent.architecture || "unknown"],
                ["Address", agent.ipAddress === "" ? "unknown" : html`<code>${agent.ipAddress}</code>`],
                ["Discovered", `${discoveredCount} ${discoveredCount === 1 ? "certificate" : "certificates"}`],
              ]),
            )}
          </div>
        </div>`,
    )}${canRetire ? askDialog(question) : null}`,
  )
}
