/** Somebody's webhook receiver that insists on a good signature. */
import { createHmac, timingSafeEqual } from "node:crypto"
import { runByHand, startVendor, type VendorFake } from "./vendor.fake"

export const webhookSecret = "shared-with-the-receiver"
export const webhookPath = "/hooks/a-secret-path"

export const startWebhook = (): Promise<VendorFake> =>
  startVendor({
    path: (path) => path === webhookPath,
    judge({ headers, text, json }) {
      const given = Buffer.from(headers.get("x-signature") ?? "")
      const wanted = Buffer.from(`sha256=${createHmac("sha256", webhookSecret).update(text).digest("hex")}`)
      const isSigned = given.length === wanted.length && timingSafeEqual(given, wanted)
      if (!isSigned || headers.get("x-signature-algorithm") !== "sha256") {
        return Response.json({ error: "bad signature" }, { status: 401 })
      }
      const isKnown = ["alert", "event"].includes(json?.type) && typeof json?.event_id === "string"
      return isKnown ? null : Response.json({ error: "unknown document" }, { status: 400 })
    },
    success: () => new Response(null, { status: 204 }),
  })

if (import.meta.main) await runByHand(startWebhook)
