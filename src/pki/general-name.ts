/** GeneralNames (RFC 5280 section 4.2.1.6): subject alternative names on the wire. */
import { AppError } from "../errors"
import { contextTag, type DerReader } from "./der.reader"
import { implicit, sequence } from "./der.writer"
import { ipBytes, ipText, type San, type SanType } from "./names"

const numbers = { email: 1, dns: 2, uri: 6, ip: 7 } as const satisfies Record<SanType, number>

const otherKinds: Readonly<Record<number, string>> = {
  0: "otherName",
  3: "x400Address",
  4: "directoryName",
  5: "ediPartyName",
  8: "registeredID",
}

/** One GeneralName. Throws `validation` when the value cannot be encoded. */
export const writeGeneralName = ({ type, value }: San): Buffer => {
  if (type === "ip") {
    const bytes = ipBytes(value)
    if (bytes === null) throw new AppError("validation", `SAN ${JSON.stringify(value)} is no IP address`)
    return implicit(numbers.ip, bytes)
  }
  // IA5String is ASCII: an international name has to come in its xn-- form.
  if (!/^[\x20-\x7e]*$/.test(value))
    throw new AppError("validation", `SAN ${JSON.stringify(value)} contains characters other than ASCII`)
  return implicit(numbers[type], Buffer.from(value, "latin1"))
}

/** The value of a SubjectAltName extension. */
export const writeSans = (sans: readonly San[]): Buffer => sequence(...sans.map(writeGeneralName))

export interface GeneralNames {
  readonly sans: San[]
  /** Kinds of names that are present but not among `sans`, such as `otherName`. */
  readonly otherNames: string[]
}

/** The names inside a GeneralNames SEQUENCE that was entered already. */
export const readGeneralNames = (names: DerReader, what: string): GeneralNames => {
  const sans: San[] = []
  const otherNames: string[] = []
  while (!names.done) {
    const { tag, content } = names.next()
    if (tag === contextTag(numbers.ip, false)) {
      const value = ipText(content)
      if (value === null) throw new AppError("validation", `${what}: an IP address has ${content.length} bytes`)
      sans.push({ type: "ip", value })
      continue
    }
    const value = content.toString("latin1")
    if (tag === contextTag(numbers.dns, false)) sans.push({ type: "dns", value })
    else if (tag === contextTag(numbers.email, false)) sans.push({ type: "email", value })
    else if (tag === contextTag(numbers.uri, false)) sans.push({ type: "uri", value })
    else otherNames.push(otherKinds[tag & 0x1f] ?? `[${tag & 0x1f}]`)
  }
  return { sans, otherNames }
}
