/**
 * Keeps SQLite's write-ahead log short. A thread of its own writes the pages back while transactions go on; the log begins anew only when
 * all of it is in the database, so the writer waits for the last little. Reads wait for none of it.
 */

import { Worker } from "node:worker_threads"
import type { Logger } from "@logtape/logtape"
import { messageOf } from "../errors"
import type { CheckpointAnswer, CheckpointRequest } from "./sqlite-checkpoint.worker"

export interface CheckpointerOptions extends CheckpointRequest {
  /** Pages of the log that are not in the database yet. */
  readonly unwritten: () => number
  /** Writes them back in this thread: where there is no other. */
  readonly writeBack: () => void
  readonly logger: Logger
  /** Pages at which it begins; 32 MiB unless told. */
  readonly longestLog?: number
  /** Least time between two looks at the log: one takes half as long as a small commit. */
  readonly lookEveryMs?: number
}

/** After 4 MiB, as usual, most of the pages that are written back are about to change again. */
const usualLongestLog = 8192
/** Few enough for the writer to wait for: some ten milliseconds. */
const shortRest = 512
/** Beside the writer. Where it is faster than they are, it has to wait for more in the end. */
const mostPasses = 4

export class Checkpointer {
  readonly #options: CheckpointerOptions
  readonly #longestLog: number
  #thread: CheckpointThread | undefined
  #running: Promise<void> | undefined
  readonly #lookEveryMs: number
  #lookedAt = Number.NEGATIVE_INFINITY
  #isNearlyDone = false
  #isClosed = false

  constructor({ longestLog = usualLongestLog, lookEveryMs = 10, ...options }: CheckpointerOptions) {
    this.#options = options
    this.#lookEveryMs = lookEveryMs
    this.#longestLog = longestLog
  }

  /** To be called after every commit. */
  committed(): void {
    if (this.#isClosed || this.#isNearlyDone || this.#running !== undefined) return
    const now = performance.now()
    if (now - this.#lookedAt < this.#lookEveryMs) return
    this.#lookedAt = now
    if (this.#options.unwritten() < this.#longestLog) return
    this.#running = this.#writeMost().finally(() => {
      this.#running = undefined
    })
  }

  /** To be awaited before the writer begins again; undefined where there is nothing to wait for, which is most of the time. */
  pause(): Promise<void> | undefined {
    if (!this.#isNearlyDone) return undefined
    this.#isNearlyDone = false
    this.#running = this.#pass().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running
    await this.#thread?.end()
  }

  async #writeMost(): Promise<void> {
    for (let pass = 1; pass <= mostPasses && !this.#isClosed; pass++) {
      await this.#pass()
      if (this.#options.unwritten() <= shortRest) break
    }
    this.#isNearlyDone = this.#options.unwritten() > 0
  }

  /** One pass over what is in the log when it begins. */
  async #pass(): Promise<void> {
    const { file, nativeBinding, writeBack, logger } = this.#options
    try {
      this.#thread ??= new CheckpointThread()
      await this.#thread.run({ file, nativeBinding })
    } catch (error) {
      // The next pass has another thread; a log that only grows would fill the disk.
      logger.warn("the thread that shortens the write-ahead log failed: {reason}", { reason: messageOf(error) })
      await this.#thread?.end()
      this.#thread = undefined
      if (!this.#isClosed) writeBack()
    }
  }
}

class CheckpointThread {
  readonly #worker = new Worker(new URL("./sqlite-checkpoint.worker.ts", import.meta.url))
  readonly #ready = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<never>()
  #heard: ((answer: CheckpointAnswer) => void) | undefined

  constructor() {
    this.#worker.unref()
    this.#worker.on("message", (answer: CheckpointAnswer) => {
      if (answer.kind === "ready") this.#ready.resolve()
      else this.#heard?.(answer)
    })
    this.#worker.on("error", (error) => this.#ended.reject(error))
    this.#worker.on("exit", () => this.#ended.reject(new Error("the thread ended")))
    // Whoever waits hears of it; nobody may be waiting.
    this.#ended.promise.catch(() => undefined)
  }

  async run(request: CheckpointRequest): Promise<void> {
    await Promise.race([this.#ready.promise, this.#ended.promise])
    const { promise, resolve } = Promise.withResolvers<CheckpointAnswer>()
    this.#heard = resolve
    this.#worker.postMessage(request)
    const answer = await Promise.race([promise, this.#ended.promise])
    if (answer.kind === "failed") throw new Error(answer.message)
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
