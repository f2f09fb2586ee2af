/** What issuers and targets have in common: how their connection stands, and their configuration as it may be shown. */
import { type Tone, toneBadge, toneMark } from "../parts/badge"
import { html, type Markup } from "../parts/markup"
import { facts } from "../parts/panel"
import { timeAgo } from "../parts/time"

export interface TestState {
  readonly status: "untested" | "success" | "failed"
  readonly at: Date | null
}

const words: Readonly<Record<TestState["status"], readonly [tone: Tone, word: string]>> = {
  untested: ["neutral", "Not tested"],
  success: ["good", "Works"],
  failed: ["bad", "Failed"],
}

export const testCell = ({ status, at }: TestState, now: Date): Markup => {
  const [tone, word] = words[status]
  return html`<span class="stacked">${toneBadge({ tone, word })}${at === null ? null : html`<span class="sub">${timeAgo(at, now)}</span>`}</span>`
}

/** Why the test that was just asked for failed. */
export const testProblem = (problem: string | null): Markup =>
  problem === null
    ? null
    : html`<div class="notice tone-bad" role="alert">${toneMark("bad")}<p class="message-words">The test failed: ${problem}</p></div>`

export const configFacts = (config: readonly (readonly [label: string, value: string])[]): Markup =>
  config.length === 0
    ? html`<p class="panel-note">Nothing is set: everything is at its default.</p>`
    : facts(config.map(([label, value]) => [label, html`<code class="message-words">${value}</code>`]))
