/**
 * Messages after a redirect. A handler redirects to `?notice=<key>`; only these sentences can appear, so a link
 * cannot put words into the console's mouth. `job` names the job the sentence links to and is checked for its form.
 */

import { toneMark } from "./badge"
import { html, type Markup } from "./markup"

const notices = {
  "certificate-created": { tone: "good", text: "Certificate created." },
  "certificate-issuing": { tone: "good", text: "Certificate created; its first issuance has started." },
  "certificate-archived": { tone: "good", text: "Certificate archived. It is no longer renewed or deployed." },
  "certificate-revoked": { tone: "good", text: "Certificate revoked. Its issuer is told in the background." },
  "certificates-revoked": { tone: "good", text: "Revoked. What was revoked or archived before was left alone." },
  "certificates-reassigned": { tone: "good", text: "Reassigned." },
  "not-all-done": {
    tone: "attention",
    text: "Not all of them could be changed: look at those that are as they were. Where nothing was issued, nothing can be revoked.",
  },
  "renewal-started": { tone: "good", text: "Renewal started." },
  "renewals-started": { tone: "good", text: "Renewals started. Those already running were left alone." },
  "renewal-running": { tone: "attention", text: "A renewal of this certificate is already running." },
  "nothing-selected": { tone: "attention", text: "Nothing was selected." },
  "deployment-started": { tone: "good", text: "Deployment started." },
  "job-cancelled": { tone: "good", text: "Job cancelled." },
  "job-approved": { tone: "good", text: "Job approved; it runs now." },
  "job-rejected": { tone: "good", text: "Job rejected." },
  "request-approved": { tone: "good", text: "Approved. Its job goes on now." },
  "request-rejected": { tone: "good", text: "Rejected. Its job was cancelled." },
  "agent-retired": { tone: "good", text: "Agent retired." },
  "notification-read": { tone: "good", text: "Marked as read." },
  "notification-requeued": { tone: "good", text: "It is sent again now." },
  "notifications-requeued": { tone: "good", text: "They are sent again now." },
  "connection-good": { tone: "good", text: "The test went well." },
  "root-rolled-over": { tone: "good", text: "A new root signs from now on." },
  "root-retired": { tone: "good", text: "The former root is retired." },
  created: { tone: "good", text: "Created." },
  saved: { tone: "good", text: "Changes saved." },
  deleted: { tone: "good", text: "Deleted." },
  enabled: { tone: "good", text: "Enabled." },
  disabled: { tone: "good", text: "Disabled." },
  "theme-saved": { tone: "good", text: "Theme saved." },
  "not-possible": {
    tone: "bad",
    text: "That is not possible in the present state. The page shows where things stand now.",
  },
  "not-allowed": { tone: "bad", text: "Your role does not allow that." },
  "own-request": { tone: "bad", text: "You asked for this; another person must decide." },
} as const satisfies Record<string, { tone: "good" | "attention" | "bad"; text: string }>

export type NoticeKey = keyof typeof notices

export interface Notice {
  readonly key: NoticeKey
  readonly jobId?: string
}

/** Reads the notice out of a page's query; null when there is none or it is unknown. */
export const noticeOf = (query: URLSearchParams): Notice | null => {
  const key = query.get("notice")
  if (key === null || !Object.hasOwn(notices, key)) return null
  const job = query.get("job")
  return { key: key as NoticeKey, ...(job !== null && /^[a-z]+-[\w-]{1,64}$/.test(job) ? { jobId: job } : {}) }
}

/** A path with a notice to show after the redirect. */
export const withNotice = (path: string, { key, jobId }: Notice): string => {
  const query = new URLSearchParams({ notice: key, ...(jobId === undefined ? {} : { job: jobId }) })
  return `${path}${path.includes("?") ? "&" : "?"}${query}`
}

export const noticeBar = (notice: Notice | null): Markup => {
  if (notice === null) return null
  const { tone, text } = notices[notice.key]
  return html`<div class=${`notice tone-${tone}`} role=${tone === "bad" ? "alert" : "status"}>
    ${toneMark(tone)}<p>${text}${notice.jobId === undefined ? null : html` <a href=${`/jobs/${notice.jobId}`}>See the job</a>`}</p>
  </div>`
}
