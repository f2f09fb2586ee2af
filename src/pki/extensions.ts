/** X.509 v3 extensions (RFC 5280 section 4.2): writing ours, reading anybody's. */
import {
  contextTag,
  DerReader,
  readBoolean,
  readNamedBits,
  readOid,
  readSequence,
  readSmallInteger,
  tags,
} from "./der.reader"
import { boolean, element, explicit, implicit, integer, namedBits, octetString, oid, sequence } from "./der.writer"
import { readGeneralNames } from "./general-name"
import { ekuName, type KeyUsageName, keyUsageNames, oids } from "./oids"

export interface Extension {
  readonly oid: string
  readonly critical: boolean
  readonly value: Buffer
}

const critical = boolean(true)

/** One Extension. `type` is an encoded object identifier, so that fixed ones are encoded once. */
export const writeExtension = (type: Buffer, isCritical: boolean, value: Buffer): Buffer =>
  isCritical ? sequence(type, critical, octetString(value)) : sequence(type, octetString(value))

/** BasicConstraints; an end entity's is the empty SEQUENCE. */
export const writeBasicConstraints = (isCa: boolean, pathLength: number | null = null): Buffer =>
  isCa ? sequence(critical, ...(pathLength === null ? [] : [integer(pathLength)])) : sequence()

export const writeKeyUsage = (usages: readonly KeyUsageName[]): Buffer =>
  namedBits(usages.map((usage) => keyUsageNames.indexOf(usage)))

const ia5 = (text: string): Buffer => Buffer.from(text, "latin1")
const uriNumber = 6

/** One DistributionPoint per URL: several URLs in one point would be the same CRL at different places. */
export const writeCrlDistributionPoints = (urls: readonly string[]): Buffer =>
  sequence(...urls.map((url) => sequence(explicit(0, explicit(0, implicit(uriNumber, ia5(url)))))))

const ocspOid = oid(oids.ocsp)
const caIssuersOid = oid(oids.caIssuers)

export const writeAuthorityInfoAccess = (ocspUrls: readonly string[], caIssuerUrls: readonly string[]): Buffer =>
  sequence(
    ...ocspUrls.map((url) => sequence(ocspOid, implicit(uriNumber, ia5(url)))),
    ...caIssuerUrls.map((url) => sequence(caIssuersOid, implicit(uriNumber, ia5(url)))),
  )

export const writeKeyIdentifier = (keyId: Buffer): Buffer => octetString(keyId)
export const writeAuthorityKeyIdentifier = (keyId: Buffer): Buffer => sequence(implicit(0, keyId))

/** TLS feature status_request (RFC 7633): "must-staple". */
export const mustStapleValue = sequence(integer(5))

export const writeExtendedKeyUsage = (dotted: readonly string[]): Buffer => sequence(...dotted.map(oid))

/** Extensions as they stand in a certificate's `[3]` or a CSR's extensionRequest. */
export const writeExtensions = (extensions: readonly Buffer[]): Buffer => element(tags.sequence, ...extensions)

/** Splits an Extensions SEQUENCE that was entered already. */
export const readExtensions = (list: DerReader, what: string): Extension[] => {
  const extensions: Extension[] = []
  while (!list.done) {
    const fields = list.enter(tags.sequence)
    const type = readOid(fields.next(tags.oid).content, what)
    const flag = fields.optional(tags.boolean)
    const value = fields.next(tags.octetString).content
    fields.end()
    extensions.push({ oid: type, critical: flag !== null && readBoolean(flag, what), value })
  }
  return extensions
}

export const readBasicConstraints = (value: Buffer): { isCa: boolean; pathLength: number | null } => {
  const what = "BasicConstraints"
  const fields = readSequence(value, what)
  const flag = fields.optional(tags.boolean)
  const length = fields.optional(tags.integer)
  fields.end()
  return {
    isCa: flag !== null && readBoolean(flag, what),
    pathLength: length === null ? null : readSmallInteger(length, what),
  }
}

export const readKeyUsage = (value: Buffer): KeyUsageName[] => {
  const reader = new DerReader(value, "KeyUsage")
  const bits = readNamedBits(reader.next(tags.bitString), "KeyUsage")
  reader.end()
  return bits.flatMap((bit) => keyUsageNames[bit] ?? [])
}

export const readExtendedKeyUsage = (value: Buffer): string[] => {
  const list = readSequence(value, "ExtendedKeyUsage")
  const usages: string[] = []
  while (!list.done) usages.push(ekuName(readOid(list.next(tags.oid).content, "ExtendedKeyUsage")))
  return usages
}

export const readSubjectKeyIdentifier = (value: Buffer): string => {
  const reader = new DerReader(value, "SubjectKeyIdentifier")
  const { content } = reader.next(tags.octetString)
  reader.end()
  return content.toString("hex")
}

/** The key identifier, or null when the issuer is named by its serial only. */
export const readAuthorityKeyIdentifier = (value: Buffer): string | null =>
  readSequence(value, "AuthorityKeyIdentifier").optional(contextTag(0, false))?.content.toString("hex") ?? null

const urlsOf = (names: DerReader, what: string): string[] =>
  readGeneralNames(names, what).sans.flatMap(({ type, value }) => (type === "uri" ? [value] : []))

export const readCrlUrls = (value: Buffer): string[] => {
  const what = "CRLDistributionPoints"
  const points = readSequence(value, what)
  const urls: string[] = []
  while (!points.done) {
    const name = points.enter(tags.sequence).optional(contextTag(0, true))
    const fullName = name === null ? null : new DerReader(name.content, what).optional(contextTag(0, true))
    if (fullName !== null) urls.push(...urlsOf(new DerReader(fullName.content, what), what))
  }
  return urls
}

export const readAuthorityInfoAccess = (value: Buffer): { ocspUrls: string[]; caIssuerUrls: string[] } => {
  const what = "AuthorityInfoAccess"
  const list = readSequence(value, what)
  const ocspUrls: string[] = []
  const caIssuerUrls: string[] = []
  while (!list.done) {
    const fields = list.enter(tags.sequence)
    const method = readOid(fields.next(tags.oid).content, what)
    const urls = urlsOf(fields, what)
    if (method === oids.ocsp) ocspUrls.push(...urls)
    else if (method === oids.caIssuers) caIssuerUrls.push(...urls)
  }
  return { ocspUrls, caIssuerUrls }
}

/** Whether a TLS feature list asks for a stapled OCSP answer. */
export const readMustStaple = (value: Buffer): boolean => {
  const list = readSequence(value, "TLSFeature")
  let found = false
  while (!list.done) found = readSmallInteger(list.next(tags.integer), "TLSFeature") === 5 || found
  return found
}
