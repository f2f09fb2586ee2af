/**
 * Fuzzes one parser: `bun worker.ts NAME SECONDS SEED FILE`. The input that is being parsed stands in FILE, its length in front, so
 * that the parent can tell which one a parser never came back from. Prints one line of JSON.
 */
import "reflect-metadata"
import { AppError, messageOf } from "../../src/errors"
import { mostBytes, mutate, randomFrom } from "./mutate"
import { parsers } from "./parsers"

export interface FuzzResult {
  readonly executions: number
  readonly accepted: number
  readonly slowestMs: number
  readonly grownMiB: number
  /** What was wrong, with an input in base64; the first few. */
  readonly faults: readonly { readonly problem: string; readonly input: string }[]
}

const mostMs = 1000
/** Beyond what a garbage collector leaves lying about. */
const mostGrowthMiB = 64
const mostFaults = 5
/** Accepted inputs become starting points themselves. */
const mostKept = 200

const usedMiB = (): number => {
  Bun.gc(true)
  return process.memoryUsage().rss / 2 ** 20
}

const [name = "", seconds = "10", seed = "1", path = ""] = process.argv.slice(2)
const make = parsers[name]
if (make === undefined) throw new Error(`there is no parser ${name}; there are ${Object.keys(parsers).join(", ")}`)
const { corpus, parse } = await make()
const random = randomFrom(Number(seed))
const current = Bun.mmap(path)
const inputs: [Buffer, ...Buffer[]] = [...corpus]
const faults = new Map<string, { problem: string; input: string }>()
const fault = (problem: string, input: Buffer) => {
  // One of a kind is enough.
  const kind = problem.replace(/\d+/g, "0")
  if (faults.size < mostFaults && !faults.has(kind)) faults.set(kind, { problem, input: input.toString("base64") })
}
const keep = (input: Buffer) => {
  if (inputs.length < mostKept) inputs.push(input)
  else inputs[corpus.length + Math.floor(random() * (mostKept - corpus.length))] = input
}
for (const input of corpus) {
  const problem = parse(input)
  if (problem !== undefined) throw new Error(`a good input of ${name}: it ${problem}`)
}

const longestKept = 2 * Math.max(...corpus.map(({ length }) => length))
const began = performance.now()
const durationMs = Number(seconds) * 1000
let executions = 0
let accepted = 0
let slowestMs = 0
let settledMiB: number | null = null
for (let now = began; now - began < durationMs; ) {
  const base = inputs[Math.floor(random() * inputs.length)] ?? corpus[0]
  const input = Buffer.from(mutate(base, random, inputs).subarray(0, mostBytes))
  new DataView(current.buffer, current.byteOffset).setUint32(0, input.length)
  current.set(input, 4)
  executions += 1
  try {
    const problem = parse(input)
    if (problem !== undefined) fault(problem, input)
    accepted += 1
    if (input.length <= longestKept) keep(input)
  } catch (error) {
    if (!(error instanceof AppError) || error.code === "internal") {
      const stack = error instanceof Error ? (error.stack ?? "") : ""
      fault(`throws ${error instanceof Error ? error.name : typeof error}: ${messageOf(error)} ${stack}`, input)
    }
  }
  const after = performance.now()
  if (after - now > mostMs) fault(`takes ${Math.round(after - now)} ms`, input)
  slowestMs = Math.max(slowestMs, after - now)
  // What grows does so all the time; what is warmed up once does not.
  if (settledMiB === null && after - began > durationMs / 3) settledMiB = usedMiB()
  now = performance.now()
}
const grownMiB = usedMiB() - (settledMiB ?? usedMiB())
if (grownMiB > mostGrowthMiB) fault(`grows by ${Math.round(grownMiB)} MiB`, Buffer.alloc(0))
const result: FuzzResult = { executions, accepted, slowestMs, grownMiB, faults: [...faults.values()] }
console.log(JSON.stringify(result))
