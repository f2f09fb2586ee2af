/** Proof by a TXT record (RFC 8555 section 8.4), asked of one configured resolver: split zones give different answers elsewhere. */
import { Resolver } from "node:dns/promises"
import { digestOf, ValidationError, type Validator } from "./validation"

const tryMs = 5_000
const tries = 2
/** What a resolver says when there is no such record. */
const absent = new Set(["ENOTFOUND", "ENODATA"])

/** `resolver`: `address:port`. */
export const dns01 =
  ({ resolver }: { readonly resolver: string }): Validator =>
  async ({ name, keyAuthorization, signal }) => {
    const dns = new Resolver({ timeout: tryMs, tries })
    dns.setServers([resolver])
    const cancel = () => dns.cancel()
    signal.addEventListener("abort", cancel, { once: true })
    const asked = `_acme-challenge.${name}`
    try {
      const records = await dns.resolveTxt(asked)
      const wanted = digestOf(keyAuthorization).toString("base64url")
      if (records.some((chunks) => chunks.join("") === wanted)) return
      throw new ValidationError("incorrectResponse", `no TXT record of ${asked} is the one that was asked for`)
    } catch (cause) {
      if (cause instanceof ValidationError) throw cause
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : "error"
      throw new ValidationError(
        "dns",
        absent.has(code) ? `${asked} has no TXT record` : `${asked} could not be asked for (${code})`,
        {
          cause,
        },
      )
    } finally {
      signal.removeEventListener("abort", cancel)
    }
  }
