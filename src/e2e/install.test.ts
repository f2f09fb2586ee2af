/** install.sh below a scratch root: what it writes, how it upgrades, what it refuses, what it leaves behind. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { peer } from "../testing/peers"

const script = join(import.meta.dir, "../../install.sh")
/** `npm test` builds it first. */
const executable = join(import.meta.dir, "../../dist/certctl")
const systemdAnalyze = peer("systemd-analyze", "systemd")
const shellcheck = peer("shellcheck", "shellcheck")

let scratch: string
let root: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "certctl-install-"))
  root = mkdtempSync(join(scratch, "root-"))
})
afterEach(() => rmSync(scratch, { recursive: true, force: true }))

const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex")

/** A stand-in for the executable: it notes how it was called, as the joining agent does in its data folder. */
const programText = (version: string) => `#!/bin/sh
case "$*" in
  version) echo ${version} ;;
  "agent join"*) printf '%s|%s' "$*" "$CERTCTL_JOIN_TOKEN" >"$CERTCTL_DATA_DIR/agent.json" ;;
esac
`

const program = (version: string): string => {
  const path = join(scratch, `certctl-${version}`)
  writeFileSync(path, programText(version))
  return path
}

const run = async (argv: string[], env: Record<string, string> = {}) => {
  const child = Bun.spawn(["sh", script, ...argv], {
    env: { PATH: process.env.PATH ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { out, err, code }
}

const install = (role: "server" | "agent", ...rest: string[]) => run([role, "--root", root, ...rest])

const below = (path: string) => join(root, path)
const modeOf = (path: string) => (statSync(below(path)).mode & 0o7777).toString(8)
const read = (path: string) => readFileSync(below(path), "utf8")

describe("install.sh", () => {
  test("installs the server with the modes its secrets need", async () => {
    const { code, out } = await install("server", "--binary", program("1"))
    expect(code).toBe(0)
    expect(out).toContain("/var/lib/certctl/initial-admin-key")
    expect(read("usr/local/bin/certctl")).toBe(programText("1"))
    expect(modeOf("usr/local/bin/certctl")).toBe("755")
    expect(modeOf("etc/certctl/server.env")).toBe("640")
    expect(modeOf("etc/certctl/secrets")).toBe("750")
    expect(modeOf("var/lib/certctl")).toBe("700")
    expect(modeOf("etc/systemd/system/certctl-server.service")).toBe("644")
    expect(read("usr/lib/sysusers.d/certctl.conf")).toStartWith("u certctl ")
  })

  test("installs the agent beside the server without sharing its data folder", async () => {
    await install("server", "--binary", program("1"))
    expect((await install("agent", "--binary", program("1"))).code).toBe(0)
    expect(modeOf("etc/certctl/agent.env")).toBe("600")
    expect(modeOf("var/lib/certctl-agent")).toBe("700")
    expect(read("etc/systemd/system/certctl-agent.service")).toContain("CERTCTL_DATA_DIR=/var/lib/certctl-agent")
  })

  test.skipIf(systemdAnalyze === null)("writes units that systemd accepts", async () => {
    for (const role of ["server", "agent"] as const) {
      await install(role, "--binary", program("1"))
      // Verified against the host's units, so the program must be where the unit says it is.
      const copy = join(scratch, `certctl-${role}.service`)
      const unit = read(`etc/systemd/system/certctl-${role}.service`)
      writeFileSync(copy, unit.replace("/usr/local/bin/certctl", below("usr/local/bin/certctl")))
      const verify = Bun.spawnSync([systemdAnalyze ?? "", "verify", "--man=no", "--recursive-errors=no", copy])
      expect(verify.stderr.toString()).toBe("")
      expect(verify.exitCode).toBe(0)
    }
  })

  test.skipIf(!existsSync(executable))("installs the built executable, verified against its checksum", async () => {
    const { code, out } = await install("server", "--binary", executable)
    expect(code).toBe(0)
    expect(out).not.toContain("unverified")
    const help = Bun.spawnSync([below("usr/local/bin/certctl"), "--help"], { env: { HOME: scratch } })
    expect(help.exitCode).toBe(0)
  })

  test("upgrades in place, keeps the previous program and every setting", async () => {
    await install("server", "--binary", program("1"))
    writeFileSync(below("etc/certctl/server.env"), "CERTCTL_SERVER_PORT=9443\n")
    writeFileSync(below("var/lib/certctl/certctl.db"), "rows")
    expect((await install("server", "--binary", program("2"))).out).toContain("upgraded")
    expect(read("usr/local/bin/certctl")).toBe(programText("2"))
    expect(read("usr/local/bin/certctl.previous")).toBe(programText("1"))
    expect(read("etc/certctl/server.env")).toBe("CERTCTL_SERVER_PORT=9443\n")
    expect(read("var/lib/certctl/certctl.db")).toBe("rows")

    // The same file again is no upgrade: the version before stays the version before.
    await install("server", "--binary", program("2"))
    expect(read("usr/local/bin/certctl.previous")).toBe(programText("1"))
  })

  test("refuses a program whose checksum differs and changes nothing", async () => {
    await install("server", "--binary", program("1"))
    const forged = program("2")
    writeFileSync(`${forged}.sha256`, `${sha256("something else")}  certctl\n`)
    const { code, err } = await install("server", "--binary", forged)
    expect(code).toBe(1)
    expect(err).toContain("checksum mismatch")
    expect(read("usr/local/bin/certctl")).toBe(programText("1"))
    expect(existsSync(below("usr/local/bin/certctl.new"))).toBe(false)
  })

  test("accepts a program whose checksum file matches", async () => {
    const checksum = join(scratch, "sums")
    writeFileSync(checksum, `${sha256(programText("1")).toUpperCase()}  whatever\n`)
    const { code, out } = await install("server", "--binary", program("1"), "--checksum", checksum)
    expect(code).toBe(0)
    expect(out).not.toContain("unverified")
  })

  test("downloads the file of this platform and insists on its checksum", async () => {
    const files: Record<string, string> = {}
    const requested: string[] = []
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch({ url }) {
        const name = new URL(url).pathname.slice(1)
        requested.push(name)
        const text = files[name]
        return text === undefined ? new Response("", { status: 404 }) : new Response(text)
      },
    })
    const base = `http://127.0.0.1:${server.port}`

    expect((await install("server", "--url", base)).code).toBe(1)
    const name = requested[0] ?? ""
    expect(name).toMatch(/^certctl-linux-(x64|arm64)(-musl)?$/)

    files[name] = programText("1")
    expect((await install("server", "--url", base)).err).toContain(`cannot download ${base}/${name}.sha256`)
    expect(existsSync(below("usr/local/bin/certctl"))).toBe(false)

    files[`${name}.sha256`] = `${sha256(programText("1"))}  ${name}\n`
    expect((await install("server", "--url", base)).code).toBe(0)
    expect(read("usr/local/bin/certctl")).toBe(programText("1"))
  })

  test("downloads over https only", async () => {
    const { code, err } = await install("server", "--url", "http://downloads.example.com")
    expect(code).toBe(1)
    expect(err).toContain("https:// only")
  })

  test("joins the agent with the token in the environment, never among the arguments", async () => {
    const argv = ["agent", "--root", root, "--binary", program("1"), "--server", "https://certctl.example:8443"]
    const { code, out, err } = await run(argv, { CERTCTL_JOIN_TOKEN: "jt-1.secret." })
    expect(code).toBe(0)
    expect(read("var/lib/certctl-agent/agent.json")).toBe(
      "agent join --server https://certctl.example:8443|jt-1.secret.",
    )
    expect(out + err).not.toContain("secret")

    // Joined once, joined for good: the next run upgrades and keeps the identity.
    await run(argv, { CERTCTL_JOIN_TOKEN: "jt-2.secret." })
    expect(read("var/lib/certctl-agent/agent.json")).toContain("jt-1")
  })

  test("uninstalls without touching settings and data, and purges when told to", async () => {
    await install("server", "--binary", program("1"))
    writeFileSync(below("var/lib/certctl/certctl.db"), "rows")
    expect((await install("server", "--uninstall")).code).toBe(0)
    expect(existsSync(below("usr/local/bin/certctl"))).toBe(false)
    expect(existsSync(below("etc/systemd/system/certctl-server.service"))).toBe(false)
    expect(read("var/lib/certctl/certctl.db")).toBe("rows")
    expect(existsSync(below("etc/certctl/server.env"))).toBe(true)

    expect((await install("server", "--uninstall", "--purge")).code).toBe(0)
    expect(existsSync(below("var/lib/certctl"))).toBe(false)
    expect(existsSync(below("etc/certctl"))).toBe(false)
  })

  test("keeps the program while the other role is installed", async () => {
    await install("server", "--binary", program("1"))
    await install("agent", "--binary", program("1"))
    await install("server", "--uninstall", "--purge")
    expect(existsSync(below("usr/local/bin/certctl"))).toBe(true)
    expect(existsSync(below("etc/certctl/agent.env"))).toBe(true)
    await install("agent", "--uninstall")
    expect(existsSync(below("usr/local/bin/certctl"))).toBe(false)
  })

  test.each([
    [["--binary", "x"], 2],
    [["server"], 1],
    [["server", "--binary", "/nowhere/certctl"], 1],
    [["server", "--binary", "x", "--url", "https://x"], 1],
    [["agent", "--binary", "x", "--join-token", "t"], 1],
    [["server", "--purge"], 1],
    [["server", "--wrong"], 1],
  ] as [string[], number][])("refuses %p", async (argv, code) => {
    expect((await run([...argv, "--root", root])).code).toBe(code)
    expect(existsSync(below("usr"))).toBe(false)
  })

  test.skipIf(shellcheck === null)("has nothing shellcheck objects to", () => {
    const check = Bun.spawnSync([shellcheck ?? "", script])
    expect(check.stdout.toString()).toBe("")
  })
})
