import { afterEach, expect, test } from "bun:test"
import { resetSync } from "@logtape/logtape"
import { configureLogging, logger, withLogContext } from "./logging"

const captured = (format: "json" | "text", level: "debug" | "info" = "info") => {
  const lines: string[] = []
  configureLogging({ level, format, write: (line) => void lines.push(line) })
  return lines
}

afterEach(resetSync)

test("writes one JSON object per line, with the properties beside the message", () => {
  const lines = captured("json")
  logger("scheduler", "renewal").info("renewed {count} certificates", { count: 3 })
  logger("scheduler").debug("not shown at this level")
  expect(lines).toHaveLength(1)
  expect(lines[0]).toEndWith("\n")
  expect(JSON.parse(lines[0] ?? "")).toEqual({
    time: expect.stringMatching(/Z$/),
    level: "info",
    logger: "scheduler.renewal",
    message: "renewed 3 certificates",
    count: 3,
  })
})

test("every line of a request carries its id, also after awaiting", async () => {
  const lines = captured("json")
  await Promise.all(
    ["a", "b"].map((request_id) =>
      withLogContext({ request_id }, async () => {
        await Promise.resolve()
        await new Promise((resolve) => setImmediate(resolve))
        logger("test").info("work of {who}", { who: request_id })
      }),
    ),
  )
  logger("test").info("outside")
  const parsed = lines.map((line) => JSON.parse(line))
  expect(parsed.map(({ request_id, who }) => [request_id, who])).toEqual([
    ["a", "a"],
    ["b", "b"],
    [undefined, undefined],
  ])
})

test("keeps message, stack, code and cause of errors", () => {
  const lines = captured("json")
  const cause = Object.assign(new Error("refused"), { code: "ECONNREFUSED" })
  logger("test").error("failed", { error: new Error("no connection", { cause }) })
  const { error } = JSON.parse(lines[0] ?? "")
  expect(error.message).toBe("no connection")
  expect(error.stack).toContain("logging.test.ts")
  expect(error.cause).toMatchObject({ message: "refused", code: "ECONNREFUSED" })
})

for (const format of ["json", "text"] as const) {
  test(`masks secrets (${format})`, () => {
    const lines = captured(format)
    logger("test").info("connecting to {url}", {
      url: "postgres://certctl:hunter2@db.example/certctl",
      password: "hunter2",
      nested: { client_secret: "hunter2", apiKey: "hunter2" },
      authorization: "Bearer hunter2",
    })
    expect(lines.join("")).not.toContain("hunter2")
    expect(lines.join("")).toContain("db.example")
  })

  test(`survives properties that have no JSON (${format})`, () => {
    const lines = captured(format)
    const loop: Record<string, unknown> = { big: 1n }
    loop.self = loop
    logger("test").info("odd", { loop, big: 2n })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain("odd")
    expect(lines[0]?.trimEnd()).not.toContain("\n")
  })
}
