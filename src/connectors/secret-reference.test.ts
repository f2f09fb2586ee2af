import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { resolveReferences } from "./secret-reference"

let folder: string
const at = (name: string) => join(folder, name)
const resolve = (config: Record<string, unknown>, env: Record<string, string> = {}) =>
  resolveReferences(config, ["pin"], { env, secretsDir: at("secrets") })

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-references-"))
  mkdirSync(at("secrets"))
  writeFileSync(at("secrets/f5"), "hunter2\n")
  writeFileSync(at("outside"), "the server's key")
  symlinkSync(at("outside"), at("secrets/link"))
})
afterAll(() => rmSync(folder, { recursive: true }))

test("secrets come from the environment and from files, nested ones too; all else stays as it is", () => {
  const config = {
    password: "env:F5_PASSWORD",
    winrm: { winrm_password: `file:${at("secrets/f5")}` },
    pin: "env:PIN",
    host: "env:PIN",
    port: 443,
    token: "literal",
  }
  expect(resolve(config, { F5_PASSWORD: "x y", PIN: "1234" })).toEqual({
    password: "x y",
    winrm: { winrm_password: "hunter2" },
    pin: "1234",
    host: "env:PIN",
    port: 443,
    token: "literal",
  })
})

describe("a reference is refused", () => {
  const cases: [reference: string, words: RegExp][] = [
    ["env:CERTCTL_API_KEY", /^password must name a variable that is not certctl's own/],
    ["env:certctl_api_key", /^password must name a variable that is not certctl's own/],
    ["env:", /^password must name a variable/],
    ["env:A B", /^password must name a variable/],
    ["env:MISSING", /^password names the variable MISSING, which is not set/],
    ["file:secrets/f5", /^password must name a file below/],
    ["file:/etc/shadow", /^password must name a file below/],
    ["file:{secrets}/../outside", /^password must name a file below/],
    ["file:{secrets}/link", /^password must name a file below/],
    ["file:{secrets}", /^password must name a file below/],
    ["file:{secrets}/nothing", /^password: .*no such file/i],
  ]
  for (const [reference, words] of cases) {
    test(reference, () => {
      expect(() => resolve({ password: reference.replace("{secrets}", at("secrets")) })).toThrow(words)
    })
  }
})
