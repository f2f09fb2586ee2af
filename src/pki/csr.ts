/** PKCS#10 certificate requests (RFC 2986). A parsed request has proven that its maker holds the key. */
import type { KeyObject } from "node:crypto"
import { AppError } from "../errors"
import { contextTag, type DerReader, readBitBytes, readOid, readSequence, readText, tags } from "./der.reader"
import { bitString, explicit, integer, oid, sequence, setOf } from "./der.writer"
import { commonNamesOf, readName, writeName } from "./distinguished-name"
import { mustStapleValue, readExtendedKeyUsage, readExtensions, readMustStaple, writeExtension } from "./extensions"
import { readGeneralNames, writeSans } from "./general-name"
import { type KeyFacts, keyFacts, spkiOf } from "./keys"
import { checkSan, distinctSans, type San, sanOf, unicodeProblem } from "./names"
import { oids } from "./oids"
import { pemRegions, regionBytes, toPem } from "./pem"
import { type SignedBytes, signatureProblem, signatureProblemElsewhere, signerFor } from "./signature"

export interface Csr {
  readonly der: Buffer
  /** Empty when the subject has none. */
  readonly commonName: string
  readonly sans: readonly San[]
  /** Kinds of names that are requested but not among `sans`, such as `otherName`; a signer does not copy them. */
  readonly otherNames: readonly string[]
  readonly spkiDer: Buffer
  readonly keyAlgorithm: KeyFacts["algorithm"]
  readonly keySize: number
  /** The whole subject as requested, which may hold more than the common name. */
  readonly subjectDer: Buffer
  /** Extended key usages asked for, by name where they have one. */
  readonly ekus: readonly string[]
  readonly mustStaple: boolean
  /** The enrolment password of SCEP and EST clients, else null. Secret. */
  readonly challengePassword: string | null
}

const what = "CSR"
const maxBytes = 64 * 1024
const refuse = (problem: string): AppError => new AppError("validation", `CSR: ${problem}`)

const extensionRequestOid = oid(oids.extensionRequest)
const subjectAltNameOid = oid(oids.subjectAltName)
const tlsFeatureOid = oid(oids.tlsFeature)

export interface CsrRequest {
  /** May be empty: the subject is empty then. */
  readonly commonName: string
  /** As people write them, see `sanOf`. */
  readonly sans: readonly string[]
  readonly privateKey: KeyObject
  readonly mustStaple?: boolean
}

/** A signed request in PEM. Throws `validation` for names that no certificate can carry. */
export const buildCsr = ({ commonName, sans, privateKey, mustStaple = false }: CsrRequest): string => {
  const problem = unicodeProblem(commonName)
  if (problem !== null) throw refuse(`common name ${JSON.stringify(commonName)} ${problem}`)
  const names = distinctSans(sans.map(sanOf))
  names.forEach(checkSan)
  const extensions = [
    ...(names.length === 0 ? [] : [writeExtension(subjectAltNameOid, commonName === "", writeSans(names))]),
    ...(mustStaple ? [writeExtension(tlsFeatureOid, false, mustStapleValue)] : []),
  ]
  const attributes = extensions.length === 0 ? [] : [sequence(extensionRequestOid, setOf(sequence(...extensions)))]
  const info = sequence(
    integer(0),
    writeName({ commonName }),
    spkiOf(privateKey),
    // The attributes are not optional, only possibly none.
    explicit(0, ...attributes),
  )
  const signer = signerFor(privateKey)
  return toPem("CERTIFICATE REQUEST", sequence(info, signer.algorithmDer, bitString(signer.signSync(info))))
}

interface Attributes {
  sans: San[]
  otherNames: string[]
  ekus: string[]
  mustStaple: boolean
  challengePassword: string | null
}

const readRequestedExtensions = (list: DerReader, into: Attributes): void => {
  for (const extension of readExtensions(list, what)) {
    if (extension.oid === oids.subjectAltName) {
      const names = readGeneralNames(readSequence(extension.value, "CSR SubjectAltName"), "CSR SubjectAltName")
      into.sans.push(...names.sans)
      into.otherNames.push(...names.otherNames)
    } else if (extension.oid === oids.extendedKeyUsage) into.ekus.push(...readExtendedKeyUsage(extension.value))
    else if (extension.oid === oids.tlsFeature) into.mustStaple = readMustStaple(extension.value)
  }
}

