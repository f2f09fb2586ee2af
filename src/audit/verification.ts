/**
 * Recomputes the sealed audit trail. Every event must still hash to its leaf and the numbers have no gap. Whoever can write the
 * database could also cut off the newest leaves, or compute all of them anew: that shows only against a root hash that was noted
 * elsewhere before.
 */
import { leafHash } from "./leaf"
import type { LeafStore } from "./leaf.store"
import { treeHash } from "./tree-hash"

/** What an earlier run printed. */
export interface NotedRoot {
  readonly size: number
  /** Lower-case hex. */
  readonly root: string
}

export interface Verification {
  /** Sealed events that are in order, counted from the first. */
  readonly size: number
  /** Of these. */
  readonly root: string
  /** Events that no leaf seals yet; usually those of the last seconds. */
  readonly unsealed: number
  /** The first thing that is wrong, in words; null when nothing is. */
  readonly problem: string | null
}

interface Options {
  readonly leaves: Pick<LeafStore, "leavesAfter" | "lastSeq" | "countEvents">
  readonly noted?: NotedRoot | null
  readonly onProgress?: (size: number, total: number) => void
  readonly batchSize?: number
}

type Row = Awaited<ReturnType<LeafStore["leavesAfter"]>>[number]

const problemOf = ({ leaf, event }: Row, expectedSeq: number): string | null => {
  if (leaf.seq !== expectedSeq) return `number ${expectedSeq} is missing; the next one is ${leaf.seq}`
  if (event === null) return `number ${leaf.seq}: event ${leaf.eventId} is missing`
  if (leafHash(event) !== leaf.leafHash) {
    return `number ${leaf.seq}: event ${leaf.eventId} (${event.action} of ${event.timestamp.toISOString()}) is not what was sealed`
  }
  return null
}

/** Reads batch by batch, in memory of one batch, up to the last leaf there was at the beginning. Stops at the first problem. */
export const verifyTrail = async (options: Options): Promise<Verification> => {
  const { leaves, noted = null, onProgress, batchSize = 2000 } = options
  const total = await leaves.lastSeq()
  const tree = treeHash()
  const endWith = async (problem: string | null): Promise<Verification> => {
    const unsealed = Math.max(0, (await leaves.countEvents()) - (await leaves.lastSeq()))
    return { size: tree.size(), root: tree.root(), unsealed, problem }
  }
  while (tree.size() < total) {
    const rows = await leaves.leavesAfter(tree.size(), batchSize)
    if (rows.length === 0) return endWith(`number ${tree.size() + 1} is missing, and so are all after it`)
    for (const row of rows) {
      const problem = problemOf(row, tree.size() + 1)
      if (problem !== null) return endWith(problem)
      tree.add(row.leaf.leafHash)
      if (noted?.size === tree.size() && tree.root() !== noted.root) {
        return endWith(
          `the first ${noted.size} events are not those whose root hash was noted: their root is ${tree.root()} now`,
        )
      }
    }
    onProgress?.(tree.size(), total)
  }
  if (noted !== null && tree.size() < noted.size) {
    return endWith(`only ${tree.size()} events are sealed, but there were ${noted.size} when the root hash was noted`)
  }
  return endWith(null)
}
