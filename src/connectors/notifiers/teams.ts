/** Microsoft Teams, by an incoming webhook or a workflow that takes MessageCards. */
import * as v from "valibot"
import { secret } from "../config"
import { defineNotifier, shortened } from "./contract"
import { askReachable, postJson, secretsOfUrl } from "./delivery.request"

/** Teams refuses messages above 28 kB as a whole; JSON escapes and the rest of the card take their part. */
const longestText = 20_000

/** Markdown and HTML of a card: text from elsewhere must stay text. */
const escaped = (text: string) =>
  text
    .replace(/[\\`*_[\]#|~]/g, "\\$&")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")

export const teams = defineNotifier({
  type: "Teams",
  label: "Microsoft Teams",
  config: v.object({
    webhook_url: v.pipe(
      secret("Webhook URL", "Incoming webhook or workflow; whoever has it can post"),
      v.url("must be a URL"),
    ),
  }),
  example: { webhook_url: "https://example.webhook.office.com/webhookb2/0000/IncomingWebhook/0000/0000" },
  timeoutMs: 10_000,
  connect({ webhook_url: url }, { fetch, clock, timeoutMs }) {
    const secrets = secretsOfUrl(url)
    return {
      send: ({ subject, body }) =>
        postJson(fetch, {
          url,
          body: {
            "@type": "MessageCard",
            "@context": "https://schema.org/extensions",
            themeColor: "0076D7",
            summary: subject,
            sections: [
              {
                activityTitle: escaped(subject),
                // A single line break is none in Markdown.
                text: shortened(escaped(body).replaceAll("\n", "  \n"), longestText),
                markdown: true,
              },
            ],
          },
          // Workflows answer 202.
          accepted: [200, 202],
          timeoutMs,
          secrets,
          now: clock.now(),
        }),
      testConnection: () => askReachable(fetch, { url, timeoutMs, secrets }),
    }
  },
})
