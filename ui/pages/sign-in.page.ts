/** The sign-in card. */

import { textField } from "../parts/form"
import type { Frame } from "../parts/layout"
import { bareLayout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"

export interface SignInProps {
  readonly frame: Pick<Frame, "assets" | "theme">
  /** The local path to go to afterwards. */
  readonly back: string
  readonly problem: "wrong-key" | "too-many" | "expired" | null
}

const problems = {
  "wrong-key": "Invalid API key",
  "too-many": "Too many failed attempts from this address. Wait ten minutes.",
  expired: null,
} as const

export const signInPage = ({ frame, back, problem }: SignInProps): Markup => {
  const error = problem === null ? null : problems[problem]
  return bareLayout(
    frame,
    "Sign in",
    html`<h1>Sign in to certctl</h1>
      ${problem === "expired" ? html`<p class="notice tone-attention" role="status">Session expired. Sign in to go on where you were.</p>` : null}
      <form method="post" action="/login" class="sign-in">
        <input type="hidden" name="back" value=${back} />
        ${textField({ id: "key", name: "key", label: "API key", type: "password", required: true, autofocus: true, autocomplete: "current-password", ...(error === null ? {} : { error }) })}
        <button class="button primary wide">Sign in</button>
      </form>
      <p class="hint">Keys are made with <code>certctl keys create</code>. The first one stands in <code>initial-admin-key</code> in the server's data directory.</p>`,
  )
}
