/** Routes under /api/v1/digest. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, operation } from "../server/operation"
import type { DigestService } from "./digest.service"

const SentAnswer = v.object({
  status: v.literal("sent"),
  sent: v.pipe(v.number(), v.description("Recipients whose mail was taken")),
  failed: v.pipe(v.number(), v.description("Recipients whose mail was not; the log says why")),
})

/** A mail is made of inline styles, which pages of ours never have: they are all that it may use. Its links lead back to the console. */
const mailPolicy = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "sandbox allow-same-origin",
].join("; ")

export const digestRoutes = (digest: DigestService) =>
  new Hono<ApiEnv>()
    .get(
      "/preview",
      operation({
        id: "preview_digest",
        summary: "Show the digest as it would be sent now",
        role: "viewer",
        errors: { 503: "The digest is off, or there is no e-mail" },
        produces: "text/html",
      }),
      async (c) => c.html(await digest.preview(), 200, { "content-security-policy": mailPolicy }),
    )
    .post(
      "/send",
      operation({
        id: "send_digest",
        summary: "Send the digest now",
        role: "operator",
        errors: { 500: "It reached nobody", 503: "The digest is off, or there is no e-mail or no recipient" },
        returns: SentAnswer,
      }),
      async (c) => c.json({ status: "sent" as const, ...(await digest.send()) }),
    )