const readAttributes = (list: DerReader | null): Attributes => {
  const into: Attributes = { sans: [], otherNames: [], ekus: [], mustStaple: false, challengePassword: null }
  while (list !== null && !list.done) {
    const attribute = list.enter(tags.sequence)
    const type = readOid(attribute.next(tags.oid).content, what)
    const values = attribute.enter(tags.set)
    attribute.end()
    if (type === oids.extensionRequest || type === oids.microsoftExtensionRequest) {
      readRequestedExtensions(values.enter(tags.sequence), into)
      values.end()
    } else if (type === oids.challengePassword) into.challengePassword = readText(values.next())
  }
  return into
}

const checkNames = (commonNames: readonly string[], sans: readonly San[]): void => {
  // Only one would be checked against what the requester may have, while the subject carries them all.
  if (commonNames.length > 1) throw refuse("the subject has more than one common name")
  for (const text of [...commonNames, ...sans.map(({ value }) => value)]) {
    const problem = unicodeProblem(text)
    if (problem !== null) throw refuse(`name ${JSON.stringify(text)} ${problem}`)
  }
}

interface Unverified {
  readonly signed: SignedBytes
  /** Reads the rest: what is not signed by its own key is not looked at any further. Throws `validation`. */
  readonly read: () => Csr
}

/** Reads as much of a request as its signature needs. Throws `validation` naming the trouble. */
const unverified = (der: Buffer): Unverified => {
  if (der.length > maxBytes) throw refuse("is larger than 64 KiB")
  const outer = readSequence(der, what)
  const infoElement = outer.next(tags.sequence)
  const algorithmDer = outer.next(tags.sequence).bytes
  const signature = readBitBytes(outer.next(tags.bitString), what)
  outer.end()

  const info = readSequence(infoElement.bytes, what)
  const version = info.next(tags.integer).content
  if (version.length !== 1 || version[0] !== 0) throw refuse("unknown version")
  const subjectDer = info.next(tags.sequence).bytes
  const spkiDer = info.next(tags.sequence).bytes
  // Some clients leave the empty attribute list out altogether.
  const list = info.nextTag === contextTag(0, true) ? info.enter(contextTag(0, true)) : null
  info.end()

  const facts = keyFacts(spkiDer)
  const read = (): Csr => {
    const commonNames = commonNamesOf(readName(subjectDer, "CSR subject"))
    const { sans, otherNames, ekus, mustStaple, challengePassword } = readAttributes(list)
    checkNames(commonNames, sans)
    return {
      der,
      commonName: commonNames[0] ?? "",
      sans,
      otherNames,
      spkiDer,
      keyAlgorithm: facts.algorithm,
      keySize: facts.size,
      subjectDer,
      ekus,
      mustStaple,
      challengePassword,
    }
  }
  return { signed: { signed: infoElement.bytes, algorithmDer, signature, spkiDer }, read }
}

/** Reads a DER request and verifies its signature. Throws `validation` naming the trouble. */
export const parseCsrDer = (der: Buffer): Csr => {
  const { signed, read } = unverified(der)
  const problem = signatureProblem(signed, { allowSha1: true })
  if (problem !== null) throw refuse(problem)
  return read()
}

const labels = new Set(["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])

/**
 * The last few requests by their PEM. Whoever takes one looks at it, and then the CA that signs it: verifying the signature twice took
 * longer than signing.
 */
const read = new Map<string, Csr>()
const mostRead = 256

const keep = (pem: string, csr: Csr): Csr => {
  const [oldest] = read.size < mostRead ? [] : read.keys()
  if (oldest !== undefined) read.delete(oldest)
  // No password is kept longer than its request.
  if (csr.challengePassword === null) read.set(pem, csr)
  return csr
}

/** Reads a PEM request of one block, at most 64 KiB, and verifies its signature. Throws `validation`. */
export const parseCsr = (pem: string): Csr => read.get(pem) ?? keep(pem, parseCsrDer(derOf(pem)))

/** `parseCsr`, with the signature verified on the thread pool. Rejects with `validation`. */
export const readCsr = async (pem: string): Promise<Csr> => {
  const known = read.get(pem)
  if (known !== undefined) return known
  const csr = unverified(derOf(pem))
  const problem = await signatureProblemElsewhere(csr.signed, { allowSha1: true })
  if (problem !== null) throw refuse(problem)
  return keep(pem, csr.read())
}

const derOf = (pem: string): Buffer => {
  if (pem.length > maxBytes) throw refuse("is larger than 64 KiB")
  const regions = pemRegions(pem)
  const [region] = regions
  if (region === undefined) throw refuse('expected PEM that begins with "-----BEGIN CERTIFICATE REQUEST-----"')
  if (!labels.has(region.label)) throw refuse(`expected a CERTIFICATE REQUEST block, found ${region.label}`)
  if (regions.length > 1) throw refuse("expected one PEM block")
  return regionBytes(region)
}
