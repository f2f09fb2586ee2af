/** One job: what it was to do, how far it got, why it failed and what helps. */
import { windowHoldPrefix } from "../../src/rollouts/deployment-window"
import { auditList } from "../parts/activity"
import { badge, toneMark } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import { decisionDialogs, decisionLinks, decisionObstacle } from "../parts/decision"
import { textField } from "../parts/form"
import { icon } from "../parts/icon"
import { failureHint, isOpenJob } from "../parts/job-words"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { facts, panel } from "../parts/panel"
import { timeAgo } from "../parts/time"
import type { ApprovalRow, AuditRow, JobRow } from "./views"

export interface JobProps {
  readonly frame: Frame
  readonly job: JobRow
  /** The request that the job waits for; null where it waits for none. */
  readonly approval: ApprovalRow | null
  readonly verification: {
    readonly expectedFingerprint: string
    readonly actualFingerprint: string
    readonly verifiedAt: Date | null
    readonly error: string | null
  } | null
  /** What the agent reported about its steps, in order. */
  readonly steps: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[]
  readonly audit: readonly AuditRow[]
}

type Subject = Pick<JobRow, "id" | "type" | "certificate">

const subjectWords = ({ type, certificate }: Subject): string =>
  `${type.toLowerCase()}${certificate === null ? "" : ` of ${certificate.commonName}`}`

export const cancelQuestion = (job: Subject): Question => ({
  id: "ask-cancel",
  title: `Cancel the ${subjectWords(job)}?`,
  text: html`<p>It stops before its next step. What is installed now stays installed.</p>`,
  action: `/jobs/${job.id}/cancel`,
  confirmLabel: "Cancel job",
  danger: true,
})

export const rejectQuestion = (job: Subject): Question => ({
  id: "ask-reject",
  title: `Reject the ${subjectWords(job)}?`,
  text: html`<p>The job ends without being run. Whoever asked for it sees the reason.</p>`,
  action: `/jobs/${job.id}/reject`,
  confirmLabel: "Reject job",
  danger: true,
  fields: (prefix) => textField({ id: `${prefix}-reason`, name: "reason", label: "Reason", maxlength: 500 }),
})

const timeline = ({ frame: { now }, job }: JobProps): Markup => {
  const last = job.status === "Failed" ? "Failed" : job.status === "Cancelled" ? "Cancelled" : "Completed"
  const moments: readonly (readonly [word: string, at: Date | null])[] = [
    ["Created", job.createdAt],
    ["Scheduled", job.scheduledAt],
    ["Started", job.startedAt],
    [last, job.completedAt],
  ]
  return html`<ol class="steps">${moments.map(
    ([word, at]) =>
      html`<li class=${`step step-${at === null ? "waiting" : word === "Failed" ? "failed" : "done"}`}><span class="step-mark">${at === null ? null : icon(word === "Failed" ? "close" : "check")}</span><span class="step-words"><b>${word}</b><span class="sub">${timeAgo(at, now, "not yet")}</span></span></li>`,
  )}</ol>`
}

const verificationBox = ({ frame: { now }, job, verification }: JobProps): Markup =>
  job.verification === null || (job.verification === "pending" && !isOpenJob(job.status))
    ? null
    : panel(
        { title: "Verification" },
        facts([
          ["Result", badge({ status: job.verification })],
          [
            "Expected",
            verification === null || verification.expectedFingerprint === ""
              ? null
              : copyable(verification.expectedFingerprint, "expected fingerprint"),
          ],
          [
            "Seen",
            verification === null || verification.actualFingerprint === ""
              ? null
              : copyable(verification.actualFingerprint, "seen fingerprint"),
          ],
          ["When", timeAgo(verification?.verifiedAt ?? null, now, "not yet")],
          ["Trouble", verification?.error ?? null],
        ]),
      )

const failure = ({ job }: JobProps): Markup => {
  if (job.lastError === null) return null
  const hint = failureHint(job.lastError)
  const tone = job.status === "Failed" ? "bad" : job.status === "Cancelled" ? "neutral" : "attention"
  return html`<section class=${`headline tone-${tone}`} aria-label="Why">${toneMark(tone)}<div class="headline-words">
    <p class="headline-sentence">${{ Failed: "It failed.", Cancelled: "It was cancelled." }[job.status] ?? "The last attempt failed."}${job.status === "Failed" && job.attempts < job.maxAttempts ? ` Attempt ${job.attempts} of ${job.maxAttempts}; the next follows by itself.` : ""}</p>
    <div class="error-text">${copyable(job.lastError, "error")}</div>
    ${hint === null ? null : html`<p><b>What may help:</b> ${hint}</p>`}</div></section>`
}

const steps = ({ steps: reported }: JobProps): Markup =>
  reported.length === 0
    ? null
    : panel(
        { title: "Steps" },
        html`<ol class="report">${reported.map(
          ({ name, ok, detail }) =>
            html`<li class=${ok ? "tone-good" : "tone-bad"}>${toneMark(ok ? "good" : "bad")}<span><b>${name}</b><span class="visually-hidden">: ${ok ? "done" : "failed"}</span>${detail === "" ? null : html`<span class="sub">${detail}</span>`}</span></li>`,
        )}</ol>`,
      )

