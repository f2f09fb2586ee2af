/**
 * The names a certificate may carry: which type a text is, and what is wrong with it. The functions answer with words
 * for the person who typed the name, or null when the name is fine.
 */
import { isIP } from "node:net"
import { AppError } from "../errors"

export type SanType = "dns" | "ip" | "email" | "uri"

export interface San {
  readonly type: SanType
  readonly value: string
}

/** 4 or 16 bytes of an IP literal, or null. A zone (`fe80::1%eth0`) means something on one host only: null. */
export const ipBytes = (text: string): Buffer | null => {
  // Nearly every name is none, which its end and its colons tell sooner.
  if (!/\d$/.test(text) && !text.includes(":")) return null
  const family = isIP(text)
  if (family === 4) return Buffer.from(text.split(".").map(Number))
  if (family !== 6 || text.includes("%")) return null
  const tail = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  let hex = text
  if (tail !== null) {
    const [a = 0, b = 0, c = 0, d = 0] = tail.slice(1).map(Number)
    hex = `${text.slice(0, tail.index)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  }
  const [head = "", rest] = hex.split("::")
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))
  const left = groups(head)
  const right = rest === undefined ? [] : groups(rest)
  const all = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right]
  const out = Buffer.alloc(16)
  for (const [i, group] of all.entries()) out.writeUInt16BE(group, i * 2)
  return out
}

/** The canonical text of 4 or 16 address bytes (RFC 5952), or null for another length. */
export const ipText = (bytes: Uint8Array): string | null => {
  if (bytes.length === 4) return bytes.join(".")
  if (bytes.length !== 16) return null
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[i * 2] ?? 0) * 256 + (bytes[i * 2 + 1] ?? 0))
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return `::ffff:${bytes.slice(12).join(".")}`
  let best = { start: 0, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (groups[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(":")
  if (best.length < 2) return hex(groups)
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`
}

/** Types a name as people write it. IP addresses get their canonical form, so that texts can be compared. */
export const sanOf = (text: string): San => {
  if (text.includes("@")) return { type: "email", value: text }
  const bytes = ipBytes(text)
  if (bytes !== null) return { type: "ip", value: ipText(bytes) ?? text }
  return { type: text.includes("://") ? "uri" : "dns", value: text }
}

/** A key under which equal names meet, whatever their case or the way an IP address was written. */
export const nameKey = (text: string): string => {
  const { type, value } = sanOf(text)
  if (type === "dns") return value.toLowerCase()
  if (type !== "email") return value
  // RFC 5280 section 7.5: only the host part of a mailbox ignores case.
  const at = value.lastIndexOf("@")
  return value.slice(0, at) + value.slice(at).toLowerCase()
}

/** Names without their repetitions, first spelling kept. */
export const distinctSans = (sans: readonly San[]): San[] => {
  const seen = new Map<string, San>()
  for (const san of sans) {
    const key = `${san.type} ${nameKey(san.value)}`
    if (!seen.has(key)) seen.set(key, san)
  }
  return [...seen.values()]
}

const hidden: readonly (readonly [RegExp, string])[] = [
  [/[\u202a-\u202e\u2066-\u2069]/u, "a bidirectional control character"],
  [/\u200b|\u200c|\u200d|\u2060|\ufeff/u, "a zero-width character"],
  [/\p{Cc}/u, "a control character"],
  [/\p{Cs}|\ufffd/u, "a character that could not be decoded"],
]

const found = (text: string, index: number, what: string): string => {
  const code = (text.codePointAt(index) ?? 0).toString(16).toUpperCase().padStart(4, "0")
  return `contains ${what} (U+${code} at byte ${Buffer.byteLength(text.slice(0, index))})`
}

/**
 * What makes a text look like another one: control, bidirectional and zero-width characters, and words that mix Latin
 * letters with letters of another script. Null when there is nothing.
 */
export const unicodeProblem = (text: string): string | null => {
  // Nearly every name is plain ASCII: one test and out.
  if (/^[\x20-\x7e]*$/.test(text)) return null
  for (const [pattern, what] of hidden) {
    const index = text.search(pattern)
    if (index >= 0) return found(text, index, what)
  }
  for (const { 0: word, index } of text.matchAll(/[^.\s@]+/gu)) {
    const foreign = word.search(/(?!\p{Script=Latin})\p{L}/u)
    if (foreign >= 0 && /\p{Script=Latin}/u.test(word))
      return found(text, index + foreign, "a letter of another script among Latin ones")
  }
  return null
}

const hostnameProblem = (text: string, wildcard: boolean): string | null => {
  if (text.length > 253) return "is longer than 253 characters"
  const labels = text.split(".")
  for (const [i, label] of labels.entries()) {
    if (label === "") return "has an empty label"
    if (label.length > 63) return "has a label longer than 63 characters"
    if (label.includes("*")) {
      if (!wildcard || i > 0) return "has a wildcard outside the leftmost label"
      // RFC 9525 section 6.3: "f*.example.com" matches nothing in today's clients.
      if (label !== "*" || labels.length === 1)
        return "has a wildcard that is not a whole leftmost label before a domain"
      continue
    }
    const bad = /[^A-Za-z0-9_-]/u.exec(label)
    if (bad !== null)
      return `contains ${JSON.stringify(bad[0])}, which no hostname may have (international names: use the xn-- form)`
    if (label.startsWith("-") || label.endsWith("-")) return "has a label that starts or ends with a hyphen"
  }
  return labels.length === 4 && labels.every((label) => /^\d+$/.test(label))
    ? "looks like an IPv4 address, but is none"
    : null
}

const emailProblem = (text: string): string | null => {
  const at = text.lastIndexOf("@")
  const local = text.slice(0, at)
  const atoms = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/
  if (text.length > 254) return "is longer than 254 characters"
  if (local.length > 64 || !atoms.test(local)) return "is no valid e-mail address"
  return hostnameProblem(text.slice(at + 1), false) === null ? null : "is no valid e-mail address"
}

const uriProblem = (text: string): string | null => {
  if (text.length > 2048) return "is longer than 2048 characters"
  // RFC 3986 characters; a URI in a certificate is an IA5String.
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]+$/.test(text) || !URL.canParse(text))
    return "is no valid URI"
  return null
}

/** What is wrong with a name of a known type, or null. */
export const typedSanProblem = ({ type, value }: San): string | null => {
  const unicode = unicodeProblem(value)
  if (unicode !== null) return unicode
  if (value === "") return "is empty"
  switch (type) {
    case "dns":
      return hostnameProblem(value, true)
    case "ip":
      return ipBytes(value) === null ? "is no IP address" : null
    case "email":
      return emailProblem(value)
    case "uri":
      return uriProblem(value)
  }
}

/** What is wrong with a subject alternative name as people write it, or null. Fits after the name: `"x" ${problem}`. */
export const sanProblem = (text: string): string | null => typedSanProblem(sanOf(text))

/** What is wrong with a certificate's common name (a hostname, wildcard, IP address or e-mail address), or null. */
export const commonNameProblem = (text: string): string | null => {
  if (text === "") return "is required"
  if (text.length > 253) return "is longer than 253 characters"
  const san = sanOf(text)
  return typedSanProblem(san.type === "uri" ? { type: "dns", value: text } : san)
}

/** Throws `validation` for a SAN that cannot be put into a certificate. */
export const checkSan = (san: San): void => {
  const problem = typedSanProblem(san)
  if (problem !== null) throw new AppError("validation", `SAN ${JSON.stringify(san.value)} ${problem}`)
}
