/** Status badges: word, colour and shape together, so that no state is told by colour alone. */
import { html, type Markup } from "./markup"

export type Tone = "good" | "attention" | "progress" | "bad" | "revoked" | "mismatch" | "neutral"

interface StatusWords {
  readonly tone: Tone
  readonly word: string
  /** What the state means and what happens next; shown as a tooltip. */
  readonly meaning: string
}

const statuses: Readonly<Record<string, StatusWords>> = {
  Active: { tone: "good", word: "Active", meaning: "Issued and valid." },
  Completed: { tone: "good", word: "Completed", meaning: "Every step succeeded." },
  Online: { tone: "good", word: "Online", meaning: "The agent reported within the last five minutes." },
  Enabled: { tone: "good", word: "Enabled", meaning: "In use." },
  success: { tone: "good", word: "Verified", meaning: "What is served equals what was deployed." },
  Expiring: { tone: "attention", word: "Expiring", meaning: "Still valid, but inside the alert window." },
  Pending: { tone: "attention", word: "Pending", meaning: "Waiting for its turn." },
  AwaitingCSR: {
    tone: "attention",
    word: "Awaiting CSR",
    meaning: "Waiting for the agent to make a key and send its signing request.",
  },
  AwaitingApproval: { tone: "attention", word: "Awaiting approval", meaning: "A person must approve before it runs." },
  Degraded: { tone: "attention", word: "Degraded", meaning: "Works, with trouble." },
  Stale: { tone: "attention", word: "Stale", meaning: "No report for more than five minutes." },
  RenewalInProgress: {
    tone: "progress",
    word: "Renewing",
    meaning: "A renewal is running; the old certificate stays in use until it is proven.",
  },
  Running: { tone: "progress", word: "Running", meaning: "Being worked on now." },
  Expired: { tone: "bad", word: "Expired", meaning: "No longer valid. It can still be renewed." },
  Failed: { tone: "bad", word: "Failed", meaning: "The last attempt failed; the reason is on the job." },
  failed: { tone: "bad", word: "Not verified", meaning: "What is served differs from what was deployed." },
  Offline: { tone: "bad", word: "Offline", meaning: "No report for more than fifteen minutes." },
  Revoked: { tone: "revoked", word: "Revoked", meaning: "Withdrawn; listed in the revocation list." },
  cert_mismatch: {
    tone: "mismatch",
    word: "Mismatch",
    meaning: "Another certificate is served than the one expected.",
  },
  Archived: { tone: "neutral", word: "Archived", meaning: "No longer managed; kept for the record." },
  Cancelled: { tone: "neutral", word: "Cancelled", meaning: "Stopped before it finished." },
  Retired: { tone: "neutral", word: "Retired", meaning: "The agent was taken out of service." },
  Disabled: { tone: "neutral", word: "Disabled", meaning: "Not in use." },
  "approval-pending": { tone: "attention", word: "Waiting", meaning: "Another person must decide." },
  "approval-approved": { tone: "good", word: "Approved", meaning: "Its job went on." },
  "approval-rejected": { tone: "bad", word: "Rejected", meaning: "Its job was cancelled." },
  "approval-expired": { tone: "neutral", word: "Expired", meaning: "Its job ended before anybody decided." },
  "notification-pending": { tone: "attention", word: "Waiting", meaning: "Written, and about to be delivered." },
  "notification-failed": { tone: "attention", word: "Retrying", meaning: "Not delivered yet; it is tried again." },
  "root-active": { tone: "good", word: "Signs", meaning: "New certificates are signed by it." },
  "root-former": {
    tone: "neutral",
    word: "Former",
    meaning: "Clients that trust only it accept new certificates by the chain sent along.",
  },
  "root-retired": { tone: "neutral", word: "Retired", meaning: "Tells only of revocations of what it signed." },
  sent: { tone: "good", word: "Sent", meaning: "The channel took it." },
  dead: { tone: "bad", word: "Dead letter", meaning: "Every retry failed: nobody was told." },
  read: { tone: "neutral", word: "Read", meaning: "Somebody saw it; it is not sent again." },
  pending: { tone: "neutral", word: "Not yet", meaning: "Nothing has been observed yet." },
  skipped: { tone: "neutral", word: "Not checked", meaning: "The target names no endpoint that could be checked." },
}

const shapes: Readonly<Record<Tone, Markup>> = {
  good: html`<path d="M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z" /><path class="cut" d="M5 8.2 7.2 10.4 11 6" />`,
  attention: html`<path d="M8 1.2 15.4 14.4H.6z" /><path class="cut" d="M8 6v4M8 12.2h.01" />`,
  progress: html`<path class="line" d="M14 8a6 6 0 1 1-6-6" />`,
  bad: html`<path d="M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2L1.5 10.8V5.2z" /><path class="cut" d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" />`,
  revoked: html`<path class="line" d="M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM3.8 3.8l8.4 8.4" />`,
  mismatch: html`<path d="M8 .8 15.2 8 8 15.2.8 8z" /><path class="cut" d="M5.3 6.7h5.4M5.3 9.5h5.4M9.6 4.6 6.4 11.4" />`,
  neutral: html`<path class="line" d="M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM5.2 8h5.6" />`,
}

/** The small drawing alone; the word must stand beside it. */
export const toneMark = (tone: Tone): Markup =>
  html`<svg class="mark" viewBox="0 0 16 16" width="12" height="12" aria-hidden="true" focusable="false">${shapes[tone]}</svg>`

/** A badge with words of its own. */
export const toneBadge = ({ tone, word, title }: { tone: Tone; word: string; title?: string }): Markup =>
  html`<span class=${`badge tone-${tone}`} title=${title}>${toneMark(tone)}${word}</span>`

/** The badge of a status the API knows. An unknown one (a newer server) is shown as it is, in grey. */
export const badge = ({ status }: { status: string }): Markup => {
  const words = statuses[status]
  return toneBadge({ tone: words?.tone ?? "neutral", word: words?.word ?? status, title: words?.meaning })
}
