/**
 * File operations of the deploy engine. Whatever is reported as written is on the disk, a reader sees the old file or the
 * new one and never half of either, and a file that is replaced keeps its owner, mode, ACL and security context.
 */
import { createHash, randomBytes } from "node:crypto"
import { constants, readFileSync } from "node:fs"
import { type FileHandle, lstat, open, readdir, readFile, realpath, rename, rm } from "node:fs/promises"
import { basename, dirname, isAbsolute, join } from "node:path"
import type { PlannedPlace } from "../../src/connectors/targets/contract"
import { AppError, messageOf } from "../../src/errors"
import { copyAttributes } from "./extended-attributes"

export interface PresentFile {
  readonly sha256: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT"

/**
 * A name too long to exist is as good as gone: writing it is what failed. Asked first, since a read-only file system refuses to
 * remove even what is not there.
 */
export const removeIfThere = async (path: string): Promise<void> => {
  const isThere = await lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT" && error.code !== "ENAMETOOLONG") throw error
      return false
    },
  )
  if (isThere) await rm(path, { force: true })
}

/** Makes renames and new names in a folder durable. Windows can neither open folders nor needs it. */
export const syncFolder = async (folder: string): Promise<void> => {
  if (process.platform === "win32") return
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * The file that really is replaced: links on the way are followed once, now, and never again. Fails with `validation`
 * when the path is not usable.
 */
export const resolveDestination = async (path: string): Promise<string> => {
  if (!isAbsolute(path) || path.includes("\0") || path.split("/").includes("..")) {
    throw new AppError("validation", `${JSON.stringify(path)} must be an absolute path without .. segments`)
  }
  let folder: string
  try {
    folder = await realpath(dirname(path))
  } catch (error) {
    throw new AppError("validation", `the folder of ${path} cannot be used: ${messageOf(error)}`, { cause: error })
  }
  const plain = join(folder, basename(path))
  const facts = await lstat(plain).catch((error) => {
    if (isMissing(error)) return null
    throw error
  })
  if (facts === null || facts.isFile()) return plain
  if (!facts.isSymbolicLink()) throw new AppError("validation", `${path} is not a regular file`)
  const real = await realpath(plain).catch((error) => {
    throw new AppError("validation", `${path} is a link that leads nowhere: ${messageOf(error)}`, { cause: error })
  })
  if (!(await lstat(real)).isFile()) throw new AppError("validation", `${path} leads to ${real}, not a regular file`)
  return real
}

/** What is at a resolved path, or null. */
export const presentFile = async (path: string): Promise<PresentFile | null> => {
  let handle: FileHandle
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  try {
    const { mode, uid, gid } = await handle.stat()
    return { sha256: sha256Of(await handle.readFile()), mode: mode & 0o7777, uid, gid }
  } finally {
    await handle.close()
  }
}

export interface NewFile {
  readonly bytes: Uint8Array
  readonly mode: number
  /** null leaves the file to the user the agent runs as. */
  readonly owner: { readonly uid: number; readonly gid: number } | null
  /** A file whose ACL, extended attributes and security context the new one takes over. */
  readonly like: string | null
}

/** Creates a file that must not exist yet and makes it durable. Owner and mode are right before the first byte is in it. */
export const createFile = async (path: string, { bytes, mode, owner, like }: NewFile): Promise<void> => {
  const handle = await open(path, "wx", 0o600)
  try {
    if (like !== null) await copyAttributes(like, handle)
    if (owner !== null) {
      try {
        await handle.chown(owner.uid, owner.gid)
      } catch (error) {
        // Only root may give files away. For everybody else the file stays theirs, as it was before they were asked.
        if (process.getuid?.() === 0) throw error
      }
    }
    await handle.chmod(mode)
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Writes a file of mode 0600 so that a crash leaves the old one or the new one, never half of either. Durable when it returns. Not
 * on the event loop: while a disk takes its time, other jobs go on.
 */
export const replacePrivateFile = async (path: string, content: string | Buffer): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  try {
    await createFile(temporary, { bytes: Buffer.from(content), mode: 0o600, owner: null, like: null })
    await rename(temporary, path)
  } catch (error) {
    await removeIfThere(temporary)
    throw error
  }
  await syncFolder(dirname(path))
}

/** Copies a file beside itself, for going back. The copy of a key is for its owner alone, whatever the key was. */
export const backUp = async (path: string, backupPath: string, present: PresentFile, isKey: boolean): Promise<void> => {
  await createFile(backupPath, {
    bytes: await readFile(path),
    mode: isKey ? present.mode & 0o600 : present.mode,
    owner: { uid: present.uid, gid: present.gid },
    like: path,
  })
}

/** Puts the bytes of a backup back over a file, with the mode and owner the file had. */
export const restoreFrom = async (
  backupPath: string,
  path: string,
  temporary: string,
  was: PresentFile,
): Promise<void> => {
  await rm(temporary, { force: true })
  const bytes = await readFile(backupPath)
  if (sha256Of(bytes) !== was.sha256) throw new AppError("internal", `backup ${backupPath} is damaged`)
  await createFile(temporary, { bytes, mode: was.mode, owner: { uid: was.uid, gid: was.gid }, like: backupPath })
  await rename(temporary, path)
  await syncFolder(dirname(path))
}

/** In a folder of their own, backups of files with the same name are told apart by a digest of the path. */
const backupBase = (path: string, folder: string | undefined) =>
  folder === undefined || folder === dirname(path)
    ? path
    : join(folder, `${basename(path)}.${sha256Of(Buffer.from(path)).slice(0, 12)}`)
const backupName = (path: string, nanoseconds: string, folder?: string) =>
  `${backupBase(path, folder)}.certctl-bak.${nanoseconds}`
const temporaryName = (path: string, nanoseconds: string) => `${path}.certctl-tmp.${nanoseconds}`
export const besideNames = { backup: backupName, temporary: temporaryName }

const staleAfterMs = 3_600_000

/** Removes all backups of a file but the newest `keep`, and temporary files that a crash left more than an hour ago. */
export const pruneBeside = async (path: string, keep: number, now: Date, backupFolder?: string): Promise<void> => {
  const base = backupBase(path, backupFolder)
  if (base !== path) await pruneBeside(base, keep, now)
  const folder = dirname(path)
  const prefix = `${basename(path)}.certctl-`
  const backups: string[] = []
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix)) continue
    const [, kind, nanoseconds] = /^(bak|tmp)\.(\d{19})$/.exec(name.slice(prefix.length)) ?? []
    if (nanoseconds === undefined) continue
    if (kind === "bak") backups.push(name)
    else if (now.getTime() - Number(BigInt(nanoseconds) / 1_000_000n) > staleAfterMs) await rm(join(folder, name))
  }
  // Fixed-width digits: text order is time order.
  for (const name of backups.sort().reverse().slice(keep)) await rm(join(folder, name), { force: true })
}

