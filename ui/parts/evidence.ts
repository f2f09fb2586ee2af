/**
 * The truth about one certificate at one place: what was seen, by whom, how long ago. Green is only ever a fresh
 * observation; an old one turns grey, a contradiction is red, and what nobody has looked at says so.
 */

import { type Tone, toneMark } from "./badge"
import { html, type Markup } from "./markup"
import { absoluteText, relativeText } from "./time"

type EvidenceKind = "delivered" | "served" | "trusted"

/**
 * `confirmed` fresh and right, `stale` right but old, `outdated` an earlier version of the same certificate, `mismatch` contradicts
 * what was deployed, `missing` nothing was seen.
 */
export type EvidenceState = "confirmed" | "stale" | "outdated" | "mismatch" | "missing"

export interface Evidence {
  readonly state: EvidenceState
  readonly observedAt: Date | null
  /** Who looked: an agent's name, "health monitor", "network scan". */
  readonly observer: string
  /** What was seen when it is not what was expected. */
  readonly detail: string
}

const kindWords: Readonly<Record<EvidenceKind, { word: string; meaning: string }>> = {
  delivered: { word: "Delivered", meaning: "The agent read the installed files back and they hold this version." },
  served: { word: "Served", meaning: "This version was seen on the wire." },
  trusted: { word: "Trusted", meaning: "Chain, name and revocation were checked and hold." },
}

const stateTone: Readonly<Record<EvidenceState, Tone>> = {
  confirmed: "good",
  stale: "neutral",
  outdated: "attention",
  mismatch: "bad",
  missing: "neutral",
}

const stateWords = (evidence: Evidence, now: Date): Markup => {
  if (evidence.observedAt === null) return html`<span class="seal-age">not seen yet</span>`
  const age = html`<time datetime=${evidence.observedAt.toISOString()} title=${absoluteText(evidence.observedAt)} data-relative>${relativeText(evidence.observedAt, now)}</time>`
  const lead = {
    confirmed: "seen ",
    stale: "last seen ",
    outdated: "earlier version, ",
    mismatch: "differs, ",
    missing: "",
  }[evidence.state]
  return html`<span class="seal-age">${lead}${age}</span>`
}

/** One seal: mark, word and age. */
export const seal = (kind: EvidenceKind, evidence: Evidence, now: Date): Markup => {
  const { word, meaning } = kindWords[kind]
  const title = [meaning, evidence.detail, evidence.observer === "" ? "" : `Observed by ${evidence.observer}.`]
    .filter(Boolean)
    .join(" ")
  return html`<span class=${`seal seal-${evidence.state}`} title=${title}>
    ${toneMark(stateTone[evidence.state])}<span class="seal-words"><b>${word}</b>${stateWords(evidence, now)}</span>
  </span>`
}

/** "2 / 2 verified" for list rows: how many targets have fresh proof of serving this certificate. */
export const evidenceSummary = (verified: number, mismatched: number, targets: number): Markup => {
  if (targets === 0) return html`<span class="muted">no targets</span>`
  if (mismatched > 0)
    return html`<span class="proof proof-bad">${toneMark("bad")}${mismatched} of ${targets} differ</span>`
  if (verified === targets)
    return html`<span class="proof proof-good">${toneMark("good")}${verified} of ${targets} verified</span>`
  return html`<span class="proof">${toneMark("neutral")}${verified} of ${targets} verified</span>`
}
