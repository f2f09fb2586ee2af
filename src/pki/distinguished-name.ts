/** X.501 names: written for our own subjects, read and compared for anybody's. */
import { AppError } from "../errors"
import { type DerElement, readOid, readSequence, readText, tags } from "./der.reader"
import { directoryString, oid, sequence, setOf } from "./der.writer"
import { attributeNames, oids } from "./oids"

export interface NameAttribute {
  readonly oid: string
  /** Null when the value is not a character string. */
  readonly text: string | null
  readonly value: DerElement
}

/** The RDNs of a name in their encoded order, each with its attributes. */
export const readName = (der: Buffer, what: string): NameAttribute[][] => {
  const rdns = readSequence(der, what)
  const name: NameAttribute[][] = []
  while (!rdns.done) {
    const members = rdns.enter(tags.set)
    const attributes: NameAttribute[] = []
    while (!members.done) {
      const attribute = members.enter(tags.sequence)
      const type = readOid(attribute.next(tags.oid).content, what)
      const value = attribute.next()
      attribute.end()
      attributes.push({ oid: type, text: readText(value), value })
    }
    if (attributes.length === 0) throw new AppError("validation", `${what}: has an empty RDN`)
    name.push(attributes)
  }
  return name
}

const commonNameOid = oid(oids.commonName)
const organizationOid = oid(oids.organization)
const attribute = (type: Buffer, text: string): Buffer => setOf(sequence(type, directoryString(text)))

/** A subject with an organization and a common name; what is empty is left out. */
export const writeName = ({ commonName, organization = "" }: { commonName: string; organization?: string }): Buffer =>
  sequence(
    ...(organization === "" ? [] : [attribute(organizationOid, organization)]),
    ...(commonName === "" ? [] : [attribute(commonNameOid, commonName)]),
  )

export interface SubjectParts {
  readonly commonName: string
  readonly organization: readonly string[]
  readonly organizationalUnit: readonly string[]
  /** Two letters each (ISO 3166). */
  readonly country: readonly string[]
  readonly locality: readonly string[]
  readonly province: readonly string[]
}

/** A subject of several kinds of attributes, the widest first. Characters and lengths are for the caller to check. */
export const writeSubject = (parts: SubjectParts): Buffer =>
  sequence(
    ...parts.country.map((text) => attribute(oid("2.5.4.6"), text.toUpperCase())),
    ...parts.province.map((text) => attribute(oid("2.5.4.8"), text)),
    ...parts.locality.map((text) => attribute(oid("2.5.4.7"), text)),
    ...parts.organization.map((text) => attribute(organizationOid, text)),
    ...parts.organizationalUnit.map((text) => attribute(oid("2.5.4.11"), text)),
    attribute(commonNameOid, parts.commonName),
  )

/** All common names, most specific last. */
export const commonNamesOf = (name: NameAttribute[][]): string[] =>
  name.flat().flatMap(({ oid: type, text }) => (type === oids.commonName && text !== null ? [text] : []))

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped
const special = /[\u0000-\u001f\u007f-\u009f"+,;<>\\]|^[ #]| $/g
const hexPair = (byte: number): string => `\\${byte.toString(16).padStart(2, "0").toUpperCase()}`
const escapeText = (text: string): string =>
  text.replace(special, (found) =>
    /["+,;<>\\ #]/.test(found) ? `\\${found}` : [...Buffer.from(found, "utf8")].map(hexPair).join(""),
  )

/** The string form of RFC 4514: most specific RDN first. */
export const nameText = (name: NameAttribute[][]): string =>
  name
    .map((rdn) =>
      rdn
        .map(({ oid: type, text, value }) => {
          const known = attributeNames[type]
          if (known === undefined || text === null) return `${known ?? type}=#${value.bytes.toString("hex")}`
          return `${known}=${escapeText(text)}`
        })
        .join("+"),
    )
    .reverse()
    .join(",")

const canonical = (name: NameAttribute[][]): string =>
  JSON.stringify(
    name.map((rdn) =>
      rdn
        .map(({ oid: type, text, value }) =>
          text === null
            ? `${type}#${value.bytes.toString("hex")}`
            : `${type}=${text.trim().replace(/\s+/g, " ").toLowerCase()}`,
        )
        .sort(),
    ),
  )

/**
 * Whether two encoded names are the same (RFC 5280 section 7.1): string type, case and runs of white space do not
 * count, since CAs re-encode their own name between the certificates they issue.
 */
export const sameName = (one: Buffer, other: Buffer): boolean =>
  one.equals(other) || canonical(readName(one, "name")) === canonical(readName(other, "name"))

/** Refuses bytes that are not one encoded name, and tells whether it is empty. */
export const isEmptyName = (der: Buffer, what: string): boolean => readName(der, what).length === 0
