/** `certctl server --demo` on the built executable: a certificate that is really issued, deployed and seen; restarts; no process left. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { probe } from "../connectors/probe"
import { until } from "../testing/until"

/** `npm test` builds it first. */
const executable = join(import.meta.dir, "../../dist/certctl")
const host = "demo.certctl.localhost"
const limitMs = 60_000

const freePort = (): number => {
  const socket = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const { port } = socket
  socket.stop(true)
  return port
}

/** A zombie has no command line; in a container without init nobody reaps it. */
const isAlive = (pid: number): boolean => {
  const path = `/proc/${pid}/cmdline`
  return existsSync(path) && readFileSync(path, "utf8") !== ""
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter((text) => text !== "")
    .map(Number)

const startDemo = async (dataDir: string, port: number) => {
  const child = Bun.spawn([executable, "server", "--demo"], {
    env: {
      PATH: process.env.PATH,
      HOME: dataDir,
      CERTCTL_DATA_DIR: dataDir,
      CERTCTL_SERVER_PORT: String(port),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  })
  let output = ""
  const reading = (async () => {
    const decoder = new TextDecoder()
    for await (const chunk of child.stdout) output += decoder.decode(chunk, { stream: true })
  })()
  await until("the demo says where it is", () => output.includes("NODE_EXTRA_CA_CERTS") || child.exitCode !== null)
  const shown = (label: string) => new RegExp(`^ +${label} +(\\S+)`, "m").exec(output)?.[1] ?? ""
  const api = async (path: string) => {
    const ca = readFileSync(join(dataDir, "tls", "ca.pem"), "utf8")
    const answer = await fetch(`${shown("Console")}/api/v1/${path}`, {
      headers: { authorization: `Bearer ${shown("Admin key")}` },
      tls: { ca },
    })
    return answer.json()
  }
  const served = async () => {
    const seen = await probe({
      host: "127.0.0.1",
      port: Number(new URL(shown("Endpoint")).port),
      serverName: host,
      timeoutMs: 5000,
    })
    return seen.ok ? seen.served.fingerprint : seen.error
  }
  /** The fingerprint that the agent saw on the wire. */
  const verified = async (): Promise<string> => {
    let fingerprint = ""
    await until("the deployment is verified", async () => {
      const { data } = await api("jobs?certificate_id=mc-quick-start&type=Deployment")
      const job = data.find((row: { verification_status: string }) => row.verification_status === "success")
      fingerprint = job?.verification_fingerprint ?? ""
      return fingerprint !== ""
    })
    return fingerprint
  }
  const children = childrenOf(child.pid)
  const end = async (signal: NodeJS.Signals): Promise<number> => {
    child.kill(signal)
    const code = await child.exited
    await reading
    return code
  }
  return { output: () => output, api, served, verified, children, end }
}

describe.skipIf(!existsSync(executable) || process.platform !== "linux")("certctl server --demo", () => {
  let dataDir: string
  const port = freePort()

  beforeAll(() => {
    // Commands of targets are split at blanks.
    dataDir = mkdtempSync(join(tmpdir(), "certctl demo "))
  })
  afterAll(() => rmSync(dataDir, { recursive: true, force: true }))

  test(
    "issues, deploys and verifies a certificate, and finds everything again after a restart",
    async () => {
      const first = await startDemo(dataDir, port)
      try {
        expect(first.output()).toContain(`https://localhost:${port}`)
        const fingerprint = await first.verified()
        expect(await first.served()).toBe(fingerprint)
        const { data } = await first.api("certificates/mc-quick-start/versions")
        expect(data.map((row: { fingerprint_sha256: string }) => row.fingerprint_sha256)).toEqual([fingerprint])
        expect(await first.api("certificates/mc-quick-start")).toMatchObject({
          status: "Active",
          issuer_id: "iss-local",
        })
        expect(first.children).toHaveLength(2)
      } finally {
        expect(await first.end("SIGINT")).toBe(0)
      }
      expect(first.children.filter(isAlive)).toEqual([])

      const second = await startDemo(dataDir, port)
      try {
        expect(second.output()).toContain(/Admin key +(\S+)/.exec(first.output())?.[1] ?? "no key")
        expect(await second.served()).toBe(await second.verified())
        const jobs = await second.api("jobs?certificate_id=mc-quick-start")
        expect(jobs.total).toBe(2)
        expect((await second.api("certificates")).total).toBe(33)
        expect((await second.api("agents")).total).toBe(9)
      } finally {
        await second.end("SIGKILL")
      }
      await until("the processes beside a killed server end", () => !second.children.some(isAlive))
    },
    limitMs,
  )

  test(
    "refuses a data directory whose inventory is somebody's own",
    async () => {
      const own = mkdtempSync(join(tmpdir(), "certctl-own-"))
      try {
        const server = Bun.spawn([executable, "server"], {
          env: { HOME: own, CERTCTL_DATA_DIR: own, CERTCTL_SERVER_PORT: String(port) },
          stdio: ["ignore", "ignore", "ignore"],
        })
        await until("the first key is made", () => existsSync(join(own, "initial-admin-key")))
        const headers = { authorization: `Bearer ${readFileSync(join(own, "initial-admin-key"), "utf8").trim()}` }
        await until("a team is made", async () => {
          try {
            const ca = readFileSync(join(own, "tls", "ca.pem"), "utf8")
            const body = JSON.stringify({ name: "mine" })
            const url = `https://localhost:${port}/api/v1/teams`
            return (await fetch(url, { method: "POST", headers, body, tls: { ca } })).status === 201
          } catch {
            // It does not listen yet.
            return false
          }
        })
        server.kill("SIGTERM")
        await server.exited

        const demo = Bun.spawn([executable, "server", "--demo"], {
          env: { HOME: own, CERTCTL_DATA_DIR: own, CERTCTL_SERVER_PORT: String(port) },
          stdio: ["ignore", "pipe", "pipe"],
        })
        expect(await demo.exited).toBe(1)
        expect(await new Response(demo.stderr).text()).toContain("holds an inventory of its own")
      } finally {
        rmSync(own, { recursive: true, force: true })
      }
    },
    limitMs,
  )
})
