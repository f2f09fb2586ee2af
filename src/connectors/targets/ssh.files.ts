/**
 * Replaces files of another host together, over a connection that may break and from a process that may be killed at any point.
 *
 * Before the first file is replaced every old one stands beside its place as `<path>.certctl-bak`, that of the first file written
 * last; an empty one says that there was nothing. Removing the first file's is what makes a deployment final. So while it is there
 * the others are whole and hold what was there before, and the files themselves may be a mixture.
 */
import { AppError, messageOf } from "../../errors"
import type { RemoteFile, SshSession } from "./ssh.client"

export interface NewRemoteFile {
  /** What it is, in reports: cert, key, chain. */
  readonly role: string
  readonly path: string
  readonly bytes: Uint8Array
  readonly mode: number
  readonly isKey: boolean
}

/** What became of the old bytes of one file. */
type BackupStatus = "no_pre_existing" | "snapshotted" | "restored" | "removed" | "restore_failed"

interface Kept {
  readonly file: NewRemoteFile
  /** What stood there; null when there was nothing. */
  readonly was: RemoteFile | null
  status: BackupStatus
}

export type Snapshot = readonly Kept[]

const backupOf = (path: string): string => `${path}.certctl-bak`
const temporaryOf = (path: string): string => `${path}.certctl-tmp`

/** The files with every link followed once: what a link leads to is replaced, the link stays. */
export const resolveAll = (session: SshSession, files: readonly NewRemoteFile[]): Promise<NewRemoteFile[]> =>
  Promise.all(files.map(async (file) => ({ ...file, path: await session.resolve(file.path) })))

/** Whether an earlier deployment of these files was neither finished nor undone. */
export const isInterrupted = async (session: SshSession, files: readonly NewRemoteFile[]): Promise<boolean> => {
  const [first] = files
  return first !== undefined && (await session.read(backupOf(first.path))) !== null
}

/** Whether every file holds its bytes. */
export const areInPlace = async (session: SshSession, files: readonly NewRemoteFile[]): Promise<boolean> => {
  for (const { path, bytes } of files) {
    const present = await session.read(path)
    if (present === null || !present.bytes.equals(bytes)) return false
  }
  return true
}

/**
 * What stood there before certctl touched it, kept in memory and beside the files. When an earlier deployment was interrupted
 * that is what its backups hold, not what it left. Changes no file that anybody uses.
 */
export const keepOld = async (session: SshSession, files: readonly NewRemoteFile[]): Promise<Snapshot> => {
  const wasInterrupted = await isInterrupted(session, files)
  const snapshot: Kept[] = []
  for (const file of files) {
    const present = await session.read(file.path)
    const was = wasInterrupted ? await fromBackup(session, file, present) : present
    snapshot.push({ file, was, status: was === null ? "no_pre_existing" : "snapshotted" })
  }
  if (wasInterrupted) return snapshot
  try {
    for (const { file, was } of snapshot.toReversed()) {
      const mode = file.isKey ? 0o600 : (was?.mode ?? 0o600)
      await put(session, backupOf(file.path), was?.bytes ?? Buffer.alloc(0), mode, was)
    }
  } catch (error) {
    // Copies of a key for nothing. That they cannot be removed is no more than what made the writing fail.
    for (const { file } of snapshot) {
      for (const path of [backupOf(file.path), temporaryOf(backupOf(file.path))]) {
        await session.remove(path).catch(() => undefined)
      }
    }
    throw error
  }
  return snapshot
}

/** A key's backup is private whatever its mode was, so that of what stands there now is the better guess. */
const fromBackup = async (
  session: SshSession,
  { path, isKey }: NewRemoteFile,
  present: RemoteFile | null,
): Promise<RemoteFile | null> => {
  const backup = await session.read(backupOf(path))
  // A file that the interrupted deployment did not know.
  if (backup === null) return present
  if (backup.bytes.length === 0) return null
  return isKey && present !== null ? { ...backup, mode: present.mode } : backup
}

const put = async (
  session: SshSession,
  path: string,
  bytes: Uint8Array,
  mode: number,
  owner: Pick<RemoteFile, "uid" | "gid"> | null,
): Promise<void> => {
  await session.create(temporaryOf(path), bytes, mode, owner)
  await session.rename(temporaryOf(path), path)
}

/** Writes everything beside its place, then swaps one after the other. */
export const replaceAll = async (session: SshSession, snapshot: Snapshot): Promise<void> => {
  for (const { file, was } of snapshot) await session.create(temporaryOf(file.path), file.bytes, file.mode, was)
  for (const { file } of snapshot) await session.rename(temporaryOf(file.path), file.path)
}

const isAsBefore = (was: RemoteFile, now: RemoteFile | null): boolean =>
  now !== null && was.bytes.equals(now.bytes) && was.mode === now.mode && was.uid === now.uid && was.gid === now.gid

/** Brings the old state back, file by file, and notes in the snapshot what became of each. Never throws; may be repeated. */
export const putBack = async (session: SshSession, snapshot: Snapshot): Promise<string[]> => {
  const problems: string[] = []
  // First, since what is to be put back may need their room. Where even this fails, the files themselves are what counts.
  for (const { file } of snapshot) await session.remove(temporaryOf(file.path)).catch(() => undefined)
  for (const kept of snapshot) {
    const { file, was } = kept
    try {
      if (was === null) await session.remove(file.path)
      // What was never replaced is left alone: on a full disk it could not be written again.
      else if (!isAsBefore(was, await session.read(file.path))) {
        await put(session, file.path, was.bytes, was.mode, was)
      }
      await session.remove(temporaryOf(file.path))
      kept.status = was === null ? "removed" : "restored"
    } catch (error) {
      kept.status = "restore_failed"
      problems.push(messageOf(error))
    }
  }
  // The backups of what could not be restored are the only copies left.
  if (problems.length === 0) {
    await forgetOld(session, snapshot).catch((error) => problems.push(messageOf(error)))
  }
  return problems
}

/** From here on the files are final. */
export const forgetOld = async (session: SshSession, snapshot: Snapshot): Promise<void> => {
  for (const { file } of snapshot) await session.remove(backupOf(file.path))
}

/** `backup_status_cert=restored, …`; a file that the plan does not have is n/a. */
export const statusOf = (snapshot: Snapshot | null, roles: readonly string[]): string =>
  roles
    .map((role) => `backup_status_${role}=${snapshot?.find(({ file }) => file.role === role)?.status ?? "n/a"}`)
    .join(", ")

/** Fails with `upstream`, naming the key, when a file could not be written, without changing one that is in use. */
export const tryPlaces = async (
  session: SshSession,
  places: readonly { readonly key: string; readonly path: string }[],
): Promise<void> => {
  for (const { key, path } of places) {
    const folder = path.slice(0, path.lastIndexOf("/")) || "/"
    const attempt = `${path}.certctl-write-test`
    try {
      if (!(await session.isFolder(folder))) throw new AppError("upstream", `${folder} is no folder of the host`)
      await session.read(path)
      try {
        await session.create(attempt, Buffer.from("\n"), 0o600, null)
      } finally {
        await session.remove(attempt)
      }
    } catch (error) {
      throw new AppError("upstream", `${key}: ${messageOf(error)}`, { cause: error })
    }
  }
}
