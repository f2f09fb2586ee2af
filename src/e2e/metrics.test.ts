/** The metrics of a server that has done nothing yet, beside the page that documents them and the rules that watch them. */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const docs = (name: string): string => readFileSync(join(import.meta.dir, "../../docs", name), "utf8")
const namesIn = (text: string): string[] => [...new Set(text.match(/certctl_[a-z_]+/g))].sort()
const withoutSuffix = (name: string): string => name.replace(/_(bucket|sum|count)$/, "")

let stage: Stage | undefined
afterEach(() => stage?.end())

test("every metric has a value from the start, is documented, and is what the alert rules watch", async () => {
  stage = openStage()
  const server = await serverProcess(stage)
  await server.start()
  const { status, text } = await server.call("GET", "/api/v1/metrics/prometheus")
  expect(status).toBe(200)
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => ({ name: name ?? "", type }))
  const names = types.map(({ name }) => name).sort()
  expect(names).toEqual(namesIn(docs("metrics.md")))
  // Those that are known only by a profile that somebody has made have no series yet.
  const without = names.filter((name) => !new RegExp(`^${name}(_count)?[ {]`, "m").test(text))
  expect(without).toEqual(["certctl_approval_decisions_total", "certctl_scep_requests_total"])
  expect(
    text.split("\n").filter((line) => line !== "" && !/^(# (HELP|TYPE) |certctl_\w+(\{[^}]*\})? \S+$)/.test(line)),
  ).toEqual([])
  const watched = namesIn(docs("prometheus-rules.yml")).map(withoutSuffix)
  expect(watched.filter((name) => !names.includes(name))).toEqual([])
})
