/** Works on many rows in shared transactions, without letting one of them spoil it for the others. */

export interface Batches<R> {
  /** Rows of one transaction. */
  readonly size: number
  /** Transactions at once. */
  readonly parallel: number
  /** One transaction for all of them. */
  readonly settle: (ids: readonly string[]) => Promise<readonly R[]>
  readonly onRowError: (id: string, error: unknown) => void
  readonly signal: AbortSignal
}

/** Begins with the first ids. Where a batch fails, each of its rows is tried by itself. Returns what `settle` gave, of all. */
export const inBatches = async <R>(
  ids: readonly string[],
  { size, parallel, settle, onRowError, signal }: Batches<R>,
): Promise<R[]> => {
  const done: R[] = []
  const settleBatch = async (batch: readonly string[]): Promise<void> => {
    try {
      done.push(...(await settle(batch)))
    } catch (error) {
      const [first = ""] = batch
      if (batch.length > 1) for (const id of batch) await settleBatch([id])
      else onRowError(first, error)
    }
  }
  const batches: (readonly string[])[] = []
  for (let from = 0; from < ids.length; from += size) batches.push(ids.slice(from, from + size))
  const waiting = batches.values()
  await Promise.all(
    Array.from({ length: Math.min(parallel, batches.length) }, async () => {
      for (const batch of waiting) if (!signal.aborted) await settleBatch(batch)
    }),
  )
  return done
}
