/** Jobs in words: where a job leads, what its failure probably means, what may be done with it. */

import type { JobRow } from "../pages/views"
import { html, type Markup } from "./markup"

const openStates = new Set(["Pending", "AwaitingCSR", "AwaitingApproval", "Running"])

export const isOpenJob = (status: string): boolean => openStates.has(status)

/** "Deployment of api.example.com to edge-1" with links. */
export const jobSubject = (job: JobRow): Markup =>
  job.certificate === null
    ? html`<span class="muted">no certificate</span>`
    : html`<a href=${`/certificates/${job.certificate.id}`}>${job.certificate.commonName}</a>${job.target === null ? null : html`<span class="sub">to ${job.target.name}</span>`}`

const hints: readonly (readonly [sign: RegExp, advice: string])[] = [
  [
    /ECONNREFUSED|connection refused/i,
    "Nothing listens at that address. Check that the service runs and that the port is right.",
  ],
  [
    /ENOTFOUND|EAI_AGAIN|getaddrinfo|no such host/i,
    "The name does not resolve from where the job ran. Check DNS and the spelling of the host.",
  ],
  [
    /timed? ?out|ETIMEDOUT/i,
    "No answer in time. A firewall between the two is the usual reason; then load on the other side.",
  ],
  [
    /permission denied|EACCES|EPERM/i,
    "The agent's user may not read or write there. Check owner and mode of the path in the target's configuration.",
  ],
  [/no such file|ENOENT/i, "A path in the target's configuration does not exist on that host."],
  [
    /rate.?limit|too many (requests|certificates)|\b429\b/i,
    "The CA limits how often it issues. certctl tries again by itself when the CA allows it.",
  ],
  [
    /unauthori[sz]ed|forbidden|\b40[13]\b/i,
    "The other side refused the credentials. Check the issuer's or target's configuration.",
  ],
  [
    /validate|nginx -t|configtest|syntax/i,
    "The service refused its configuration; the previous files are back in place. Run its own check on the host.",
  ],
  [
    /fingerprint|mismatch/i,
    "Another certificate is served than the one deployed. Check that the service was reloaded and that no other host answers at this address.",
  ],
  [/csr_timeout|no CSR/i, "The agent did not send a signing request in time. Check that it is online."],
]

/** The likely cause and next step of a failure; null when the message says nothing known. */
export const failureHint = (message: string): string | null => hints.find(([sign]) => sign.test(message))?.[1] ?? null
