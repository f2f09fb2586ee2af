import { afterAll, expect, test } from "bun:test"
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { dataDirectoryOf, prepareDataDirectory, writePrivateFile } from "./data-directory"

const folder = mkdtempSync(join(tmpdir(), "certctl-dir-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test("the folder is what the variable says, or depends on the user", () => {
  expect(dataDirectoryOf({ CERTCTL_DATA_DIR: "/srv/x/../y" })).toBe("/srv/y")
  expect(dataDirectoryOf({}, { isRoot: true, home: "/root" })).toBe("/var/lib/certctl")
  expect(dataDirectoryOf({}, { isRoot: false, home: "/home/ada" })).toBe("/home/ada/.local/share/certctl")
})

test("makes the folder for its owner only, and closes one that was open", () => {
  const fresh = join(folder, "a", "b")
  prepareDataDirectory(fresh)
  expect(statSync(fresh).mode & 0o777).toBe(0o700)
  expect(readdirSync(fresh)).toEqual([])
  chmodSync(fresh, 0o755)
  prepareDataDirectory(fresh)
  expect(statSync(fresh).mode & 0o777).toBe(0o700)
})

test("a folder that cannot be is refused with its name", () => {
  const file = join(folder, "file")
  writeFileSync(file, "")
  expect(() => prepareDataDirectory(join(file, "below"))).toThrow(
    `data directory ${join(file, "below")} is not writable`,
  )
})

test("private files are replaced whole, for the owner only", () => {
  const place = join(folder, "private")
  mkdirSync(place)
  const path = join(place, "key")
  writeFileSync(path, "old", { mode: 0o644 })
  writePrivateFile(path, "new")
  expect(readFileSync(path, "utf8")).toBe("new")
  expect(statSync(path).mode & 0o777).toBe(0o600)
  writePrivateFile(path, Buffer.alloc(3_000_000, 1))
  expect(statSync(path).size).toBe(3_000_000)
  expect(readdirSync(place)).toEqual(["key"])
})
