/** The root of a Merkle tree (RFC 9162 section 2.1.1) over leaf hashes that come one by one; keeps one hash per level. */
import { createHash } from "node:crypto"

const nodeHash = (left: Buffer, right: Buffer): Buffer =>
  createHash("sha256").update(Uint8Array.of(1)).update(left).update(right).digest()

export const treeHash = () => {
  /** Roots of full subtrees, largest first: one for each bit of the number of leaves. */
  const full: { hash: Buffer; leaves: number }[] = []
  let size = 0
  return {
    size: () => size,

    /** @param leafHash lower-case hex */
    add(leafHash: string): void {
      let added: { hash: Buffer; leaves: number } = { hash: Buffer.from(leafHash, "hex"), leaves: 1 }
      for (let last = full.at(-1); last?.leaves === added.leaves; last = full.at(-1)) {
        full.pop()
        added = { hash: nodeHash(last.hash, added.hash), leaves: 2 * added.leaves }
      }
      full.push(added)
      size += 1
    },

    /** Of all leaves so far, lower-case hex. */
    root(): string {
      const [smallest, ...larger] = full.toReversed().map(({ hash }) => hash)
      const root = smallest ?? createHash("sha256").digest()
      return larger.reduce((right, left) => nodeHash(left, right), root).toString("hex")
    },
  }
}
