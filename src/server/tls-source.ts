/** What the listener needs of whoever provides its certificate. */

export interface TlsMaterial {
  /** Leaf first, then whatever the handshake presents beside it. */
  readonly certificatePem: string
  readonly privateKeyPem: string
}

export interface TlsSource {
  current(): TlsMaterial
  /** Calls `hear` after every change of `current()`. Returns what ends the subscription. */
  onChange(hear: () => void): () => void
  /** Looks for a reason to change now: a due renewal, new names, edited files. Runs by itself from time to time, too. */
  check(): Promise<void>
  close(): void
}

export interface TlsLog {
  info(line: string): void
  warn(line: string): void
  error(line: string): void
}

/** The subscribers of one source. */
export const changeSignal = () => {
  const hearers = new Set<() => void>()
  return {
    onChange(hear: () => void) {
      hearers.add(hear)
      return () => void hearers.delete(hear)
    },
    announce() {
      for (const hear of hearers) hear()
    },
  }
}
