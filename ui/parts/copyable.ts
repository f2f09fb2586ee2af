/** Exact text with a copy button beside it: names, ids, serials, fingerprints, commands. */
import { CopyButton } from "../islands/copy-button.island"
import { island } from "./island"
import { html, type Markup } from "./markup"

/** @param shown the same text with the places where it may break */
export const copyable = (text: string, what: string, shown: Markup = text): Markup =>
  html`<span class="copyable"><code>${shown}</code>${island("copy-button", CopyButton, { text, what })}</span>`

/** A command to be run elsewhere, whole and selectable. */
export const commandBox = (command: string, what: string): Markup =>
  html`<div class="command"><pre tabindex="0" role="region" aria-label=${what}>${command}</pre>${island("copy-button", CopyButton, { text: command, what, label: "Copy" })}</div>`
