/**
 * Reads DER (X.690) one element at a time. It never recurses, copies nothing and leaves every decision about
 * structure to its caller, so hostile bytes cost at most one pass. Every failure is an AppError `validation`.
 */
import { AppError } from "../errors"

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** The tag byte of `[number]`: primitive for implicit strings, constructed for everything that contains elements. */
export const contextTag = (number: number, constructed: boolean): number => (constructed ? 0xa0 : 0x80) | number

export interface DerElement {
  readonly tag: number
  /** Tag, length and content. */
  readonly bytes: Buffer
  readonly content: Buffer
}

/** Its bytes are cut out when somebody asks for them: most callers want one of the two. */
class Found implements DerElement {
  constructor(
    readonly tag: number,
    private readonly source: Buffer,
    private readonly start: number,
    private readonly contentStart: number,
    private readonly end: number,
  ) {}

  get bytes(): Buffer {
    return this.source.subarray(this.start, this.end)
  }

  get content(): Buffer {
    return this.source.subarray(this.contentStart, this.end)
  }
}

const malformed = (what: string, problem: string): AppError => new AppError("validation", `${what}: ${problem}`)

/** Walks the elements of one constructed value. `what` names the value in error messages. */
export class DerReader {
  #at = 0

  constructor(
    private readonly bytes: Buffer,
    private readonly what: string,
  ) {}

  get done(): boolean {
    return this.#at >= this.bytes.length
  }

