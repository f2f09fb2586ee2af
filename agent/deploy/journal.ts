/**
 * What a deployment is about to do, written down before it does it. A journal that is still there when the agent starts
 * belongs to a deployment that did not end: its files go back to the old bytes and the job is handed out anew.
 * It holds paths, digests and the reload command, never the files' content.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import * as v from "valibot"
import { AppError } from "../../src/errors"
import { replacePrivateFile, syncFolder } from "./durable-files"

const Present = v.object({ sha256: v.string(), mode: v.number(), uid: v.number(), gid: v.number() })

const JournalFile = v.object({
  path: v.string(),
  temporary: v.string(),
  backup: v.string(),
  /** SHA-256 of the bytes that are to be there. */
  wanted: v.string(),
  /** What was there; null when there was nothing. */
  was: v.nullable(Present),
})

const Journal = v.object({
  id: v.pipe(v.string(), v.regex(/^\d{19}$/)),
  address: v.string(),
  files: v.array(JournalFile),
  /** The reload commands that were started, in order: the service may have read the new files. */
  reloads: v.array(v.object({ key: v.string(), command: v.string() })),
})

export type JournalFile = v.InferOutput<typeof JournalFile>
export type Journal = v.InferOutput<typeof Journal>

export type JournalStore = ReturnType<typeof journalStore>

const namesIn = (folder: string): Promise<string[]> =>
  readdir(folder).catch((error) => {
    if (error.code === "ENOENT") return []
    throw error
  })

const textOf = (path: string): Promise<string | null> =>
  readFile(path, "utf8").catch((error) => {
    if (error.code === "ENOENT") return null
    throw error
  })

export const journalStore = (folder: string) => {
  const pathOf = (id: string) => join(folder, `${id}.json`)
  return {
    /** Durable when it returns. */
    async write(journal: Journal): Promise<void> {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await replacePrivateFile(pathOf(journal.id), JSON.stringify(journal))
    },

    /** Durable when it returns: from here on the deployment counts as done, or as undone. */
    async remove(id: string): Promise<void> {
      await rm(pathOf(id), { force: true })
      await syncFolder(folder)
    },

    /** Removes what a process left that was killed while it wrote. For the start: later on it may be another deployment's. */
    async removeHalfWritten(): Promise<void> {
      for (const name of await namesIn(folder)) {
        if (/^\d{19}\.json\.[0-9a-f]+\.tmp$/.test(name)) await rm(join(folder, name), { force: true })
      }
    },

    /** Every journal, oldest first. A half-written one never has its final name, so an unreadable one is a fault to report. */
    async all(): Promise<Journal[]> {
      const journals: Journal[] = []
      for (const name of (await namesIn(folder)).filter((entry) => /^\d{19}\.json$/.test(entry)).sort()) {
        const text = await textOf(join(folder, name))
        // Its deployment ended just now.
        if (text === null) continue
        const parsed = v.safeParse(Journal, parseJson(text))
        if (!parsed.success) throw new AppError("internal", `deployment journal ${join(folder, name)} cannot be read`)
        journals.push(parsed.output)
      }
      return journals
    },
  }
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    // Not JSON is not a journal: the schema says so.
    return null
  }
}
