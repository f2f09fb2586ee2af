/**
 * Slow reads of a SQLite file, each in one of a few threads. Threads start with the first scan. One that does not answer in time, or
 * dies, is given up with the scan it was at, and another takes its place.
 */
import { Worker } from "node:worker_threads"
import { drizzle } from "drizzle-orm/sqlite-proxy"
import { AppError } from "../errors"
import type { Query } from "./db"
import { withoutQueryErrors } from "./errors"
import { refuseInsideTransaction } from "./guard"
import type { ScanAnswer, ScanRequest } from "./sqlite-scan.worker"

export interface SqliteScannerOptions {
  readonly file: string
  readonly nativeBinding: string | undefined
  /** From the moment a thread begins with it. */
  readonly deadlineMilliseconds: number
  readonly maxThreads?: number
  /** Scans that may wait for a thread. */
  readonly maxWaiting?: number
}

interface Scan {
  readonly request: ScanRequest
  readonly resolve: (rows: unknown[][]) => void
  readonly reject: (error: Error) => void
}

/** SQLite's error, as the connection of this thread would throw it. */
class ScanError extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
  ) {
    super(message)
    this.name = "SqliteError"
  }
}

export class SqliteScanner {
  readonly query: Query
  readonly #options: Required<SqliteScannerOptions>
  readonly #waiting: Scan[] = []
  readonly #threads = new Set<Thread>()
  #closed = false

  constructor(options: SqliteScannerOptions) {
    this.#options = { maxThreads: 2, maxWaiting: 200, ...options }
    const builder = drizzle(async (text, parameters) => {
      refuseInsideTransaction("a scan")
      return { rows: await this.#run(text, parameters) }
    })
    // Theirs, but hidden from the types.
    withoutQueryErrors((builder as unknown as { session: object }).session)
    this.query = builder as unknown as Query
  }

  /** Scans that are not done are refused. */
  close(): void {
    this.#closed = true
    for (const thread of this.#threads) thread.end(closedError())
    for (const scan of this.#waiting.splice(0)) scan.reject(closedError())
  }

  #run(text: string, parameters: readonly unknown[]): Promise<unknown[][]> {
    const { file, nativeBinding, maxWaiting } = this.#options
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closedError()
      if (this.#waiting.length >= maxWaiting) {
        throw new AppError("unavailable", `${maxWaiting} searches are waiting already: try again later`)
      }
      this.#waiting.push({ request: { file, nativeBinding, text, parameters }, resolve, reject })
      this.#assign()
    })
  }

  /** Gives what waits to threads without work, and starts one more when all are busy. */
  #assign(): void {
    for (const thread of this.#threads) {
      if (thread.isIdle) this.#take(thread)
    }
    if (this.#waiting.length > 0 && this.#threads.size < this.#options.maxThreads) this.#start()
  }

  #take(thread: Thread): void {
    const scan = this.#waiting.shift()
    if (scan !== undefined) thread.run(scan)
  }

  #start(): void {
    const thread = new Thread(this.#options.deadlineMilliseconds, {
      idle: () => this.#assign(),
      ended: () => {
        this.#threads.delete(thread)
        if (!this.#closed) this.#assign()
      },
    })
    this.#threads.add(thread)
  }
}

interface ThreadEvents {
  idle(): void
  ended(): void
}

class Thread {
  readonly #worker: Worker
  #current: { readonly scan: Scan; readonly timer: ReturnType<typeof setTimeout> } | undefined
  #isReady = false
  #hasEnded = false

  constructor(
    readonly deadlineMilliseconds: number,
    readonly events: ThreadEvents,
  ) {
    this.#worker = new Worker(new URL("./sqlite-scan.worker.ts", import.meta.url))
    this.#worker.unref()
    this.#worker.on("message", (answer: ScanAnswer) => this.#hear(answer))
    this.#worker.on("error", (error) => this.end(new Error("the thread for searches failed", { cause: error })))
    this.#worker.on("exit", () => this.end(new Error("the thread for searches ended")))
  }

  get isIdle(): boolean {
    return this.#isReady && this.#current === undefined
  }

  run(scan: Scan): void {
    const late = () =>
      this.end(
        new AppError("unavailable", `the search took longer than ${this.deadlineMilliseconds} ms: narrow it down`),
      )
    this.#current = { scan, timer: setTimeout(late, this.deadlineMilliseconds) }
    this.#worker.postMessage(scan.request)
  }

  end(reason: Error): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#isReady = false
    // A thread inside SQLite goes on until the statement is done and ends then; nobody waits for it.
    void this.#worker.terminate()
    this.#finish((scan) => scan.reject(reason))
    this.events.ended()
  }

  #hear(answer: ScanAnswer): void {
    if (this.#hasEnded) return
    if (answer.kind === "ready") this.#isReady = true
    else if (answer.kind === "rows") this.#finish((scan) => scan.resolve(answer.rows as unknown[][]))
    else this.#finish((scan) => scan.reject(new ScanError(answer.message, answer.code)))
    this.events.idle()
  }

  #finish(how: (scan: Scan) => void): void {
    const current = this.#current
    this.#current = undefined
    if (current === undefined) return
    clearTimeout(current.timer)
    how(current.scan)
  }
}

const closedError = () => new Error("the database is closed")
