/**
 * The subject of a request as a CA may write it: RFC 5280 (section 4.1.2.4 and appendix A.1) leaves fewer string types and lengths
 * than clients use. What complies already is taken over to the byte.
 */
import { AppError } from "../errors"
import { tags } from "./der.reader"
import { directoryString, element, oid, sequence, setOf } from "./der.writer"
import { type NameAttribute, readName } from "./distinguished-name"
import { attributeNames, oids } from "./oids"

/** Longer common names do not fit into a subject. */
export const longestCommonName = 64

const country = "2.5.4.6"
/** IA5String by their definition (RFC 5280 section 4.1.2.6, RFC 4519 section 2.4). */
const ascii = new Set(["1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25"])

/** The DirectoryStrings of RFC 5280 appendix A.1 with their upper bounds, in characters; null: none that matters. */
const directoryStrings: Readonly<Record<string, number | null>> = {
  [oids.commonName]: longestCommonName,
  "2.5.4.4": null,
  "2.5.4.7": 128,
  "2.5.4.8": 128,
  "2.5.4.9": null,
  [oids.organization]: 64,
  "2.5.4.11": 64,
  "2.5.4.12": 64,
  "2.5.4.17": null,
  "2.5.4.41": null,
  "2.5.4.42": null,
  "2.5.4.43": null,
  "2.5.4.44": null,
  "2.5.4.65": 128,
  "0.9.2342.19200300.100.1.1": null,
}

const refuse = (type: string, problem: string): never => {
  throw new AppError("validation", `subject: ${attributeNames[type] ?? type} ${problem}`)
}

/** null: the attribute is left out. */
const issuedValue = ({ oid: type, text, value }: NameAttribute): Buffer | null => {
  if (text === null) return value.bytes
  if (type === country) {
    if (!/^[A-Za-z]{2}$/.test(text)) refuse(type, "must be two letters (ISO 3166)")
    return directoryString(text.toUpperCase())
  }
  if (ascii.has(type)) {
    const isAscii = /^[\x20-\x7e]*$/.test(text)
    return isAscii ? element(tags.ia5String, Buffer.from(text, "latin1")) : value.bytes
  }
  const longest = directoryStrings[type]
  if (longest === undefined) return value.bytes
  // DirectoryString has SIZE (1..MAX), and some clients send every attribute they know.
  if (text === "") return null
  if (value.tag === tags.utf8String && text.includes("\uFFFD")) refuse(type, "is no valid UTF-8")
  if (longest !== null && [...text].length > longest) {
    // Verifiers look at the SANs, where it goes (see the local CA); the other attributes have nowhere to go.
    if (type === oids.commonName) return null
    refuse(type, `must have at most ${longest} characters`)
  }
  return value.tag === tags.utf8String ? value.bytes : directoryString(text)
}

/**
 * The subject to sign for the one requested. A common name of more than 64 characters is left out.
 * @throws AppError `validation` an attribute that no certificate may have
 */
export const issuedSubject = (requested: Buffer): Buffer => {
  const rdns = readName(requested, "subject").flatMap((rdn) => {
    const attributes = rdn.flatMap((attribute) => {
      const value = issuedValue(attribute)
      return value === null ? [] : [sequence(oid(attribute.oid), value)]
    })
    return attributes.length === 0 ? [] : [setOf(...attributes)]
  })
  return sequence(...rdns)
}
