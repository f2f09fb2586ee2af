/** Proof by a file on the name's web server (RFC 8555 section 8.3). */
import type { OutboundRules, ResolveHost } from "../connectors/outbound-address"
import { pinnedRequest } from "../connectors/pinned-request"
import { ValidationError, type Validator } from "./validation"

interface Options {
  /** 80; another one in tests. */
  readonly port?: number
  readonly rules?: OutboundRules
  readonly resolve?: ResolveHost
}

const mostBytes = 16 * 1024
const mostRedirects = 10

export const http01 =
  ({ port = 80, rules, resolve }: Options = {}): Validator =>
  async ({ name, token, keyAuthorization, signal }) => {
    const { status, body } = await pinnedRequest({
      url: `http://${name}${port === 80 ? "" : `:${port}`}/.well-known/acme-challenge/${token}`,
      method: "GET",
      headers: { "user-agent": "certctl ACME validation" },
      signal,
      mostRedirects,
      mostBytes,
      // Behind a redirect to HTTPS stands the very certificate that is to be replaced.
      anyCertificate: true,
      ...(rules === undefined ? {} : { rules }),
      ...(resolve === undefined ? {} : { resolve }),
    })
    if (status !== 200) throw new ValidationError("incorrectResponse", `the web server answered with status ${status}`)
    // Editors and shells end files with a line break.
    if (body.toString("utf8").trimEnd() !== keyAuthorization) {
      throw new ValidationError("incorrectResponse", "the web server's answer is not the key authorization")
    }
  }
