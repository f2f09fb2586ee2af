import { afterAll, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { loadOrCreateEncryptionKey } from "./encryption-key"

const folder = mkdtempSync(join(tmpdir(), "certctl-key-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const firstBoot = () => ({
  dataDir: mkdtempSync(join(folder, "data-")),
  configured: null,
  dialect: "sqlite" as const,
  sealedRowsExist: false,
})

test("the first boot makes a key of its own, which stays", () => {
  const options = firstBoot()
  const key = loadOrCreateEncryptionKey(options)
  expect(Buffer.byteLength(key)).toBeGreaterThanOrEqual(32)
  const path = join(options.dataDir, "encryption-key")
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path, "utf8")).toBe(`${key}\n`)
  expect(loadOrCreateEncryptionKey({ ...options, sealedRowsExist: true })).toBe(key)
  expect(loadOrCreateEncryptionKey(firstBoot())).not.toBe(key)
})

test("a configured key wins and nothing is written", () => {
  const options = { ...firstBoot(), configured: "k".repeat(32) }
  expect(loadOrCreateEncryptionKey(options)).toBe("k".repeat(32))
  expect(existsSync(join(options.dataDir, "encryption-key"))).toBe(false)
})

test("no key is made while sealed rows exist", () => {
  const options = { ...firstBoot(), sealedRowsExist: true }
  expect(() => loadOrCreateEncryptionKey(options)).toThrow("is missing, but the database holds sealed rows")
  expect(existsSync(join(options.dataDir, "encryption-key"))).toBe(false)
})

test("PostgreSQL needs a configured key, since its servers share it", () => {
  const options = { ...firstBoot(), dialect: "postgres" as const }
  expect(() => loadOrCreateEncryptionKey(options)).toThrow("CERTCTL_CONFIG_ENCRYPTION_KEY must be set")
})

test("a short key is refused without being shown", () => {
  const options = firstBoot()
  const refused = "CERTCTL_CONFIG_ENCRYPTION_KEY must have at least 32 bytes"
  expect(() => loadOrCreateEncryptionKey({ ...options, configured: "short" })).toThrow(refused)
  const path = join(options.dataDir, "encryption-key")
  writeFileSync(path, "short")
  expect(() => loadOrCreateEncryptionKey(options)).toThrow(`${path} must have at least 32 bytes`)
})
