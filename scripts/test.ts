/**
 * `npm test`: starts one PostgreSQL for all test files, builds the executable the end-to-end tests run, then runs
 * `bun test --parallel`. Arguments are passed on (`npm test -- src/pki -t "signs"`); without a path everything runs.
 * The last line says how many passed and failed; a run that ends without its summary has failed.
 */
import { join } from "node:path"
import { startTestPostgres } from "../src/testing/postgres"
import { closingLine, failureReports, readSummary } from "./test-summary"

const root = join(import.meta.dir, "..")
const everything = ["src", "agent", "ui", "scripts"]
/** Far above what the suite takes; a test that hangs ends here instead of in the CI job's own limit. */
const longestRunMs = 20 * 60_000

const argv = process.argv.slice(2)
/** Options of `bun test` whose value is a separate argument, so that the value is not taken for a path. */
const takesValue = new Set([
  "-t",
  "--test-name-pattern",
  "--reporter",
  "--reporter-outfile",
  "--coverage-dir",
  "--timeout",
])
/** For machines that are busy with other things as well; tests wait for conditions, so a hanging one is what it ends. */
const testLimitMs = 60_000
const paths = argv.filter((word, at) => !word.startsWith("-") && !takesValue.has(argv[at - 1] ?? ""))
const selected = paths.length > 0 ? [] : everything

const build = (...options: string[]) => {
  const run = Bun.spawnSync([process.execPath, "build.ts", ...options], { cwd: root, stdio: ["ignore", 2, 2] })
  if (!run.success) {
    console.log("the build failed")
    process.exit(1)
  }
}

/** Copies a stream of the child to ours while keeping it. */
const relay = async (from: ReadableStream<Uint8Array>, to: NodeJS.WriteStream): Promise<string> => {
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of from) {
    to.write(chunk)
    text += decoder.decode(chunk, { stream: true })
  }
  return text
}

build("--stage")
if (paths.length === 0 || paths.some((path) => path.includes("e2e"))) build("--if-stale")

const postgres = await startTestPostgres()
let tests: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined
const watchdog = setTimeout(() => {
  console.error(`the tests did not end within ${longestRunMs / 60_000} minutes`)
  tests?.kill("SIGKILL")
}, longestRunMs)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => tests?.kill(signal))

try {
  tests = Bun.spawn([process.execPath, "test", "--parallel", `--timeout=${testLimitMs}`, ...argv, ...selected], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { FORCE_COLOR: process.stdout.isTTY ? "1" : "0", ...process.env, CERTCTL_TEST_POSTGRES_URL: postgres.url },
  })
  // The summary is on stderr; what tests print on stdout could imitate it.
  const [, errors] = await Promise.all([relay(tests.stdout, process.stdout), relay(tests.stderr, process.stderr)])
  const code = await tests.exited
  const summary = readSummary(errors)
  if (summary === null) console.log("the test run ended without its summary")
  const { passed, failed, skipped } = summary ?? { passed: 0, failed: 1, skipped: 0 }
  const total = { passed, failed: code !== 0 && failed === 0 ? 1 : failed, skipped }
  // Once more at the end, since the log before it is long.
  for (const report of failureReports(errors)) console.log(`\n${report}`)
  console.log(`\n${closingLine(total)}`)
  process.exitCode = total.failed > 0 ? 1 : 0
} finally {
  clearTimeout(watchdog)
  await postgres.stop()
}
