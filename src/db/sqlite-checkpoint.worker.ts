/** The thread that writes the pages of SQLite's write-ahead log back into the database, beside whatever is committed meanwhile. */
import { parentPort } from "node:worker_threads"
import Database from "better-sqlite3"

export interface CheckpointRequest {
  readonly file: string
  readonly nativeBinding: string | undefined
}

export type CheckpointAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly message: string }

let connection: Database.Database | undefined

const open = ({ file, nativeBinding }: CheckpointRequest): Database.Database => {
  const opened = new Database(file, { fileMustExist: true, timeout: 1000, nativeBinding })
  // A checkpoint flushes the log first and the database before the log is used again: NORMAL does both.
  opened.pragma("synchronous = normal")
  return opened
}

const answer = (request: CheckpointRequest): CheckpointAnswer => {
  try {
    connection ??= open(request)
    // PASSIVE waits for nobody and makes nobody wait.
    connection.pragma("wal_checkpoint(passive)")
    return { kind: "done" }
  } catch (error) {
    return { kind: "failed", message: error instanceof Error ? error.message : String(error) }
  }
}

parentPort?.on("message", (request: CheckpointRequest) => parentPort?.postMessage(answer(request)))
// What is sent before there is somebody to receive it can get lost.
parentPort?.postMessage({ kind: "ready" } satisfies CheckpointAnswer)
