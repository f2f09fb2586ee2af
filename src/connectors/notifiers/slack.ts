/** Slack, by an incoming webhook. The webhook decides the channel unless it belongs to a legacy integration. */
import * as v from "valibot"
import { field, secret } from "../config"
import { defineNotifier, shortened } from "./contract"
import { askReachable, postJson, secretsOfUrl } from "./delivery.request"

/** What Slack takes; longer texts are cut there without a sign. */
const longestText = 40_000

/** Slack reads `<…>` as links and mentions (`<!channel>`), so that text from elsewhere must be escaped. */
const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

export const slack = defineNotifier({
  type: "Slack",
  label: "Slack",
  config: v.object({
    webhook_url: v.pipe(secret("Webhook URL", "Incoming webhook; whoever has it can post"), v.url("must be a URL")),
    channel: field(v.optional(v.string()), "Channel", "Overrides the webhook's channel where Slack still allows it"),
    username: field(v.optional(v.string(), "certctl"), "User name", "Shown as the sender"),
    icon_emoji: field(v.optional(v.string()), "Icon", "Emoji shown as the sender's picture, for example :lock:"),
  }),
  example: { webhook_url: "https://hooks.slack.com/services/T000/B000/XXXX", channel: "#certificates" },
  timeoutMs: 10_000,
  connect({ webhook_url: url, channel, username, icon_emoji }, { fetch, clock, timeoutMs }) {
    const secrets = secretsOfUrl(url)
    return {
      send: ({ subject, body }) =>
        postJson(fetch, {
          url,
          body: {
            text: shortened(`*${escaped(subject)}*\n${escaped(body)}`, longestText),
            ...(channel ? { channel } : {}),
            ...(username ? { username } : {}),
            ...(icon_emoji ? { icon_emoji } : {}),
          },
          accepted: [200],
          timeoutMs,
          secrets,
          now: clock.now(),
        }),
      testConnection: () => askReachable(fetch, { url, timeoutMs, secrets }),
    }
  },
})
