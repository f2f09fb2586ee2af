/**
 * BER to DER (X.690 section 8.1.3.6 and 8.7.3): Java and OpenSSL write CMS messages with lengths that are not told in advance
 * and octet strings in pieces (RFC 5652 section 1 allows it). What is DER already comes back as it was.
 */
import { AppError } from "../errors"
import { element } from "./der.writer"

// Deeper or finer than any message; bounds the work that hostile bytes can cause.
const maxDepth = 32
const maxElements = 50_000

const constructed = 0x20
const octetString = 0x04

interface Walk {
  readonly bytes: Buffer
  readonly what: string
  elements: number
}

interface Step {
  readonly tag: number
  /** The whole element as DER. */
  readonly der: Buffer
  /** Where its content begins in `der`. */
  readonly head: number
  readonly next: number
}

const malformed = (what: string, problem: string): AppError => new AppError("validation", `${what}: ${problem}`)

/** Length octets at `at`; a length of -1 is the indefinite form. */
const readLength = ({ bytes, what }: Walk, at: number): { length: number; content: number } => {
  const first = bytes[at]
  if (first === undefined) throw malformed(what, "ends too early")
  if (first < 0x80) return { length: first, content: at + 1 }
  if (first === 0x80) return { length: -1, content: at + 1 }
  const count = first & 0x7f
  if (count > 8 || at + count >= bytes.length) throw malformed(what, "unsupported length form")
  let length = 0
  for (let i = 1; i <= count; i++) length = length * 256 + (bytes[at + i] ?? 0)
  return { length, content: at + 1 + count }
}

const isEndOfContents = ({ bytes }: Walk, at: number): boolean => bytes[at] === 0 && bytes[at + 1] === 0

const readElement = (walk: Walk, at: number, end: number, depth: number): Step => {
  const { bytes, what } = walk
  walk.elements += 1
  if (depth > maxDepth || walk.elements > maxElements)
    throw malformed(what, "is nested too deeply or has too many parts")
  const tag = bytes[at]
  if (tag === undefined || at >= end) throw malformed(what, "ends too early")
  if ((tag & 0x1f) === 0x1f) throw malformed(what, "multi-byte tag")
  const { length, content } = readLength(walk, at + 1)
  const isIndefinite = length === -1
  if ((tag & constructed) === 0) {
    if (isIndefinite) throw malformed(what, "unsupported length form")
    const stop = content + length
    if (stop > end) throw malformed(what, "ends too early")
    const der = element(tag, bytes.subarray(content, stop))
    return { tag, der, head: der.length - length, next: stop }
  }
  const stop = isIndefinite ? end : content + length
  if (stop > end) throw malformed(what, "ends too early")
  const children: Step[] = []
  let next = content
  while (isIndefinite ? !isEndOfContents(walk, next) : next < stop) {
    const child = readElement(walk, next, stop, depth + 1)
    children.push(child)
    next = child.next
  }
  const isPieces = tag === (octetString | constructed)
  if (isPieces && children.some((child) => child.tag !== octetString)) {
    throw malformed(what, "an octet string has pieces of another type")
  }
  const parts = children.map(({ der, head }) => (isPieces ? der.subarray(head) : der))
  const der = element(isPieces ? octetString : tag, ...parts)
  const contentLength = parts.reduce((sum, part) => sum + part.length, 0)
  return { tag: der[0] ?? 0, der, head: der.length - contentLength, next: isIndefinite ? next + 2 : stop }
}

/** The one element that `bytes` are, as DER. Fails with `validation`, also for trailing bytes. */
export const berToDer = (bytes: Buffer, what: string): Buffer => {
  const walk: Walk = { bytes, what, elements: 0 }
  const { der, next } = readElement(walk, 0, bytes.length, 0)
  if (next !== bytes.length) throw malformed(what, "has trailing bytes")
  return der
}
