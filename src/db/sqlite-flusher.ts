/** Flushes the write-ahead log of a SQLite file beside the thread that answers requests, which inside COMMIT would wait for the disk. */

import { closeSync, fdatasync, openSync } from "node:fs"
import { AppError, messageOf } from "../errors"

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT"

export class LogFlusher {
  readonly #path: string
  #descriptor: number | undefined
  /** The newest flush that has begun. Never rejects. */
  #last: Promise<unknown> = Promise.resolve()
  /** The one that begins after it, for all who came meanwhile. */
  #next: Promise<void> | undefined
  #failure: AppError | undefined

  /** @param file the database; its log lies beside it */
  constructor(file: string) {
    this.#path = `${file}-wal`
  }

  /**
   * Resolves when everything that was committed before the call would survive a power failure. After a flush that failed nobody knows
   * what is on the disk, and another one would not tell: it and all later ones fail with `unavailable`.
   */
  flushed(): Promise<void> {
    this.#next ??= this.#last.then(() => {
      this.#next = undefined
      const flush = this.#flush()
      this.#last = flush.catch(() => undefined)
      return flush
    })
    return this.#next
  }

  /** After whatever flush is under way. */
  async close(): Promise<void> {
    await this.#next?.catch(() => undefined)
    await this.#last
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  async #flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    try {
      // Kept open. SQLite takes no lock on the log, so closing it would release none either; the file stays as long as a connection does.
      this.#descriptor ??= openSync(this.#path, "r+")
      const descriptor = this.#descriptor
      await new Promise<void>((resolve, reject) => {
        fdatasync(descriptor, (error) => (error ? reject(error) : resolve()))
      })
    } catch (cause) {
      // Nothing was ever written.
      if (isMissing(cause)) return
      this.#failure = new AppError(
        "unavailable",
        `the disk failed to keep what was written to the database (${messageOf(cause)}): look at the disk, then restart the server`,
        { cause },
      )
      throw this.#failure
    }
  }
}
