/** Where the passphrase of everything sealed comes from: the operator, or on SQLite a file made on the first boot. */
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { AppError, messageOf } from "../errors"

export interface EncryptionKeyOptions {
  readonly dataDir: string
  /** CERTCTL_CONFIG_ENCRYPTION_KEY; wins over the file. */
  readonly configured: string | null
  readonly dialect: "sqlite" | "postgres"
  /** Whether the database holds anything sealed already. */
  readonly sealedRowsExist: boolean
}

const shortest = 32

const checked = (key: string, source: string): string => {
  if (Buffer.byteLength(key) >= shortest) return key
  throw new AppError("validation", `${source} must have at least ${shortest} bytes`)
}

/** The passphrase, where it is known without looking into the database; null where it has to be made, or is unusable. */
export const knownEncryptionKey = ({ dataDir, configured }: Pick<EncryptionKeyOptions, "dataDir" | "configured">) => {
  if (configured !== null) return configured
  const path = join(dataDir, "encryption-key")
  return existsSync(path) ? readFileSync(path, "utf8").trim() : null
}

/**
 * The passphrase. Never makes one while sealed rows exist: they would be lost behind a key that opens nothing.
 * Throws `validation` when there is none to be had. Whether it is the right one shows when a sealed row is opened.
 */
export const loadOrCreateEncryptionKey = (options: EncryptionKeyOptions): string => {
  const { dataDir, configured, dialect, sealedRowsExist } = options
  const variable = "CERTCTL_CONFIG_ENCRYPTION_KEY"
  if (configured !== null) return checked(configured, variable)
  if (dialect === "postgres") {
    throw new AppError(
      "validation",
      `${variable} must be set with a PostgreSQL database: every server on it needs the same one`,
    )
  }
  const path = join(dataDir, "encryption-key")
  if (existsSync(path)) {
    try {
      return checked(readFileSync(path, "utf8").trim(), path)
    } catch (error) {
      if (error instanceof AppError) throw error
      throw new AppError("validation", `cannot read ${path}: ${messageOf(error)}`, { cause: error })
    }
  }
  if (sealedRowsExist) {
    throw new AppError(
      "validation",
      `${path} is missing, but the database holds sealed rows: restore the file or set ${variable}`,
    )
  }
  const key = randomBytes(32).toString("base64url")
  // "wx": whoever came first keeps his. Flushed, since the first sealed row may be committed a moment later.
  writeFileSync(path, `${key}\n`, { flag: "wx", mode: 0o600, flush: true })
  return key
}
