/** A webhook of the operator's own, signed where there is a secret. Its address is checked like any that users choose. */
import { createHmac } from "node:crypto"
import * as v from "valibot"
import { field, optionalSecret } from "../config"
import { outboundUrl } from "../outbound-address"
import { type PinnedAnswer, pinnedRequest } from "../pinned-request"
import { defineNotifier, type Notice } from "./contract"
import { connectionError, refusal, retryAfterSeconds, secretsOfUrl } from "./delivery.request"

const isOutbound = (text: string): boolean => {
  try {
    outboundUrl(text)
    return true
  } catch {
    // Which rule it broke is in the message of the check.
    return false
  }
}

/** Alerts carry the keys of events too, so that a receiver needs to know only one shape. */
const payloadOf = ({ id, kind, type, severity, subject, body, recipient, certificateId, createdAt }: Notice) => ({
  type: kind,
  event_id: id,
  event_type: type,
  ...(certificateId === null ? {} : { certificate_id: certificateId }),
  subject,
  body,
  recipient,
  created_at: createdAt.toISOString(),
  ...(kind === "alert" ? { alert_id: id, severity, message: body } : {}),
  metadata: { severity },
})

const headerOf = (answer: PinnedAnswer, name: string): string | undefined => {
  const value = answer.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export const webhook = defineNotifier({
  type: "Webhook",
  label: "Webhook",
  config: v.object({
    url: v.pipe(
      v.string(),
      v.check(isOutbound, "must be an http or https URL without user name and password"),
      v.title("URL"),
      v.description("Receives a JSON document per notification; loopback and link-local addresses are refused"),
      // Many receivers take the path for the key.
      v.metadata({ secret: true }),
    ),
    secret: optionalSecret("Secret", "Key of the HMAC-SHA256 in the X-Signature header"),
    allow_loopback: field(v.optional(v.boolean(), false), "Allow loopback", "For tests only"),
  }),
  example: { url: "https://hooks.example.com/certctl", secret: "env:HOOK_SECRET" },
  timeoutMs: 30_000,
  connect({ url, secret, allow_loopback }, { clock, resolve, ca, timeoutMs }) {
    const secrets = [...secretsOfUrl(url), ...(secret ? [secret] : [])]
    const ask = async (method: "POST" | "HEAD", headers: Record<string, string>, body?: string) => {
      const request = { url, method, headers, rules: { allowLoopback: allow_loopback } }
      const optional = {
        ...(body === undefined ? {} : { body }),
        ...(resolve === undefined ? {} : { resolve }),
        ...(ca === undefined ? {} : { ca }),
      }
      return pinnedRequest({ ...request, ...optional, signal: AbortSignal.timeout(timeoutMs) }).catch((error) => {
        throw connectionError(error, timeoutMs, secrets)
      })
    }
    return {
      async send(notice) {
        const body = JSON.stringify(payloadOf(notice))
        const signature = secret ? createHmac("sha256", secret).update(body).digest("hex") : null
        const answer = await ask(
          "POST",
          {
            "content-type": "application/json",
            "user-agent": "certctl-notifier/1.0",
            ...(signature === null ? {} : { "x-signature": `sha256=${signature}`, "x-signature-algorithm": "sha256" }),
          },
          body,
        )
        if (answer.status >= 200 && answer.status < 300) return
        const retryAfter = retryAfterSeconds(headerOf(answer, "retry-after"), clock.now())
        throw refusal(answer.status, answer.body.toString("utf8"), secrets, retryAfter)
      },
      async testConnection() {
        await ask("HEAD", { "user-agent": "certctl-notifier/1.0" })
      },
    }
  },
})
