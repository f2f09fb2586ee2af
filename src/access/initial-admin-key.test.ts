import { afterEach, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assembleApp, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { ensureInitialAdminKey, forgetInitialAdminKey, initialAdminKeyFile } from "./initial-admin-key"

const folders: string[] = []
const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-key-test-"))
  folders.push(folder)
  return folder
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

onEachDialect("the first admin key", (openDb) => {
  test("is made once, stored hashed, and lies in a file for its owner only", async () => {
    const db = await openDb()
    const dataDir = newFolder()
    const { keys, keyRows, audit, clock } = assembleApp(db, { keys: [] })
    const ensure = () => ensureInitialAdminKey({ db, keys: keyRows, audit, clock, dataDir })
    const made = await ensure()
    expect(made?.path).toBe(initialAdminKeyFile(dataDir))
    expect(readFileSync(made?.path ?? "", "utf8")).toBe(`${made?.key}\n`)
    expect(statSync(made?.path ?? "").mode & 0o777).toBe(0o600)
    expect((await keys.holderOf(made?.key ?? ""))?.actor).toEqual({ name: "admin", type: "User", role: "admin" })
    expect(await ensure()).toBeNull()
    await forgetInitialAdminKey(dataDir)
    expect(existsSync(initialAdminKeyFile(dataDir))).toBe(false)
  })

  test("several servers on one database make one key between them", async () => {
    const db = await openDb()
    const { keyRows, audit, clock } = assembleApp(db, { keys: [] })
    const made = await Promise.all(
      [newFolder(), newFolder(), newFolder()].map((dataDir) =>
        ensureInitialAdminKey({ db, keys: keyRows, audit, clock, dataDir }),
      ),
    )
    expect(made.filter((result) => result !== null)).toHaveLength(1)
    expect(folders.filter((folder) => existsSync(initialAdminKeyFile(folder)))).toHaveLength(1)
  })

  test("is not made where a key exists", async () => {
    const db = await openDb()
    const { keys, keyRows, audit, clock } = assembleApp(db)
    await keys.create({ name: "a", role: "admin" }, tester)
    expect(await ensureInitialAdminKey({ db, keys: keyRows, audit, clock, dataDir: newFolder() })).toBeNull()
  })
})
