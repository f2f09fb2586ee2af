import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dir, "..")

test(".ci/run installs every program that a test asks for", () => {
  const script = readFileSync(join(root, ".ci/run"), "utf8")
  const tests = ["src", "agent", "ui", "scripts"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(root, folder, name), "utf8")),
  )
  const peers = tests.flatMap((text) =>
    Array.from(text.matchAll(/\bpeer\("([^"]+)", "([^"]+)"\)/g), ([, ...pair]) => pair),
  )
  expect(peers.length).toBeGreaterThan(1)
  expect(
    peers.map(([program, debianPackage]) => `${program}:${debianPackage}`).filter((pair) => !script.includes(pair)),
  ).toEqual([])
})
