/**
 * The first key of a server that has none: made on the first boot, stored hashed, and left in a file in the data directory that only
 * its owner can read, until somebody makes a key of their own.
 */
import { chmod, open, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { systemActor } from "./actor"
import type { ApiKeyStore } from "./api-key.store"
import { newSecret, secretHash } from "./secrets"

interface Deps {
  readonly db: Pick<Db, "transaction">
  readonly keys: Pick<ApiKeyStore, "insert" | "isEmpty">
  readonly audit: Pick<AuditService, "append">
  readonly clock: Clock
  readonly dataDir: string
}

const keyName = "initial-admin"
export const initialAdminKeyFile = (dataDir: string): string => join(dataDir, "initial-admin-key")

const writeDurably = async (path: string, text: string): Promise<void> => {
  const temporary = `${path}.new`
  const file = await open(temporary, "w", 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await chmod(path, 0o600)
}

/**
 * Makes the key unless the table has one already (the caller has looked at the environment). The file is written before the row:
 * after a crash in between, the next boot makes another pair; the other way round nobody would ever know the key.
 * @returns the key and where it lies; null when there was nothing to do
 */
export const ensureInitialAdminKey = async ({ db, keys, audit, clock, dataDir }: Deps) => {
  if (!(await keys.isEmpty())) return null
  const key = newSecret("certctl_")
  const path = initialAdminKeyFile(dataDir)
  await writeDurably(path, `${key}\n`)
  const isOurs = await db.transaction(async (tx) => {
    const row = await keys.insert(tx, {
      id: newId("key-"),
      name: keyName,
      hash: secretHash(key),
      principal: "admin",
      role: "admin",
      createdAt: clock.now(),
      lastUsedAt: null,
      disabledAt: null,
    })
    if (row === null) return false
    await audit.append(tx, {
      action: "key_created",
      actor: systemActor,
      resourceType: "api_key",
      resourceId: row.id,
      details: { label: keyName, principal: "admin", role: "admin" },
    })
    return true
  })
  if (isOurs) return { key, path }
  // Another server of the same database was faster; its data directory has the file.
  await rm(path, { force: true })
  return null
}

/** Somebody has a key of their own now. */
export const forgetInitialAdminKey = (dataDir: string): Promise<void> =>
  rm(initialAdminKeyFile(dataDir), { force: true })
