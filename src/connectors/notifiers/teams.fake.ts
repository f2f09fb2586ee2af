/** Microsoft Teams' incoming webhooks: the path is the key, the body a MessageCard. */
import { runByHand, startVendor, type VendorFake } from "./vendor.fake"

export const teamsPath = "/webhookb2/0000/IncomingWebhook/a-secret-token/0000"

export const startTeams = (): Promise<VendorFake> =>
  startVendor({
    path: (path) => path.startsWith("/webhookb2/"),
    judge({ path, json, text }) {
      if (path !== teamsPath) return new Response("Invalid webhook URL", { status: 404 })
      if (text.length > 28_672) {
        return new Response("Microsoft Teams endpoint returned HTTP error 413", { status: 413 })
      }
      const sections = json?.sections
      const isCard =
        json?.["@type"] === "MessageCard" &&
        json["@context"] === "https://schema.org/extensions" &&
        /^[0-9A-F]{6}$/i.test(json.themeColor) &&
        Array.isArray(sections) &&
        sections.every((section) => typeof section.activityTitle === "string" && typeof section.text === "string")
      if (!isCard) return new Response("Bad payload received by generic incoming webhook.", { status: 400 })
      return json.summary ? null : new Response("Summary or Text is required.", { status: 400 })
    },
    success: () => new Response("1"),
  })

if (import.meta.main) await runByHand(startTeams)