  /** The tag of the next element, or null at the end. */
  get nextTag(): number | null {
    return this.bytes[this.#at] ?? null
  }

  /** The next element; with `tag`, any other tag is refused. */
  next(tag?: number): DerElement {
    const { bytes, what } = this
    const start = this.#at
    const found = bytes[start]
    const first = bytes[start + 1]
    if (found === undefined || first === undefined) throw malformed(what, "ends too early")
    if (tag !== undefined && found !== tag) throw malformed(what, `unexpected element 0x${found.toString(16)}`)
    // Tag numbers above 30 occur in nothing that is read here.
    if ((found & 0x1f) === 0x1f) throw malformed(what, "multi-byte tag")
    let content = start + 2
    let length = first
    if (first >= 0x80) {
      const count = first & 0x7f
      // 0x80 is BER's indefinite length. Four bytes already exceed what any caller accepts.
      if (count === 0 || count > 4) throw malformed(what, "unsupported length form")
      length = 0
      for (let i = 0; i < count; i++) {
        const byte = bytes[content + i]
        if (byte === undefined) throw malformed(what, "ends too early")
        length = length * 256 + byte
      }
      content += count
      if (length < 0x80 || length < 256 ** (count - 1)) throw malformed(what, "length is not minimal")
    }
    const end = content + length
    if (end > bytes.length) throw malformed(what, "ends too early")
    this.#at = end
    return new Found(found, bytes, start, content, end)
  }

  /** The next element when it has this tag, else null and nothing is consumed. */
  optional(tag: number): DerElement | null {
    return this.nextTag === tag ? this.next(tag) : null
  }

  /** Steps into the next element. */
  enter(tag: number, what = this.what): DerReader {
    return new DerReader(this.next(tag).content, what)
  }

  /** Refuses what is left over. */
  end(): void {
    if (!this.done) throw malformed(this.what, "has trailing bytes")
  }
}

/** Opens bytes that must be exactly one SEQUENCE. */
export const readSequence = (der: Buffer, what: string): DerReader => {
  const outer = new DerReader(der, what)
  const inner = outer.enter(tags.sequence)
  outer.end()
  return inner
}

/**
 * Dotted forms by content. Every message names the same few, and a look here takes a tenth of the decoding. The first ones stay: who
 * sends new ones without end gets them decoded.
 */
const knownOids = new Map<string, string>()
const mostKnownOids = 256
const longestKnownOid = 16

/** Dotted form of an OBJECT IDENTIFIER's content. Arcs may exceed 2^53: 2.25 carries whole UUIDs. */
export const readOid = (content: Buffer, what: string): string => {
  if (content.length > longestKnownOid) return decodeOid(content, what)
  const key = content.toString("latin1")
  const known = knownOids.get(key)
  if (known !== undefined) return known
  const dotted = decodeOid(content, what)
  if (knownOids.size < mostKnownOids) knownOids.set(key, dotted)
  return dotted
}

const decodeOid = (content: Buffer, what: string): string => {
  if (content.length === 0 || content.length > 128) throw malformed(what, "object identifier has a bad length")
  const arcs: (number | bigint)[] = []
  let small = 0
  let big: bigint | null = null
  let fresh = true
  for (const byte of content) {
    if (fresh && byte === 0x80) throw malformed(what, "object identifier is not minimal")
    if (big !== null) big = big * 128n + BigInt(byte & 0x7f)
    else if (small > 2 ** 45) big = BigInt(small) * 128n + BigInt(byte & 0x7f)
    else small = small * 128 + (byte & 0x7f)
    fresh = byte < 0x80
    if (!fresh) continue
    arcs.push(big ?? small)
    small = 0
    big = null
  }
  if (!fresh) throw malformed(what, "object identifier ends too early")
  // The first two arcs share one number: 40 times the first, of which only 2 allows a second above 39.
  const [head = 0, ...rest] = arcs
  const root = head < 40 ? 0 : head < 80 ? 1 : 2
  const second = typeof head === "bigint" ? head - BigInt(root * 40) : head - root * 40
  return [root, second, ...rest].join(".")
}

/** BOOLEAN: DER knows only 0x00 and 0xff, but 0x01 for true is seen in old certificates. */
export const readBoolean = (element: DerElement, what: string): boolean => {
  if (element.content.length !== 1) throw malformed(what, "boolean has a bad length")
  return element.content[0] !== 0
}

/** A small non-negative INTEGER. */
export const readSmallInteger = (element: DerElement, what: string): number => {
  const { content } = element
  if (content.length === 0 || content.length > 4 || (content[0] ?? 0) >= 0x80)
    throw malformed(what, "integer is out of range")
  return content.readUIntBE(0, content.length)
}

/** A BIT STRING that holds whole bytes: keys and signatures. */
export const readBitBytes = (element: DerElement, what: string): Buffer => {
  if (element.content[0] !== 0) throw malformed(what, "bit string does not hold whole bytes")
  return element.content.subarray(1)
}

/** Numbers of the bits that are set in a named-bit list such as KeyUsage. */
export const readNamedBits = (element: DerElement, what: string): number[] => {
  const unused = element.content[0]
  const bytes = element.content.subarray(1)
  if (unused === undefined || unused > 7 || bytes.length > 8) throw malformed(what, "bit list is malformed")
  const set: number[] = []
  for (let bit = 0; bit < bytes.length * 8 - unused; bit++)
    if (((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) set.push(bit)
  return set
}

const timeForm = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})?(?:\.\d+)?(Z|[+-]\d{4})$/

/**
 * UTCTime or GeneralizedTime. RFC 5280 section 4.1.2.5 wants seconds and `Z`; certificates of the last century have
 * minutes only or an offset, and are still found on disks.
 */
export const readTime = (element: DerElement, what: string): Date => {
  const utc = element.tag === tags.utcTime
  if (!utc && element.tag !== tags.generalizedTime) throw malformed(what, "expected a time")
  if (element.content.length > 40) throw malformed(what, "time is too long")
  const [, years = "", month, day, hour, minute, second = "00", zone = ""] =
    timeForm.exec(element.content.toString("latin1")) ?? []
  if (years.length !== (utc ? 2 : 4)) throw malformed(what, "time is malformed")
  const year = utc ? `${Number(years) >= 50 ? "19" : "20"}${years}` : years
  const offset = zone === "Z" ? "Z" : `${zone.slice(0, 3)}:${zone.slice(3)}`
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}${offset}`)
  if (Number.isNaN(time.getTime())) throw malformed(what, "time does not exist")
  return time
}

const universalText = (content: Buffer): string => {
  let text = ""
  for (let i = 0; i + 4 <= content.length; i += 4) {
    const point = content.readUInt32BE(i)
    text += point > 0x10ffff ? "\uFFFD" : String.fromCodePoint(point)
  }
  return text
}

/** The text of any ASN.1 character string, or null for another type. Undecodable bytes become U+FFFD. */
export const readText = ({ tag, content }: DerElement): string | null => {
  switch (tag) {
    case tags.utf8String:
      return content.toString("utf8")
    case tags.printableString:
    case tags.ia5String:
    case tags.numericString:
    case tags.teletexString:
      return content.toString("latin1")
    case tags.bmpString:
      return Buffer.from(content.subarray(0, content.length & ~1))
        .swap16()
        .toString("utf16le")
    case tags.universalString:
      return universalText(content)
    default:
      return null
  }
}
