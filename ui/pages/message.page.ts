/** Pages that only say something: not found, not allowed, failed. The frame stays, so the way on is at hand. */
import { bareLayout, type Frame, layout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"

export interface MessageProps {
  readonly kind: "not-found" | "forbidden" | "failed" | "refused"
  /** A sentence fit for the reader; nothing internal. */
  readonly text?: string
  readonly requestId?: string
}

const messages = {
  "not-found": {
    title: "Page not found",
    text: "Nothing is at this address. It may have been removed, or the link is incomplete.",
  },
  forbidden: { title: "Not allowed", text: "Administrator access is required for this." },
  failed: {
    title: "Something went wrong",
    text: "The server could not make this page. Trying again may help; if not, its log knows more.",
  },
  refused: { title: "Not possible", text: "The request was refused." },
} as const

const body = ({ kind, text, requestId }: MessageProps): Markup => html`<div class="message">
  <p>${text ?? messages[kind].text}</p>
  ${requestId === undefined ? null : html`<p class="hint">Request id <code>${requestId}</code></p>`}
  <p><a class="button primary" href="/">To the dashboard</a></p>
</div>`

export const messagePage = (frame: Frame, message: MessageProps): Markup =>
  layout(frame, { title: messages[message.kind].title }, body(message))

/** The same before anybody is signed in. */
export const bareMessagePage = (frame: Pick<Frame, "assets" | "theme">, message: MessageProps): Markup =>
  bareLayout(frame, messages[message.kind].title, html`<h1>${messages[message.kind].title}</h1>${body(message)}`)
