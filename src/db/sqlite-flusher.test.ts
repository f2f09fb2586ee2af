import { afterEach, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { LogFlusher } from "./sqlite-flusher"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
const newFile = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-flusher-"))
  folders.push(folder)
  return join(folder, "a.db")
}

test("flushes a log that is there, and has nothing to do before there is one", async () => {
  const file = newFile()
  const flusher = new LogFlusher(file)
  await flusher.flushed()
  writeFileSync(`${file}-wal`, "pages")
  await Promise.all([flusher.flushed(), flusher.flushed()])
  await flusher.flushed()
  await flusher.close()
})

test("callers of the same moment share a flush; who comes while it runs shares the next", async () => {
  const file = newFile()
  writeFileSync(`${file}-wal`, "pages")
  const flusher = new LogFlusher(file)
  const first = flusher.flushed()
  expect(flusher.flushed()).toBe(first)
  const order: string[] = []
  const wait = async (name: string, flush: Promise<void>) => {
    await flush
    order.push(name)
  }
  const waits = [wait("first", first)]
  // It has begun by then, and says nothing of what is written from now on.
  await Promise.resolve()
  const second = flusher.flushed()
  expect(second).not.toBe(first)
  expect(flusher.flushed()).toBe(second)
  waits.push(wait("second", second))
  await Promise.all(waits)
  expect(order).toEqual(["first", "second"])
  await flusher.close()
})

test("after one flush has failed all fail: nobody knows what the disk has", async () => {
  const file = newFile()
  mkdirSync(`${file}-wal`)
  const flusher = new LogFlusher(file)
  await expect(flusher.flushed()).rejects.toThrow("the disk failed to keep what was written to the database (")
  rmSync(`${file}-wal`, { recursive: true })
  writeFileSync(`${file}-wal`, "pages")
  await expect(flusher.flushed()).rejects.toMatchObject({ code: "unavailable" })
  await flusher.close()
})
