/** Who listens in this process. Runs what a transaction asked for once it is committed. */

import type { Logger } from "@logtape/logtape"
import type { Turn } from "./guard"

/** Sent by SQLite's writer itself, whatever it was that changed some thousand rows. */
export const manyRowsChanged = "many_rows_changed"

export class Subscribers {
  readonly #byTopic = new Map<string, Set<(payload: string) => void>>()

  constructor(private readonly logger: Logger) {}

  add(topic: string, hear: (payload: string) => void): () => void {
    const hearers = this.#byTopic.get(topic) ?? new Set()
    this.#byTopic.set(topic, hearers)
    // The same function may subscribe twice; each subscription ends by itself.
    const hearer = (payload: string) => hear(payload)
    hearers.add(hearer)
    return () => {
      hearers.delete(hearer)
      if (hearers.size === 0 && this.#byTopic.get(topic) === hearers) this.#byTopic.delete(topic)
    }
  }

  emit(topic: string, payload: string): void {
    for (const hear of [...(this.#byTopic.get(topic) ?? [])]) this.#safely(() => hear(payload), `signal ${topic}`)
  }

  /** The transaction is durable by now: a failing effect is reported and changes nothing for the caller. */
  committed(turn: Turn): void {
    for (const effect of turn.effects) this.#safely(effect, "an effect after a commit")
    for (const { topic, payload } of turn.signals) this.emit(topic, payload)
  }

  #safely(run: () => void, what: string): void {
    try {
      run()
    } catch (error) {
      this.logger.error("{what} failed: {error}", { what, error })
    }
  }
}

/** PostgreSQL refuses notifications of 8,000 bytes; the rest is left for the sender's mark. */
const maxMessageBytes = 7500

/** Both dialects refuse what one of them could not carry. */
export const demandSmallPayload = (topic: string, payload: string): void => {
  if (Buffer.byteLength(JSON.stringify([topic, payload])) > maxMessageBytes) {
    throw new RangeError(`signal ${topic}: its payload is longer than ${maxMessageBytes} bytes; send an id instead`)
  }
}