/** Mode and owner of the file to write: what the operator said, else what the replaced file has, else the connector's. */
export const placementOf = (file: PlannedPlace, present: PresentFile | null): Pick<NewFile, "mode" | "owner"> => {
  const keepsMode = present !== null && !(file.isKey && (present.mode & 0o007) !== 0)
  const mode = file.mode ?? (keepsMode ? present.mode : file.defaultMode)
  if (file.isKey && (mode & 0o007) !== 0) {
    throw new AppError("validation", `the mode of key ${file.path} must not let everybody on the host use it`)
  }
  if (file.owner !== undefined) {
    return { mode, owner: { uid: accountId("user", file.owner.user), gid: accountId("group", file.owner.group) } }
  }
  if (present !== null) return { mode, owner: { uid: present.uid, gid: present.gid } }
  if (process.getuid?.() !== 0) return { mode, owner: null }
  const user = (file.defaultUsers ?? []).map((name) => accountsIn("/etc/passwd").get(name)).find((entry) => entry)
  return { mode, owner: user === undefined ? null : { uid: user.id, gid: user.groupId } }
}

/** Accounts are read from the host's files; those of a directory service are given as numbers. */
const accountId = (kind: "user" | "group", account: string): number => {
  if (/^\d+$/.test(account)) return Number(account)
  const found = accountsIn(kind === "user" ? "/etc/passwd" : "/etc/group").get(account)
  if (found === undefined) throw new AppError("validation", `${kind} ${account} does not exist on this host`)
  return found.id
}

const accountsIn = (path: string): Map<string, { id: number; groupId: number }> => {
  const lines = readFileSync(path, "utf8").split("\n")
  return new Map(
    lines.map((line) => {
      const [name = "", , id, groupId] = line.split(":")
      return [name, { id: Number(id), groupId: Number(groupId) }]
    }),
  )
}
