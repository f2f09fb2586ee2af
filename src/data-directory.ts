/** The folder that holds what a server or an agent keeps on its host: database, own certificate, keys, backups. */
import { Database } from "bun:sqlite"
import { randomBytes } from "node:crypto"
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs"
import { homedir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { AppError, messageOf } from "./errors"

/** `CERTCTL_DATA_DIR`; otherwise /var/lib/certctl for root and ~/.local/share/certctl for everybody else. Absolute. */
export const dataDirectoryOf = (
  env: Readonly<Record<string, string | undefined>>,
  user: { readonly isRoot: boolean; readonly home: string } = { isRoot: process.getuid?.() === 0, home: homedir() },
): string => {
  const given = env.CERTCTL_DATA_DIR
  if (given) return resolve(given)
  return user.isRoot ? "/var/lib/certctl" : join(user.home, ".local", "share", "certctl")
}

/** Makes the folder (0700) when it is missing and proves that it can be written. Throws `validation` when not. */
export const prepareDataDirectory = (path: string): void => {
  const probe = join(path, `.write-${randomBytes(6).toString("hex")}`)
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    chmodSync(path, 0o700)
    closeSync(openSync(probe, "wx", 0o600))
    rmSync(probe)
  } catch (error) {
    throw new AppError("validation", `data directory ${path} is not writable (CERTCTL_DATA_DIR): ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** Writes a file of mode 0600 so that a crash leaves the old one or the new one, never half of either. */
export const writePrivateFile = (path: string, content: string | Buffer): void => {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  const file = openSync(temporary, "wx", 0o600)
  try {
    writeSync(file, typeof content === "string" ? Buffer.from(content) : content)
    fsyncSync(file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  // The rename itself is durable only once its folder is; Windows cannot open folders and does not need it.
  if (process.platform !== "win32") {
    const folder = openSync(dirname(path), "r")
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  }
}

/**
 * Holds the folder for the life of the process; the returned function lets go. One server and one agent at most work in a
 * folder: two would race for its keys and certificates. A lock of the operating system behind SQLite, so that kill -9 frees
 * it and no stale file has to be judged. Fails with `conflict` when another process of the kind has it.
 */
export const holdDataDirectory = (path: string, kind: "server" | "agent"): (() => void) => {
  const lock = new Database(join(path, `${kind}.lock`), { create: true })
  try {
    lock.run("pragma busy_timeout = 0")
    lock.run("begin exclusive")
  } catch (error) {
    lock.close()
    throw new AppError("conflict", `data directory ${path} is in use by another certctl ${kind} (CERTCTL_DATA_DIR)`, {
      cause: error,
    })
  }
  return () => lock.close()
}
