import { describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { commandChecker, commandProblem, commandRunner, splitCommand } from "./command"

const run = (command: string, allowedPrograms: string[] = [], timeoutMs?: number) =>
  commandRunner({ allowedPrograms, ...(timeoutMs === undefined ? {} : { timeoutMs }) })({
    key: "reload_command",
    command,
  })

describe("a command is refused, naming its key,", () => {
  for (const bad of [
    "",
    "   ",
    "nginx -t; rm -rf /",
    "nginx -t && reboot",
    "nginx | tee /etc/passwd",
    "nginx `id`",
    "nginx $(id)",
    "nginx $HOME",
    "nginx > /etc/passwd",
    "nginx < /etc/shadow",
    "nginx 'a b'",
    'nginx "a b"',
    "nginx a\\ b",
    "nginx {a,b}",
    "nginx\nreboot",
    "nginx\rreboot",
    "nginx\0reboot",
    "../../bin/sh",
    "./nginx",
    "bin/nginx",
    `nginx ${"x".repeat(1024)}`,
  ]) {
    test(JSON.stringify(bad.slice(0, 40)), async () => {
      await expect(run(bad)).rejects.toThrow(/^reload_command must /)
    })
  }

  test("when its program does not exist", async () => {
    await expect(run("no-such-program-here -t")).rejects.toThrow("program no-such-program-here was not found")
  })
})

test("no accepted command holds a shell character, and its words are its arguments", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60, unit: "binary-ascii" }), (text) => {
      if (commandProblem(text) !== null) return
      expect(/[;|&$`(){}<>\\"'\r\n\0]/.test(text)).toBe(false)
      if (
        text
          .trim()
          .split(/[ \t]+/)[0]
          ?.match(/^[^/].*\//)
      )
        return
      expect(splitCommand({ key: "k", command: text }).join(" ")).toBe(
        text
          .trim()
          .split(/[ \t]+/)
          .join(" "),
      )
    }),
  )
})

describe("the allow list", () => {
  test("lets its programs through by name and by path", async () => {
    const path = Bun.which("true") ?? ""
    await run("true", ["true"])
    await run(path, ["true"])
    await run("true", [path])
  })

  test("stops all others, also those that only look alike", async () => {
    const folder = mkdtempSync(join(tmpdir(), "certctl-command-"))
    try {
      writeFileSync(join(folder, "true"), "#!/bin/sh\n", { mode: 0o755 })
      symlinkSync(Bun.which("true") ?? "", join(folder, "alias"))
      for (const command of ["false", join(folder, "true"), join(folder, "alias"), "true2"]) {
        await expect(run(command, ["true"])).rejects.toThrow("CERTCTL_AGENT_ALLOWED_COMMANDS")
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe("a failed command", () => {
  const script = async (text: string, use: (command: string) => Promise<void>) => {
    const folder = mkdtempSync(join(tmpdir(), "certctl-command-"))
    try {
      writeFileSync(join(folder, "x.sh"), text)
      await use(`sh ${join(folder, "x.sh")}`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  test("says its code and its own words from both outputs", () =>
    script("echo out; echo err >&2; exit 7", async (command) => {
      await expect(run(command)).rejects.toThrow(/reload_command \(sh .*\) ended with code 7: (out\nerr|err\nout)$/)
    }))

  test("keeps the end of endless output", () =>
    script("yes x | head -c 300000; echo the reason >&2; exit 1", async (command) => {
      const error = await run(command).catch((reason: Error) => reason)
      expect(error).toBeInstanceOf(Error)
      expect(String(error).length).toBeLessThan(4500)
      expect(String(error)).toContain("the reason")
    }))

  test("is stopped with all it started when it does not end", () =>
    script("sleep 300 & sleep 300", async (command) => {
      await expect(run(command, [], 50)).rejects.toThrow("did not end within 0.05 s and was stopped")
    }))

  test("does not wait for a daemon it leaves behind", () =>
    script("sleep 20 & exit 0", async (command) => {
      await run(command)
    }))

  test("sees neither our environment nor our folder nor input", () =>
    script("pwd; env; cat; exit 1", async (command) => {
      process.env.CERTCTL_TEST_SECRET = "hunter2"
      const error = String(await run(command).catch((reason: Error) => reason))
      delete process.env.CERTCTL_TEST_SECRET
      expect(error).toContain(": /\n")
      expect(error).toContain("PATH=")
      expect(error).not.toContain("hunter2")
      expect(error).not.toContain("HOME=")
    }))
})

test("the check of a command says why it could not be started, and starts nothing", () => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-command-"))
  const check = (command: string, allowedPrograms: string[] = []) =>
    commandChecker({ allowedPrograms })({ key: "reload_command", command })
  const marker = join(folder, "started")
  check(`touch ${marker}`)
  check("true", ["true"])
  expect(existsSync(marker)).toBe(false)
  writeFileSync(join(folder, "plain"), "no program")
  expect(() => check(`${folder}/plain`)).toThrow(`reload_command: ${folder}/plain is no program of this host`)
  expect(() => check(`${folder}/missing`)).toThrow("is no program of this host")
  expect(() => check("no-such-program")).toThrow("reload_command: program no-such-program was not found")
  expect(() => check("true", ["false"])).toThrow("CERTCTL_AGENT_ALLOWED_COMMANDS")
  expect(() => check("true; id")).toThrow("reload_command must be")
  rmSync(folder, { recursive: true })
})
