/** Deciding about an approval request, wherever it is shown: the buttons, or why they are missing, and what they ask. */
import type { ApprovalRow } from "../pages/views"
import { askDialog, askLink, type Question } from "./confirm"
import { textField } from "./form"
import { type Frame, mayWork } from "./layout"
import { html, type Markup } from "./markup"

const noteField = (prefix: string): Markup =>
  textField({
    id: `${prefix}-note`,
    name: "note",
    label: "Note",
    hint: "Stays with the request and in the audit trail.",
    maxlength: 1000,
  })

const who = ({ requestedBy }: ApprovalRow): string => requestedBy ?? "the schedule"

export const approveQuestion = (request: ApprovalRow): Question => ({
  id: "ask-approve",
  title: `Approve ${request.certificate.commonName}?`,
  text: html`<p>Asked for by ${who(request)}, under the profile ${request.profile.name}: a certificate of ${request.issuer?.name ?? "its issuer"} for ${request.sans.length === 0 ? request.certificate.commonName : request.sans.join(", ")}. Once issued it is deployed as usual.</p>`,
  action: `/approvals/${request.id}/approve`,
  confirmLabel: "Approve",
  danger: false,
  fields: noteField,
})

export const refuseQuestion = (request: ApprovalRow): Question => ({
  id: "ask-refuse",
  title: `Reject ${request.certificate.commonName}?`,
  text: html`<p>Its job is cancelled. What is installed now stays installed. ${request.requestedBy === null ? "The schedule asks again at its next renewal check." : "Whoever asked finds the note with the job."}</p>`,
  action: `/approvals/${request.id}/reject`,
  confirmLabel: "Reject",
  danger: true,
  fields: noteField,
})

/** The links; `inPlace`: as dialogs, which `decisionDialogs` puts on the page; else small, for a row. */
export const decisionLinks = (frame: Frame, request: ApprovalRow, inPlace: boolean): Markup => {
  if (request.state !== "pending" || !mayWork(frame)) return null
  const { approve, reject } = request.objections
  const link = (question: Question, verb: string, label: string, look: string) =>
    inPlace
      ? askLink(question, question.action, { label, className: look })
      : html`<a class=${`button small ${look}`} href=${question.action} aria-label=${`${verb} ${request.certificate.commonName}`}>${label}</a>`
  return html`${approve === null ? link(approveQuestion(request), "Approve", "Approve", "primary") : null}${reject === null ? link(refuseQuestion(request), "Reject", "Reject", "") : null}`
}

export const decisionDialogs = (frame: Frame, request: ApprovalRow): Markup => {
  if (request.state !== "pending" || !mayWork(frame)) return null
  const { approve, reject } = request.objections
  return html`${approve === null ? askDialog(approveQuestion(request)) : null}${reject === null ? askDialog(refuseQuestion(request)) : null}`
}

/** Why a button is missing, as a sentence; null where none is. */
export const decisionObstacle = (frame: Frame, { state, objections }: ApprovalRow): string | null => {
  if (state !== "pending") return null
  if (!mayWork(frame)) return "Your role may only read."
  const { approve } = objections
  return approve === null ? null : `${approve.charAt(0).toUpperCase()}${approve.slice(1)}.`
}
