/**
 * Carries signals between the processes on one PostgreSQL database. They leave after the COMMIT and in bundles, not with
 * `pg_notify` inside the transaction: a committing transaction that notifies holds a lock for the whole server, which would make
 * all others wait for its fsync.
 */

import { randomBytes } from "node:crypto"
import type { Logger } from "@logtape/logtape"
import type { Sql } from "postgres"
import type { Signal } from "./guard"
import { connectLazily } from "./postgres-connection"
import type { PostgresPool } from "./postgres-pool"

const channel = "certctl_signals"
/** Between two bundles: under load there would be one for nearly every commit. */
const pauseMs = 50

interface Message extends Signal {
  /** Which process sent it: its own subscribers heard it at the commit. */
  readonly sender: string
}

export class PostgresSignals {
  readonly #sender = randomBytes(8).toString("hex")
  readonly #queued = new Set<string>()
  #sending: Promise<void> | undefined
  #listener: Sql | undefined
  #closed = false

  constructor(
    private readonly options: {
      readonly url: string
      readonly pool: PostgresPool
      readonly hear: (topic: string, payload: string) => void
      readonly logger: Logger
    },
  ) {}

  send(signals: readonly Signal[]): void {
    // The same news twice is one message: nobody learns more from the second.
    for (const signal of signals)
      this.#queued.add(JSON.stringify({ sender: this.#sender, ...signal } satisfies Message))
    if (this.#queued.size > 0) this.#sending ??= this.#flush()
  }

  /** Connects at the first subscription; a command that only writes needs no second connection. */
  listen(): void {
    if (this.#listener !== undefined || this.#closed) return
    const { url, hear, logger } = this.options
    this.#listener = connectLazily(url)
    // Subscribes again by itself whenever its connection comes back.
    this.#listener
      .listen(channel, (text) => {
        const message = parseMessage(text)
        if (message === null) logger.warn("a notification on {channel} has an unknown form", { channel })
        else if (message.sender !== this.#sender) hear(message.topic, message.payload)
      })
      .catch((error: unknown) => {
        if (!this.#closed) logger.warn("no signals from other servers for now: {error}", { error })
      })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#sending
    await this.#listener?.end({ timeout: 1 })
  }

  async #flush(): Promise<void> {
    while (this.#queued.size > 0) {
      const messages = [...this.#queued]
      this.#queued.clear()
      try {
        await this.options.pool.query(
          "select pg_notify($1, value) from json_array_elements_text($2::text::json) as messages(value)",
          [channel, JSON.stringify(messages)],
        )
      } catch (error) {
        // Whoever waits for these polls as well, so there is nothing to repeat.
        this.options.logger.warn("{count} signals did not reach other servers: {error}", {
          count: messages.length,
          error,
        })
      }
      if (!this.#closed) await Bun.sleep(pauseMs)
    }
    this.#sending = undefined
  }
}

const parseMessage = (text: string): Message | null => {
  try {
    const message: Partial<Message> | null = JSON.parse(text)
    const { sender, topic, payload } = message ?? {}
    return typeof sender === "string" && typeof topic === "string" && typeof payload === "string"
      ? { sender, topic, payload }
      : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
