/**
 * Feeds damaged inputs to every parser of what others send: each may refuse them with its own error, within a second, and without
 * keeping memory. `bun scripts/fuzz/run.ts [seconds per parser] [parser...]`; CERTCTL_TEST_SEED repeats a run.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { mostBytes } from "./mutate"
import { parsers } from "./parsers"
import type { FuzzResult } from "./worker"

/** How long beyond its time a worker may take; one that is still running then is inside a parser. */
const graceMs = 30_000

const [secondsText = "10", ...chosen] = process.argv.slice(2)
const seconds = Number(secondsText)
if (!(seconds > 0)) throw new Error(`seconds must be a number above 0, not ${secondsText}`)
const seed = Number(process.env.CERTCTL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
const folder = mkdtempSync(join(tmpdir(), "certctl-fuzz-"))

const fuzz = async (name: string): Promise<FuzzResult | { hangsOn: string } | { died: string }> => {
  const path = join(folder, name)
  const file = openSync(path, "w")
  ftruncateSync(file, mostBytes + 4)
  closeSync(file)
  const argv = [process.execPath, join(import.meta.dir, "worker.ts"), name, String(seconds), String(seed), path]
  const worker = Bun.spawn(argv, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: seconds * 1000 + graceMs,
    killSignal: "SIGKILL",
  })
  const [output, errors] = await Promise.all([new Response(worker.stdout).text(), new Response(worker.stderr).text()])
  await worker.exited
  const last = readFileSync(path)
  const input = last.subarray(4, 4 + last.readUInt32BE(0)).toString("base64")
  if (worker.signalCode === "SIGKILL") return { hangsOn: input }
  return worker.exitCode === 0 ? JSON.parse(output) : { died: `${errors}\nwith ${input}` }
}

let code = 0
console.log(`seed ${seed}, ${seconds} s per parser`)
for (const name of chosen.length > 0 ? chosen : Object.keys(parsers)) {
  const result = await fuzz(name)
  if (!("executions" in result)) {
    code = 1
    console.log(`${name}: ${"died" in result ? `DIED: ${result.died}` : `NEVER CAME BACK from ${result.hangsOn}`}`)
    continue
  }
  const { executions, accepted, slowestMs, grownMiB, faults } = result
  const figures = `${executions} inputs, ${accepted} accepted, slowest ${slowestMs.toFixed(0)} ms, memory ${grownMiB.toFixed(0)} MiB`
  console.log(`${name}: ${figures}: ${faults.length === 0 ? "ok" : "FAULTY"}`)
  for (const { problem, input } of faults) console.log(`  it ${problem}\n  with ${input}`)
  if (faults.length > 0) code = 1
}
rmSync(folder, { recursive: true, force: true })
process.exit(code)
