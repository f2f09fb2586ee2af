/**
 * The thread that runs SQLite's slow reads, so that the one that answers requests never waits for them. It has a connection of its
 * own, which sees committed data only and cannot write.
 */
import { parentPort } from "node:worker_threads"
import Database from "better-sqlite3"
import { withStablePlan } from "./sqlite-statements"

export interface ScanRequest {
  readonly file: string
  readonly nativeBinding: string | undefined
  readonly text: string
  readonly parameters: readonly unknown[]
}

export type ScanAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "rows"; readonly rows: readonly unknown[][] }
  | { readonly kind: "failed"; readonly message: string; readonly code: string | undefined }

let connection: Database.Database | undefined

const open = ({ file, nativeBinding }: ScanRequest): Database.Database => {
  const opened = new Database(file, { readonly: true, fileMustExist: true, timeout: 1000, nativeBinding })
  opened.pragma("query_only = on")
  return opened
}

const answer = (request: ScanRequest): ScanAnswer => {
  try {
    connection ??= open(request)
    const rows = connection
      .prepare<unknown[], unknown[]>(withStablePlan(request.text))
      .raw()
      .all(...request.parameters)
    return { kind: "rows", rows }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined
    return { kind: "failed", message, code }
  }
}

parentPort?.on("message", (request: ScanRequest) => parentPort?.postMessage(answer(request)))
// What is sent before there is somebody to receive it can get lost.
parentPort?.postMessage({ kind: "ready" } satisfies ScanAnswer)
