/** Slack's incoming webhooks: the path is the key, errors are bare words. */
import { runByHand, startVendor, type VendorFake } from "./vendor.fake"

export const slackPath = "/services/T0FAKE/B0FAKE/a-secret-token"

export const startSlack = (): Promise<VendorFake> =>
  startVendor({
    path: (path) => path.startsWith("/services/"),
    judge({ path, json }) {
      if (path !== slackPath) return new Response("no_service", { status: 404 })
      if (json === null || typeof json !== "object") return new Response("invalid_payload", { status: 400 })
      if (typeof json.text !== "string" || json.text === "") return new Response("no_text", { status: 400 })
      if (json.text.length > 40_000) return new Response("msg_too_long", { status: 400 })
      const known = ["text", "channel", "username", "icon_emoji"]
      const isKnown = Object.entries(json).every(([key, value]) => known.includes(key) && typeof value === "string")
      return isKnown ? null : new Response("invalid_payload", { status: 400 })
    },
    success: () => new Response("ok"),
  })

if (import.meta.main) await runByHand(startSlack)
