import { afterEach, beforeEach, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError, type ErrorCode } from "../src/errors"
import { logger } from "../src/logging"
import { until } from "../src/testing/until"
import { openOutbox } from "./outbox"
import { backoffMs } from "./waiting"

let folder: string
let heard: string[]
/** What the server says to reports of a job; null takes them. */
let answer: (jobId: string) => ErrorCode | null
let stop: AbortController

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "certctl-outbox-")), "outbox")
  heard = []
  answer = () => "unavailable"
  stop = new AbortController()
})
afterEach(() => {
  stop.abort()
  rmSync(join(folder, ".."), { recursive: true })
})

const take = async (jobId: string, words: string) => {
  const code = answer(jobId)
  if (code !== null) throw new AppError(code, code)
  heard.push(`${jobId} ${words}`)
}
const open = () =>
  openOutbox({
    folder,
    client: {
      reportStatus: (jobId, { status }) => take(jobId, status),
      reportVerification: (jobId, { verified }) => take(jobId, `verified ${verified}`),
    },
    log: logger("test"),
  })
const seen = { target_id: "t", expected_fingerprint: "a", actual_fingerprint: "a", verified: true }
const kept = () => readdirSync(folder).length

test("what the server takes at once never touches the disk", async () => {
  answer = () => null
  await open().status("job-1", { status: "Completed" })
  expect(heard).toEqual(["job-1 Completed"])
  expect(() => statSync(folder)).toThrow()
})

test("what it did not hear outlives the process and is delivered in order, each once", async () => {
  const first = open()
  await first.verification("job-1", seen)
  await first.status("job-1", { status: "Completed" })
  await first.status("job-2", { status: "Failed", error: "no space" })
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)

  const second = open()
  expect(second.jobIds()).toEqual(["job-1", "job-2"])
  answer = () => null
  const running = second.run(1000, stop.signal)
  await until("all is delivered", () => kept() === 0)
  expect(heard).toEqual(["job-1 verified true", "job-1 Completed", "job-2 Failed"])
  expect(second.jobIds()).toEqual([])
  await second.status("job-3", { status: "Completed" })
  expect(heard).toHaveLength(4)
  stop.abort()
  await running
})

test("what comes later waits behind what is older, and goes when the server answers again", async () => {
  const outbox = open()
  const running = outbox.run(3_600_000, stop.signal)
  await outbox.status("job-1", { status: "Completed" })
  answer = () => null
  await outbox.status("job-2", { status: "Completed" })
  outbox.nudge()
  await until("both are heard", () => heard.length === 2)
  expect(heard).toEqual(["job-1 Completed", "job-2 Completed"])
  stop.abort()
  await running
})

for (const code of ["not_found", "conflict", "gone", "validation"] as const) {
  test(`what the server answers with ${code} is dropped, then and now`, async () => {
    const outbox = open()
    await outbox.status("job-1", { status: "Completed" })
    await outbox.status("job-2", { status: "Completed" })
    answer = (jobId) => (jobId === "job-1" ? code : null)
    const running = outbox.run(1, stop.signal)
    await until("nothing is left", () => kept() === 0)
    expect(heard).toEqual(["job-2 Completed"])
    await outbox.status("job-1", { status: "Completed" })
    expect(kept()).toBe(0)
    stop.abort()
    await running
  })
}

test("a report at which the server fails holds up its own job and no other, and not for ever", async () => {
  const outbox = open()
  await outbox.verification("job-1", seen)
  await outbox.status("job-1", { status: "Completed" })
  await outbox.status("job-2", { status: "Completed" })
  answer = (jobId) => (jobId === "job-1" && heard.length < 2 ? "internal" : null)
  const running = outbox.run(0.01, stop.signal)
  await until("the other job is heard", () => heard.includes("job-2 Completed"))
  await until("it is given up", () => kept() < 2)
  stop.abort()
  await running
  expect(heard[0]).toBe("job-2 Completed")
})

test("files of no use are removed, and the oldest give way when there are too many", async () => {
  const outbox = open()
  await outbox.status("job-0", { status: "Completed" })
  writeFileSync(join(folder, "000000000000009.json"), "{")
  writeFileSync(join(folder, "000000000000010.json.abcdefabcdef.tmp"), "{")
  const again = open()
  expect(readdirSync(folder)).toHaveLength(1)
  for (let i = 1; i <= 1000; i++) await again.status(`job-${i}`, { status: "Completed" })
  expect(kept()).toBe(1000)
  expect(again.jobIds()[0]).toBe("job-1")
})

test("back-off grows by the agreed step, never beyond its limit, and differs from agent to agent", () => {
  expect([1, 2, 10, 500].map((n) => backoffMs(n, 30_000, () => 0))).toEqual([30_000, 60_000, 300_000, 300_000])
  expect(backoffMs(10, 30_000, () => 1)).toBe(225_000)
})
