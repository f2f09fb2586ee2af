/** What the texts themselves must be, whatever runs them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as v from "valibot"
import { runScript } from "../powershell"
import { type FakeWindows, fakeWindows } from "../powershell.fake"
import { parsePowerShell } from "../powershell-parser.fake"
import { iisScripts, winCertStoreScripts } from "./windows.scripts"

const scripts: [name: string, text: string][] = [
  ...Object.entries(iisScripts).map(([name, text]): [string, string] => [`IIS ${name}`, text]),
  ...Object.entries(winCertStoreScripts).map(([name, text]): [string, string] => [`WinCertStore ${name}`, text]),
]

/** Everything in which text could become code, or a value be expanded into text. */
const forbidden = [
  "expandable_string_literal",
  "expandable_here_string_literal",
  "command_invokation_operator",
  "sub_expression",
  "redirection",
]
const commands = [
  "ConvertFrom-Json",
  "ConvertTo-Json",
  "ConvertTo-SecureString",
  "ForEach-Object",
  "Get-ChildItem",
  "Get-Date",
  "Get-Item",
  "Get-WebBinding",
  "Get-Website",
  "Import-Module",
  "Import-PfxCertificate",
  "Join-Path",
  "New-WebBinding",
  "Remove-Item",
  "Remove-WebBinding",
  "Test-Path",
  "Where-Object",
]

const found = async (text: string) => {
  const { rootNode } = await parsePowerShell(text)
  const texts = (types: string[]) => rootNode.descendantsOfType(types).map((node) => node?.text ?? "")
  const own = texts(["function_name"])
  return {
    forbidden: texts(forbidden),
    unknownCommands: texts(["command_name"]).filter((name) => !commands.includes(name) && !own.includes(name)),
  }
}

describe("the PowerShell texts", () => {
  for (const [name, text] of scripts) {
    test(`${name} is PowerShell that expands nothing and calls nothing unexpected`, async () => {
      expect(await found(text)).toEqual({ forbidden: [], unknownCommands: [] })
      // CreateProcess takes 32767 characters, program and other arguments included.
      expect(Buffer.from(text, "utf16le").toString("base64").length).toBeLessThan(31_000)
    })
  }

  test("would be caught with any of it", async () => {
    expect((await found('$a = "x $($b) y"')).forbidden).not.toEqual([])
    expect((await found("& $command")).forbidden).not.toEqual([])
    expect((await found("Invoke-Expression $text")).unknownCommands).toEqual(["Invoke-Expression"])
    await expect(parsePowerShell("if ($a { 1 }")).rejects.toThrow("ParserError at line 1")
    await expect(parsePowerShell("$a = 'open")).rejects.toThrow("ParserError")
  })
})

describe("what is given to the texts", () => {
  let windows: FakeWindows
  beforeAll(() => {
    windows = fakeWindows(mkdtempSync(join(tmpdir(), "certctl-scripts-")))
  })
  afterAll(() => rmSync(windows.folder, { recursive: true }))

  const hostile = [
    "'; Remove-Item -LiteralPath 'Cert:\\LocalMachine\\My'; '",
    '"; exit 3; "',
    "$(throw 'ran')",
    "`n`$x",
    "line\r\nbreak\n#",
    '"}] | ForEach-Object { throw "ran" }',
    "\u0000\u0007\u2028 Zürich 😀 '@\n@'",
  ]
  for (const value of hostile) {
    test(`stays data: ${JSON.stringify(value).slice(0, 60)}`, async () => {
      const before = windows.state()
      const host = {
        place: "the test",
        async run({ args, input }: { args: readonly string[]; input: string }) {
          expect(input).toMatch(/^[\x20-\x7e]*\n$/)
          const { stdout, stderr, code } = await windows.powershell(args, input)
          expect([stderr, code]).toEqual(["", 0])
          return stdout
        },
      }
      const input = {
        site_name: value,
        store_location: "LocalMachine",
        store_name: value,
        thumbprint: value,
        ip: value,
        port: 443,
        host_header: value,
        ssl_flags: 0,
        friendly_name: value,
        pfx: "AAAA",
        pfx_password: value,
        before: [],
        was_present: false,
      }
      const run = (script: string) =>
        runScript(host, { script, input, timeoutMs: 1000, answer: v.object({ ok: v.literal(true) }) })
      await expect(run(iisScripts.deploy)).rejects.toThrow(`the site ${value} does not exist`)
      await expect(run(winCertStoreScripts.deploy)).rejects.toThrow("does not exist")
      expect(windows.state()).toEqual(before)
    })
  }
})
