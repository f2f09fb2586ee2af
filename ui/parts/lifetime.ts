/** How much of a certificate's lifetime is used, and where on it the renewal lies. */

import { type Tone, toneBadge } from "./badge"
import { html, type Markup } from "./markup"
import { absoluteText, dateText, daysUntil, relativeText } from "./time"

/** Red when a week or less is left, amber within thirty days; a certificate that renews itself in time stays calm. */
const expiryTone = (expiresAt: Date, now: Date): Tone => {
  const days = daysUntil(expiresAt, now)
  return days < 7 ? "bad" : days < 30 ? "attention" : "good"
}

/** "in 23 days" as a badge when it is near, as plain text when it is not, with the date below. Beside a word that says which. */
export const expiryCell = (expiresAt: Date | null, now: Date): Markup => {
  if (expiresAt === null) return html`<span class="muted">not issued yet</span>`
  const tone = expiryTone(expiresAt, now)
  const words = relativeText(expiresAt, now)
  return html`<span class="stacked">${
    tone === "good" ? html`<span>${words}</span>` : toneBadge({ tone, word: words })
  }<time class="sub" datetime=${expiresAt.toISOString()} title=${absoluteText(expiresAt)}>${dateText(expiresAt)}</time></span>`
}

interface Lifetime {
  readonly notBefore: Date
  readonly notAfter: Date
  readonly renewAt: Date | null
}

/** A bar from issuance to expiry: used part, renewal mark, the words at both ends. */
export const lifetimeBar = ({ notBefore, notAfter, renewAt }: Lifetime, now: Date): Markup => {
  const whole = Math.max(notAfter.getTime() - notBefore.getTime(), 1)
  const place = (at: Date) => Math.min(Math.max((at.getTime() - notBefore.getTime()) / whole, 0), 1) * 200
  const used = place(now)
  const tone = expiryTone(notAfter, now)
  const percent = Math.round((used / 200) * 100)
  return html`<div class="lifetime">
    <svg viewBox="0 0 200 8" preserveAspectRatio="none" role="img" aria-label=${`${percent} % of the lifetime used`}>
      <rect class="lifetime-rest" width="200" height="8" />
      ${renewAt === null ? null : html`<rect class="lifetime-window" x=${place(renewAt).toFixed(1)} width=${(200 - place(renewAt)).toFixed(1)} height="8" />`}
      <rect class=${`lifetime-used tone-fill-${tone}`} width=${used.toFixed(1)} height="8" />
    </svg>
    <div class="lifetime-words"><span>Issued ${dateText(notBefore, now)}</span>${
      renewAt === null ? null : html`<span>Renewal ${dateText(renewAt, now)}</span>`
    }<span>Expires ${dateText(notAfter, now)}</span></div>
  </div>`
}
