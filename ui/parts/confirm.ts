/**
 * Questions before something that cannot be taken back. The link leads to a page that asks; where script runs, the
 * same form opens as a dialog in place. Typed confirmation is the browser's own `pattern` check, repeated by the handler.
 */

import { textField } from "./form"
import { type IconName, icon } from "./icon"
import { classes, html, type Markup } from "./markup"

export interface Question {
  /** Unique on the page; the dialog's element id. */
  readonly id: string
  readonly title: string
  /** What happens, in sentences. */
  readonly text: Markup
  /** Where the form posts. */
  readonly action: string
  readonly confirmLabel: string
  readonly danger: boolean
  /** Irreversible actions ask for this text. */
  readonly typeToConfirm?: string
  readonly fields?: (idPrefix: string) => Markup
  readonly error?: string
  /** The answer is a file: the page stays. */
  readonly isDownload?: boolean
}

/** A pattern that matches exactly this text. Browsers compile it with the v flag: only syntax characters may be escaped. */
const exactly = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, (character) => `\\${character}`)

const questionForm = (question: Question, idPrefix: string, cancel: Markup): Markup =>
  html`<form method="post" action=${question.action} class="question" data-download=${question.isDownload}>
    <div class="question-text">${question.text}</div>
    ${question.error ? html`<p class="field-error" role="alert">${question.error}</p>` : null}
    ${question.fields?.(idPrefix)}
    ${
      question.typeToConfirm === undefined
        ? null
        : textField({
            id: `${idPrefix}-confirm`,
            name: "confirm",
            label: `Type ${question.typeToConfirm} to confirm`,
            required: true,
            pattern: exactly(question.typeToConfirm),
            mono: true,
          })
    }
    <div class="form-actions">
      ${cancel}
      <button class=${classes("button", question.danger ? "danger" : "primary")}>${question.confirmLabel}</button>
    </div>
  </form>`

/** The link that asks: a page without script, a dialog with it. */
export const askLink = (
  question: Question,
  href: string,
  look: { label: string; icon?: IconName; className?: string },
): Markup =>
  html`<a class=${classes("button", look.className)} href=${href} data-dialog=${question.id}>${look.icon ? icon(look.icon) : null}${look.label}</a>`

/** The dialog; put it anywhere on the page that has the link. */
export const askDialog = (question: Question): Markup =>
  html`<dialog id=${question.id} aria-labelledby=${`${question.id}-title`}>
    <header class="dialog-head"><h2 id=${`${question.id}-title`}>${question.title}</h2>
      <button type="button" class="button quiet square" data-close aria-label="Close">${icon("close")}</button></header>
    ${questionForm(question, question.id, html`<button type="button" class="button" data-close autofocus>Cancel</button>`)}
  </dialog>`

/** The body of the page that asks. */
export const askPanel = (question: Question, back: string): Markup =>
  html`<div class="panel narrow"><div class="panel-body">${questionForm(question, question.id, html`<a class="button" href=${back}>Cancel</a>`)}</div></div>`
