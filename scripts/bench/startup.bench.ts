/**
 * Start-up time and idle memory of the executable: `npm run bench`. Prints one table with the machine and the command, since a
 * number without them says nothing. Linux only (memory is read from /proc).
 */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { createServer } from "node:net"
import { cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"

const executable = join(import.meta.dir, "../../dist/certctl")
const scratch = mkdtempSync(join(tmpdir(), "certctl-bench-"))
const running = new Set<Bun.Subprocess>()

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
const milliseconds = (value: number) => `${value.toFixed(1)} ms`
const megabytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** Asks until it is true; the bound is only there so that a broken build ends the benchmark. */
const until = async (what: string, isTrue: () => Promise<boolean> | boolean, everyMs: number): Promise<void> => {
  const deadline = performance.now() + 30_000
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within 30 s`)
    await Bun.sleep(everyMs)
  }
}

const answersHealth = async (port: number): Promise<boolean> => {
  try {
    const answer = await fetch(`https://127.0.0.1:${port}/health`, { tls: { rejectUnauthorized: false } })
    return answer.ok
  } catch (error) {
    // Refused until it listens; reset by the bind that only tries whether the port is free.
    if (["ECONNREFUSED", "ECONNRESET"].includes(String((error as { code?: unknown }).code))) return false
    throw error
  }
}

const environment = (dataDir: string, port: number) => ({
  PATH: process.env.PATH ?? "",
  HOME: scratch,
  CERTCTL_DATA_DIR: dataDir,
  CERTCTL_SERVER_PORT: String(port),
  CERTCTL_LOG_LEVEL: "error",
})

const start = (argv: string[], env: Record<string, string>): Bun.Subprocess => {
  const child = Bun.spawn([executable, ...argv], { env, stdio: ["ignore", "ignore", "inherit"] })
  running.add(child)
  return child
}

const stop = async (child: Bun.Subprocess): Promise<void> => {
  child.kill("SIGTERM")
  await child.exited
  running.delete(child)
}

const residentBytes = (pid: number): number => {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  return Number(kilobytes) * 1024
}

/** Memory once it has stopped moving: the same, to 256 kB, five times in a row. */
const idleMemory = async (pid: number): Promise<number> => {
  let before = 0
  let same = 0
  await until(
    "a steady memory size",
    () => {
      const now = residentBytes(pid)
      same = Math.abs(now - before) < 256 * 1024 ? same + 1 : 0
      before = now
      return same >= 5
    },
    500,
  )
  return before
}

const timeVersion = (): number[] =>
  Array.from({ length: 20 }, () => {
    const began = performance.now()
    const run = Bun.spawnSync([executable, "version"], {
      env: environment(scratch, 1),
      stdio: ["ignore", "ignore", "inherit"],
    })
    if (!run.success) throw new Error(`certctl version ended with ${run.exitCode}`)
    return performance.now() - began
  })

const timeServer = async (dataDir: string): Promise<{ listening: number[]; memory: number }> => {
  const listening: number[] = []
  for (let round = 0; ; round++) {
    const port = await freePort()
    const began = performance.now()
    const server = start(["server"], environment(dataDir, port))
    await until("/health", () => answersHealth(port), 1)
    // The first start makes the database and the CA; it is the one not counted.
    if (round > 0) listening.push(performance.now() - began)
    if (round === 10) {
      const memory = await idleMemory(server.pid)
      await stop(server)
      return { listening, memory }
    }
    await stop(server)
  }
}

/** An agent that joined with a token made by the first admin key. */
const agentMemory = async (serverDir: string): Promise<number> => {
  const port = await freePort()
  const server = start(["server"], environment(serverDir, port))
  await until("/health", () => answersHealth(port), 5)
  const dataDir = join(scratch, "agent")
  const cli = {
    ...environment(dataDir, port),
    CERTCTL_SERVER_URL: `https://127.0.0.1:${port}`,
    CERTCTL_API_KEY: `file:${join(serverDir, "initial-admin-key")}`,
    CERTCTL_SERVER_CA_BUNDLE_PATH: "",
    CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY: "true",
  }
  const must = (argv: string[], env: Record<string, string>): string => {
    const run = Bun.spawnSync([executable, ...argv], { env, stdio: ["ignore", "pipe", "pipe"] })
    if (!run.success) throw new Error(`certctl ${argv.slice(0, 2).join(" ")} failed: ${run.stderr.toString()}`)
    return run.stdout.toString()
  }
  const { token } = JSON.parse(must(["--json", "agents", "token", "create"], cli)) as { token: string }
  must(["agent", "join", "--server", cli.CERTCTL_SERVER_URL], {
    ...environment(dataDir, port),
    CERTCTL_JOIN_TOKEN: token,
  })
  const agent = start(["agent"], environment(dataDir, port))
  const memory = await idleMemory(agent.pid)
  await stop(agent)
  await stop(server)
  return memory
}

try {
  const version = timeVersion()
  const { listening, memory } = await timeServer(join(scratch, "server"))
  const rows: [string, string][] = [
    ["executable", `${(statSync(executable).size / 1e6).toFixed(1)} MB`],
    ["certctl version, fastest of 20", milliseconds(Math.min(...version))],
    ["certctl version, median of 20", milliseconds(median(version))],
    ["certctl server, exec to first /health answer, fastest of 10", milliseconds(Math.min(...listening))],
    ["certctl server, exec to first /health answer, median of 10", milliseconds(median(listening))],
    ["idle server, resident", megabytes(memory)],
    ["idle agent, resident", megabytes(await agentMemory(join(scratch, "server")))],
  ]
  const [cpu] = cpus()
  console.log(`command: npm run bench (bun scripts/bench/startup.bench.ts)`)
  console.log(
    `machine: ${cpus().length} × ${cpu?.model ?? "unknown"}, ${megabytes(totalmem())}, ${process.platform} ${process.arch}`,
  )
  const width = Math.max(...rows.map(([what]) => what.length))
  for (const [what, value] of rows) console.log(`${what.padEnd(width)}  ${value.padStart(10)}`)
} finally {
  for (const child of running) child.kill("SIGKILL")
  rmSync(scratch, { recursive: true, force: true })
}
