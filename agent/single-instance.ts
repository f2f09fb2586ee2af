/** One agent per data directory: two would undo each other's deployments and race for the staged keys. */
import { Database } from "bun:sqlite"
import { join } from "node:path"
import { AppError } from "../src/errors"

/**
 * Holds a lock for the life of the process; the returned function lets go. A lock of the operating system behind SQLite:
 * kill -9 frees it, and no stale file has to be judged. Fails with `conflict` when another agent runs.
 */
export const holdDataDirectory = (dataDir: string): (() => void) => {
  const lock = new Database(join(dataDir, "agent.lock"), { create: true })
  try {
    lock.run("pragma busy_timeout = 0")
    lock.run("begin exclusive")
  } catch (error) {
    lock.close()
    throw new AppError("conflict", `another agent runs with data directory ${dataDir}`, { cause: error })
  }
  return () => lock.close()
}
