import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { AppError } from "../errors"
import { berToDer } from "./ber"
import { tags } from "./der.reader"
import { element } from "./der.writer"

type Node = { readonly tag: number; readonly content: Uint8Array } | { readonly tag: number; readonly nodes: Node[] }

const primitive = fc.record({
  tag: fc.constantFrom(tags.integer, tags.octetString, tags.oid, tags.utf8String, 0x80, 0x81),
  content: fc.uint8Array({ maxLength: 300 }),
})

const { node } = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, depthSize: "small" },
    primitive,
    fc.record({
      tag: fc.constantFrom<number>(tags.sequence, tags.set, 0xa0, 0xa3),
      nodes: fc.array(tie("node"), { maxLength: 5 }),
    }),
  ),
}))

const asDer = (tree: Node): Buffer =>
  "nodes" in tree ? element(tree.tag, ...tree.nodes.map(asDer)) : element(tree.tag, tree.content)

const longLength = (length: number): Buffer => {
  const bytes = Buffer.alloc(5)
  bytes[0] = 0x84
  bytes.writeUInt32BE(length, 1)
  return bytes
}

/** The same value, written as wastefully as `choose` wants it. */
const asBer = (tree: Node, choose: () => number): Buffer => {
  if ("nodes" in tree) {
    const content = Buffer.concat(tree.nodes.map((child) => asBer(child, choose)))
    return choose() % 2 === 0
      ? Buffer.concat([Buffer.from([tree.tag, 0x80]), content, Buffer.from([0, 0])])
      : Buffer.concat([Buffer.from([tree.tag]), longLength(content.length), content])
  }
  if (tree.tag !== tags.octetString || choose() % 2 === 0) {
    return Buffer.concat([Buffer.from([tree.tag]), longLength(tree.content.length), tree.content])
  }
  const at = choose() % (tree.content.length + 1)
  const pieces = [tree.content.subarray(0, at), tree.content.subarray(at)].map((piece) => element(4, piece))
  return Buffer.concat([Buffer.from([0x24, 0x80]), ...pieces, Buffer.from([0, 0])])
}

const refusal = (bytes: Buffer): unknown => {
  try {
    return berToDer(bytes, "message")
  } catch (error) {
    return error
  }
}

describe("BER to DER", () => {
  test("leaves DER as it is, and finds the DER of any other way to write the same", () => {
    fc.assert(
      fc.property(node, fc.array(fc.nat(1000), { minLength: 1, maxLength: 50 }), (tree, choices) => {
        const der = asDer(tree)
        expect(berToDer(der, "message")).toEqual(der)
        let at = 0
        const choose = () => choices[at++ % choices.length] ?? 0
        expect(berToDer(asBer(tree, choose), "message")).toEqual(der)
      }),
    )
  })

  test("reads any bytes or fails with its own error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const outcome = refusal(Buffer.from(bytes))
        if (!Buffer.isBuffer(outcome)) expect(outcome).toMatchObject({ name: "AppError", code: "validation" })
      }),
    )
  })

  test("ends early on what is nested without end, split without end, or promises more than there is", () => {
    const nested = Buffer.alloc(1_000_000, Buffer.from([0x30, 0x80]))
    const split = Buffer.concat([Buffer.from([0x24, 0x80]), Buffer.alloc(1_000_000, Buffer.from([0x04, 0x00]))])
    const huge = Buffer.from("3088ffffffffffffffff00", "hex")
    for (const bytes of [nested, split, huge, Buffer.from([0x30, 0x80]), Buffer.from([0x04, 0x80, 0, 0])]) {
      expect(refusal(bytes)).toBeInstanceOf(AppError)
    }
  })
})
