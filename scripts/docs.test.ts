/** Documentation that repeats facts of the code is compared with it. */
import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"

const root = join(import.meta.dir, "..")
const read = (path: string) => readFileSync(join(root, path), "utf8")

const filesBelow = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))

/** Set for hooks, builds and tests by certctl itself, never by an operator. */
const notSettings = new Set(["CERTCTL_BUILD"])

const variablesIn = (text: string) =>
  (text.match(/\bCERTCTL_[A-Z0-9_]*[A-Z0-9]\b/g) ?? []).filter((name) => !notSettings.has(name))

describe("docs/configuration.md", () => {
  const documented = new Set(variablesIn(read("docs/configuration.md")))
  const sources = [...filesBelow("src", ".ts"), ...filesBelow("agent", ".ts")].filter(
    (file) => !/\.test\.ts$|^src\/(testing|e2e)\//.test(file),
  )
  const used = new Set(sources.flatMap((file) => variablesIn(read(file))))

  test("lists every variable that the code reads", () => {
    expect([...used].filter((name) => !documented.has(name))).toEqual([])
  })

  test("lists none that the code does not know", () => {
    expect([...documented].filter((name) => !used.has(name))).toEqual([])
  })
})

test("links between documents lead somewhere", () => {
  const documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...filesBelow("docs", ".md")]
  const broken = documents.flatMap((file) =>
    Array.from(read(file).matchAll(/\]\((?!https?:|#)([^)#]+)/g), ([, target = ""]) => target)
      .filter((target) => !existsSync(join(root, dirname(file), target)))
      .map((target) => `${file}: ${target}`),
  )
  expect(broken).toEqual([])
})
