/** Damages inputs, with an eye for DER: lengths, tags and nesting are what its parsers decide by. */

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export type Random = () => number

export const randomFrom = (seed: number): Random => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Larger ones are refused by every parser's caller. */
export const mostBytes = 65_536

const below = (random: Random, limit: number): number => Math.floor(random() * limit)
const oneOf = <T>(random: Random, list: readonly [T, ...T[]]): T => list[below(random, list.length)] ?? list[0]

const interesting = [0, 1, 0x7f, 0x80, 0x81, 0x82, 0x84, 0x88, 0xff, 0x1f, 0x30, 0x31, 0xa0, 0x03, 0x02, 0x06] as const
const lengths: readonly [number[], ...number[][]] = [
  [0x80],
  [0x81, 0x7f],
  [0x82, 0xff, 0xff],
  [0x84, 0xff, 0xff, 0xff, 0xff],
  [0x89, 1, 2, 3, 4, 5, 6, 7, 8, 9],
]

const splice = (bytes: Buffer, at: number, removed: number, inserted: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)])

/** Where an element seems to begin, and where it ends; somewhere else when nothing looks like one. */
const elementAt = (bytes: Buffer, random: Random): { start: number; end: number } => {
  const start = below(random, bytes.length)
  const first = bytes[start + 1] ?? 0
  const head = first < 0x80 ? 2 : 2 + (first & 0x7f)
  const length =
    first < 0x80
      ? first
      : first === 0x81
        ? (bytes[start + 2] ?? 0)
        : (bytes[start + 2] ?? 0) * 256 + (bytes[start + 3] ?? 0)
  return { start, end: Math.min(bytes.length, start + head + length) }
}

const wrapped = (content: Buffer, tag: number, times: number): Buffer => {
  const heads: Buffer[] = []
  let { length } = content
  for (let i = 0; i < times && length < mostBytes; i++) {
    const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 255]
    heads.push(Buffer.from([tag, ...size]))
    length += size.length + 1
  }
  return Buffer.concat([...heads.reverse(), content])
}

type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer

const mutations: readonly [Mutation, ...Mutation[]] = [
  (bytes, random) => {
    const out = Buffer.from(bytes)
    const at = below(random, out.length)
    out[at] = (out[at] ?? 0) ^ (1 << below(random, 8))
    return out
  },
  (bytes, random) => {
    const out = Buffer.from(bytes)
    out[below(random, out.length)] = oneOf(random, interesting)
    return out
  },
  (bytes, random) => {
    const out = Buffer.from(bytes)
    const at = below(random, out.length)
    out[at] = (out[at] ?? 0) + (random() < 0.5 ? 1 : -1)
    return out
  },
  (bytes, random) => bytes.subarray(0, below(random, bytes.length)),
  (bytes, random) => splice(bytes, below(random, bytes.length), 1 + below(random, 8), Buffer.alloc(0)),
  (bytes, random) => splice(bytes, below(random, bytes.length), 0, Buffer.from([below(random, 256)])),
  // A length that lies.
  (bytes, random) => splice(bytes, below(random, bytes.length), 1, Buffer.from(oneOf(random, lengths))),
  // An element gone, twice, many times, in another place.
  (bytes, random) => {
    const { start, end } = elementAt(bytes, random)
    return splice(bytes, start, end - start, Buffer.alloc(0))
  },
  (bytes, random) => {
    const { start, end } = elementAt(bytes, random)
    const copies = random() < 0.98 ? 1 : below(random, 2000)
    const times = Math.min(copies, Math.floor(mostBytes / Math.max(1, end - start)))
    return splice(bytes, end, 0, Buffer.concat(Array.from({ length: times }, () => bytes.subarray(start, end))))
  },
  (bytes, random, other) => {
    const mine = elementAt(bytes, random)
    const theirs = elementAt(other, random)
    return splice(bytes, mine.start, mine.end - mine.start, other.subarray(theirs.start, theirs.end))
  },
  // As deep as recursion could go.
  (bytes, random) => {
    const { start, end } = elementAt(bytes, random)
    const depth = random() < 0.98 ? 1 + below(random, 4) : below(random, 20_000)
    const nested = wrapped(bytes.subarray(start, end), oneOf(random, [0x30, 0x31, 0xa0, 0xa1, 0x24]), depth)
    return splice(bytes, start, end - start, nested)
  },
  (bytes, random, other) =>
    Buffer.concat([bytes.subarray(0, below(random, bytes.length)), other.subarray(below(random, other.length))]),
]

/** Sets the lengths of the elements around a change right again, so that it is not the frame that is refused. */
const reframed = (bytes: Buffer): Buffer => {
  const { length } = bytes
  const first = bytes[1] ?? 0
  if (bytes[0] !== 0x30 || first < 0x80) return bytes
  if (first === 0x82 && length > 4 && length - 4 < 0x10000) {
    const out = Buffer.from(bytes)
    out.writeUInt16BE(length - 4, 2)
    return out
  }
  return bytes
}

/** `input` after one to six changes, some with parts of another input. */
export const mutate = (input: Buffer, random: Random, others: readonly [Buffer, ...Buffer[]]): Buffer => {
  let bytes = input
  const changes = 1 + below(random, 6)
  for (let i = 0; i < changes; i++) {
    if (bytes.length === 0) bytes = Buffer.from(oneOf(random, others))
    bytes = oneOf(random, mutations)(bytes, random, oneOf(random, others)).subarray(0, mostBytes)
  }
  return random() < 0.5 ? reframed(bytes) : bytes
}
