import { afterEach, expect, test } from "bun:test"
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError } from "../errors"
import { openDatabase } from "./open"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-open-"))
  folders.push(folder)
  return folder
}

const refusal = async (url: string, maxConnections = 1): Promise<AppError> => {
  try {
    const db = await openDatabase({ url, dataDir: newFolder(), maxConnections })
    await db.close()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error(`${url} was accepted`)
}

test("opens a SQLite file by absolute path and by one inside the data directory", async () => {
  const dataDir = newFolder()
  for (const path of [join(dataDir, "one", "a.db"), "two/b.db"]) {
    const db = await openDatabase({ url: `sqlite:${path}`, dataDir, maxConnections: 1 })
    await db.ping()
    expect(db.dialect).toBe("sqlite")
    await db.close()
  }
  const slashes = await openDatabase({ url: `sqlite://${join(dataDir, "three", "c.db")}`, dataDir, maxConnections: 1 })
  await slashes.close()
  for (const file of ["one/a.db", "two/b.db", "three/c.db"]) expect(existsSync(join(dataDir, file))).toBe(true)
})

test("refuses a URL that names no database, without quoting it", async () => {
  for (const url of ["", "sqlite:", "mysql://root:hunter2@db/x", "/var/lib/a.db", "postgres://u:hunter2#x@ho st/db"]) {
    const error = await refusal(url)
    expect(error.code).toBe("validation")
    expect(error.message).toContain("database URL")
    expect(Bun.inspect(error)).not.toContain("hunter2")
  }
})

test("says which file it cannot use, and lets go of the lock", async () => {
  const dataDir = newFolder()
  writeFileSync(join(dataDir, "text.db"), "not a database, and long enough to be taken for one ".repeat(4))
  mkdirSync(join(dataDir, "folder.db"))
  for (const file of ["/dev/null/a.db", join(dataDir, "folder.db"), join(dataDir, "text.db")]) {
    const error = await refusal(`sqlite:${file}`)
    expect(error.code).toBe("validation")
    expect(error.message).toStartWith(`cannot use the database file ${file}: `)
  }
  const db = await openDatabase({ url: "sqlite:good.db", dataDir, maxConnections: 1 })
  await db.close()
})

test("refuses fewer than one connection", async () => {
  for (const count of [0, -1, 1.5, Number.NaN]) {
    expect((await refusal("postgres://u@127.0.0.1/db", count)).message).toContain("at least 1")
  }
})

test("says so when no PostgreSQL answers", async () => {
  const error = await refusal("postgres://u:hunter2@127.0.0.1:1/db")
  expect(error.code).toBe("unavailable")
  expect(error.message).toContain("not available")
  expect(Bun.inspect(error)).not.toContain("hunter2")
})
