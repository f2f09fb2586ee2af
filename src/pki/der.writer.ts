/**
 * Writes DER (X.690). Each function returns one finished element; nesting calls builds a structure. This is the hot
 * path of issuing: sizes are known before a buffer is made, and no object tree is built.
 */
import { AppError } from "../errors"
import { contextTag, tags } from "./der.reader"

/** An element of `length` bytes of content, with room for those behind its tag and length; `at` is where they begin. */
const opened = (tag: number, length: number, room: number): { out: Buffer; at: number } => {
  const head = length < 0x80 ? 2 : length < 0x100 ? 3 : length < 0x10000 ? 4 : length < 0x1000000 ? 5 : 6
  if (length > 0x7fffffff) throw new AppError("internal", `a DER element of ${length} bytes is not supported`)
  const out = Buffer.allocUnsafe(head + room)
  out[0] = tag
  if (head === 2) out[1] = length
  else {
    out[1] = 0x80 | (head - 2)
    out.writeUIntBE(length, 2, head - 2)
  }
  return { out, at: head }
}

/** Tag and length alone, for a content of `length` bytes that is written elsewhere. */
export const elementHead = (tag: number, length: number): Buffer => opened(tag, length, 0).out

/** One element from its tag and the parts of its content. */
export const element = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  let length = 0
  for (const part of parts) length += part.length
  let { out, at } = opened(tag, length, length)
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => element(tags.sequence, ...parts)

/** SET OF: DER orders the members by their encoding (X.690 section 11.6). */
export const setOf = (...members: readonly Buffer[]): Buffer =>
  element(tags.set, ...(members.length > 1 ? [...members].sort(Buffer.compare) : members))

export const octetString = (content: Uint8Array): Buffer => element(tags.octetString, content)

const noUnusedBits = Buffer.from([0])
/** A BIT STRING of whole bytes. */
export const bitString = (content: Uint8Array): Buffer => element(tags.bitString, noUnusedBits, content)

/** A named-bit list: trailing zero bits are left out (X.690 section 11.2.2). */
export const namedBits = (bits: readonly number[]): Buffer => {
  const highest = Math.max(-1, ...bits)
  const content = Buffer.alloc((highest >> 3) + 2)
  for (const bit of bits) content[(bit >> 3) + 1] = (content[(bit >> 3) + 1] ?? 0) | (0x80 >> (bit & 7))
  content[0] = highest < 0 ? 0 : 7 - (highest & 7)
  return element(tags.bitString, content)
}

export const boolean = (value: boolean): Buffer => Buffer.from([tags.boolean, 1, value ? 0xff : 0])

const zero = Buffer.from([0])
/** A non-negative INTEGER from its big-endian bytes, or from a number up to 2^48. */
export const integer = (value: Uint8Array | number): Buffer => {
  let bytes: Uint8Array
  if (typeof value === "number") {
    const wide = Buffer.alloc(6)
    wide.writeUIntBE(value, 0, 6)
    bytes = wide
  } else bytes = value
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const trimmed = bytes.length === 0 ? zero : bytes.subarray(start)
  return (trimmed[0] ?? 0) >= 0x80 ? element(tags.integer, zero, trimmed) : element(tags.integer, trimmed)
}

export const derNull: Buffer = Buffer.from([tags.null, 0])

/** An OBJECT IDENTIFIER from its dotted form. */
export const oid = (dotted: string): Buffer => {
  if (!/^[0-2](\.(0|[1-9]\d*))+$/.test(dotted)) throw new AppError("validation", `"${dotted}" is no object identifier`)
  const [root = 0n, second = 0n, ...rest] = dotted.split(".").map(BigInt)
  if (root < 2n && second > 39n) throw new AppError("validation", `"${dotted}" is no object identifier`)
  const bytes: number[] = []
  for (const arc of [root * 40n + second, ...rest]) {
    const groups = [Number(arc & 127n)]
    for (let left = arc >> 7n; left > 0n; left >>= 7n) groups.unshift(Number(left & 127n) | 0x80)
    bytes.push(...groups)
  }
  return element(tags.oid, Buffer.from(bytes))
}

/** `[number]` around finished elements. */
export const explicit = (number: number, ...parts: readonly Uint8Array[]): Buffer =>
  element(contextTag(number, true), ...parts)

/** `[number] IMPLICIT` of a primitive type. */
export const implicit = (number: number, content: Uint8Array): Buffer => element(contextTag(number, false), content)

const timeDigits = (date: Date): string => {
  const year = date.getUTCFullYear()
  // Also true for an invalid date, whose year is NaN.
  if (!(year >= 0 && year <= 9999)) throw new AppError("validation", "time: must be in the years 0 to 9999")
  return `${date.toISOString().slice(0, 19).replace(/[-:T]/g, "")}Z`
}

/** UTCTime through 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5). Fractions of a second are dropped. */
export const time = (date: Date): Buffer => {
  const year = date.getUTCFullYear()
  return year >= 1950 && year < 2050
    ? element(tags.utcTime, Buffer.from(timeDigits(date).slice(2), "latin1"))
    : generalizedTime(date)
}

/** GeneralizedTime whatever the year, as OCSP requires (RFC 6960 section 4.2.2.1). */
export const generalizedTime = (date: Date): Buffer =>
  element(tags.generalizedTime, Buffer.from(timeDigits(date), "latin1"))

/** The same encoder for one caller whose times are near each other: it keeps the last few seconds that it encoded. */
export const repeatedTime = (encode: (date: Date) => Buffer): ((date: Date) => Buffer) => {
  const recent = new Map<number, Buffer>()
  return (date) => {
    const second = Math.floor(date.getTime() / 1000)
    const known = recent.get(second)
    if (known !== undefined) return known
    if (recent.size >= 8) recent.clear()
    const encoded = encode(date)
    recent.set(second, encoded)
    return encoded
  }
}

const printable = /^[A-Za-z0-9 '()+,\-./:=?]*$/
/** A DirectoryString: PrintableString where the characters allow it, else UTF8String (RFC 5280 section 4.1.2.4). */
export const directoryString = (text: string): Buffer =>
  element(printable.test(text) ? tags.printableString : tags.utf8String, Buffer.from(text, "utf8"))