/** Nobody decides about what they asked for, but they may take it back. */
const isOwn = ({ frame, job }: JobProps): boolean => job.requestedBy !== null && job.requestedBy === frame.actor?.name

const actions = (props: JobProps): Markup => {
  const { frame, job, approval } = props
  if (!mayWork(frame) || !isOpenJob(job.status)) return null
  if (approval !== null && !isOwn(props)) return decisionLinks(frame, approval, true)
  return job.status === "AwaitingApproval" && !isOwn(props)
    ? html`${askLink(rejectQuestion(job), `/jobs/${job.id}/reject`, { label: "Reject" })}<form method="post" action=${`/jobs/${job.id}/approve`}><button class="button primary">Approve</button></form>`
    : askLink(cancelQuestion(job), `/jobs/${job.id}/cancel`, { label: "Cancel job" })
}

const dialogs = (props: JobProps): Markup => {
  const { frame, job, approval } = props
  if (!mayWork(frame) || !isOpenJob(job.status)) return null
  if (approval !== null && !isOwn(props)) return decisionDialogs(frame, approval)
  return askDialog(job.status === "AwaitingApproval" && !isOwn(props) ? rejectQuestion(job) : cancelQuestion(job))
}

/** A deployment that waits for its target's window can be told not to. */
const beginNow = ({ frame, job }: JobProps): Markup =>
  mayWork(frame) && job.target !== null && job.certificate !== null && job.hold?.startsWith(windowHoldPrefix) === true
    ? html`<form method="post" action=${`/certificates/${job.certificate.id}/deploy?ignore_windows=true`}><input type="hidden" name="target_id" value=${job.target.id} /><button class="button">Deploy now, outside the window</button></form>`
    : null

const heldBy = (props: JobProps): Markup =>
  props.job.hold === null
    ? null
    : html`<section class="headline tone-attention" aria-label="What it waits for">${toneMark("attention")}<div class="headline-words">
    <p class="headline-sentence">It is held back.</p><p>${sentence(props.job.hold)}</p>${beginNow(props)}</div></section>`

const sentence = (words: string): string => `${words.charAt(0).toUpperCase()}${words.slice(1)}.`

/** Who has to decide, where somebody has to. */
const waitingFor = (props: JobProps): Markup => {
  const { frame, job, approval } = props
  if (job.status !== "AwaitingApproval") return null
  const obstacle =
    approval !== null
      ? decisionObstacle(frame, approval)
      : isOwn(props)
        ? "You asked for this yourself, so another person must decide."
        : null
  return html`<section class="headline tone-attention" aria-label="What it waits for">${toneMark("attention")}<div class="headline-words">
    <p class="headline-sentence">${approval === null ? "It waits for somebody to approve it." : "It waits for another person to approve it."}</p>
    ${obstacle === null ? null : html`<p>${obstacle}</p>`}${approval === null ? null : html`<p><a href=${`/approvals/${approval.id}`}>What is asked for</a></p>`}</div></section>`
}

export const jobPage = (props: JobProps): Markup => {
  const { frame, job, audit } = props
  const open = isOpenJob(job.status)
  return layout(
    frame,
    {
      title: `${job.type}${job.certificate === null ? "" : ` of ${job.certificate.commonName}`}`,
      subtitle: job.target === null ? undefined : `to ${job.target.name}`,
      up: { label: "Jobs", href: "/jobs" },
      actions: actions(props),
      ...(open ? { live: { intervalSeconds: 10 } } : {}),
    },
    html`${live(
      "job",
      html`
        ${waitingFor(props)}${heldBy(props)}${failure(props)}
        <div class="grid aside">
          <div class="main-column">
            ${panel({ title: "Course" }, timeline(props))}
            ${steps(props)}
            ${verificationBox(props)}
            ${panel({ title: "Audit trail", actions: html`<a href=${`/audit?resource_id=${job.id}`}>All events</a>` }, auditList(audit, frame.now))}
          </div>
          <div class="side-column">${panel(
            { title: "Details" },
            facts([
              ["Status", badge({ status: job.status })],
              ["Type", job.type],
              ["Id", copyable(job.id, "id")],
              [
                "Certificate",
                job.certificate === null
                  ? null
                  : html`<a href=${`/certificates/${job.certificate.id}`}>${job.certificate.commonName}</a>`,
              ],
              ["Target", job.target?.name ?? null],
              [
                "Agent",
                job.agent === null ? "server" : html`<a href=${`/agents/${job.agent.id}`}>${job.agent.name}</a>`,
              ],
              ["Attempts", `${job.attempts} of ${job.maxAttempts}`],
              ["Requested by", job.requestedBy ?? "the schedule"],
            ]),
          )}</div>
        </div>`,
    )}${dialogs(props)}`,
  )
}
