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

export const digestRoutes = (digest: DigestService) =>
  new Hono<ApiEnv>()
    .get(
      "/preview",
      operation({
        id: "preview_digest",
        summary: "Show the digest as it would be sent now",
        role: "viewer",
        produces: "text/html",
      }),
      async (c) => c.html(await digest.preview()),
    )
    .post(
      "/send",
      operation({ id: "send_digest", summary: "Send the digest now", role: "operator", returns: SentAnswer }),
      async (c) => c.json({ status: "sent" as const, ...(await digest.send()) }),
    )
