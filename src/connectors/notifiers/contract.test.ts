/** What holds for every notifier connector, whichever is added next: each against its vendor's fake on a real socket. */
import { afterEach, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { systemClock } from "../../clock"
import { AppError } from "../../errors"
import { fieldsOf, parseConfig } from "../config"
import { notifierDefinitions, openNotifiers } from "./catalog"
import { type FakeChannel, startChannel, type Trouble } from "./channel.fake"
import { channels, type Notice, retryAfterOf, shortened } from "./contract"

const notice: Notice = {
  id: "notif-1",
  kind: "alert",
  type: "ExpirationWarning",
  severity: "high",
  subject: "ExpirationWarning: www.example.com",
  body: "www.example.com expires in 6 days.\nRenew it. [threshold:7]",
  recipient: "ada@example.com",
  certificateId: "mc-1",
  createdAt: new Date(Date.UTC(2030, 0, 1)),
}

let fake: FakeChannel | undefined
afterEach(async () => {
  await fake?.stop()
  fake = undefined
})

const failureFrom = async (run: () => Promise<void>): Promise<AppError> => {
  try {
    await run()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error("did not fail")
}

test("there is one connector per channel", () => {
  expect(notifierDefinitions.map(({ type }) => type)).toEqual([...channels])
})

test("only what is configured is opened, and a wrong key is named with its channel", () => {
  const deps = { fetch, clock: systemClock }
  expect([...openNotifiers({ Slack: { webhook_url: "https://hooks.slack.com/services/x" } }, deps).keys()]).toEqual([
    "Slack",
  ])
  expect(() => openNotifiers({ PagerDuty: { routing_key: "k", severity: "urgent" } }, deps)).toThrow(
    "notification channel PagerDuty: severity must be one of critical, error, warning, info",
  )
})

test("what is cut off ends in an ellipsis and holds no half character", () => {
  expect(shortened("abc", 3)).toBe("abc")
  expect(shortened("abcd", 3)).toBe("ab…")
  expect(shortened("ab😀cd", 4)).toBe("ab…")
})

describe.each(notifierDefinitions.map((definition) => [definition.type, definition] as const))(
  "%s",
  (type, definition) => {
    const open = async (config?: "strangers", timeoutMs = definition.timeoutMs) => {
      fake ??= await startChannel(type)
      return {
        fake,
        notifier: definition.open(fake[config ?? "config"], { clock: systemClock, ...fake.deps, timeoutMs }),
      }
    }

    test("takes its own example", () => {
      expect(() => parseConfig(definition.config, definition.example)).not.toThrow()
    })

    test("has words for every field", () => {
      for (const { key, title, description } of fieldsOf(definition.config)) {
        expect([key, title.length > 0, description.length > 0]).toEqual([key, true, true])
      }
    })

    test("repeats no value in the error about it", () => {
      const wrong = Object.fromEntries(fieldsOf(definition.config).map(({ key }) => [key, ["hunter2"]]))
      expect(() => definition.open(wrong, { fetch, clock: systemClock })).toThrow(/ must be /)
      expect(() => definition.open(wrong, { fetch, clock: systemClock })).not.toThrow(/hunter2/)
    })

    test("is described in docs/notifications.md", () => {
      const docs = readFileSync(join(import.meta.dir, "../../../docs/notifications.md"), "utf8")
      expect(docs).toContain(`| ${type} `)
    })

    test("delivers, an event as well as an alert", async () => {
      const { fake, notifier } = await open()
      await notifier.testConnection()
      expect(fake.delivered()).toBe(0)
      await notifier.send(notice)
      await notifier.send({ ...notice, id: "notif-2", kind: "event", type: "RenewalSuccess", severity: "info" })
      expect(fake.delivered()).toBe(2)
    })

    test("fails with credentials that the vendor does not know", async () => {
      const { fake, notifier } = await open("strangers")
      const failure = await failureFrom(() => notifier.send(notice))
      expect(failure.message).toMatch(/^(auth|validation|upstream_4xx): /)
      for (const secret of fake.secrets.strangers) expect(failure.message).not.toContain(secret)
      expect(fake.delivered()).toBe(0)
    })

    const troubles: [Trouble, RegExp][] = [
      ["refused", /^(validation|upstream_5xx): /],
      ["busy", /^(rate_limited|upstream_4xx): /],
      ["broken", /^upstream_5xx: /],
      ["reset", /^(network|upstream_4xx): /],
    ]
    test.each(troubles)(
      "says what kind of trouble it is when the vendor is %s, and recovers",
      async (trouble, words) => {
        const { fake, notifier } = await open()
        fake.fail(trouble)
        const failure = await failureFrom(() => notifier.send(notice))
        expect(failure.message).toMatch(words)
        expect(failure.message).not.toContain("\n")
        for (const secret of fake.secrets.own)
          expect(JSON.stringify([failure.message, failure.cause])).not.toContain(secret)
        // SMTP has no way to say how long.
        if (trouble === "busy") expect(retryAfterOf(failure)).toBe(type === "Email" ? null : 7)
        fake.recover()
        await notifier.send(notice)
        expect(fake.delivered()).toBe(1)
      },
    )

    test("gives up on a vendor that does not answer", async () => {
      const { fake, notifier } = await open(undefined, 150)
      fake.fail("hang")
      expect((await failureFrom(() => notifier.send(notice))).message).toMatch(/^timeout: /)
    })

    test("says that nobody is there", async () => {
      const { fake, notifier } = await open()
      await fake.stop()
      const failure = await failureFrom(() => notifier.send(notice))
      expect(failure.message).toMatch(/^network: /)
      for (const secret of fake.secrets.own) expect(failure.message).not.toContain(secret)
      await expect(notifier.testConnection()).rejects.toThrow(/^network: /)
    })
  },
)
