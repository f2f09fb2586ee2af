/** What SignedData and EnvelopedData of CMS (RFC 5652) have in common: their frame, algorithms and how they name a certificate. */
import { AppError } from "../errors"
import { berToDer } from "./ber"
import { openFrame } from "./certificate"
import { contextTag, type DerElement, DerReader, readOid, readSequence, tags } from "./der.reader"
import { element, explicit, oid, sequence } from "./der.writer"
import { sameName } from "./distinguished-name"

export const cmsOids = {
  data: "1.2.840.113549.1.7.1",
  signedData: "1.2.840.113549.1.7.2",
  envelopedData: "1.2.840.113549.1.7.3",
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  signingTime: "1.2.840.113549.1.9.5",
} as const

/** Opens a ContentInfo (section 3), BER or DER, whose content must be of the given type, and steps into that content. */
export const openContent = (bytes: Buffer, type: string, what: string): DerReader => {
  const info = readSequence(berToDer(bytes, what), what)
  const found = readOid(info.next(tags.oid).content, what)
  if (found !== type) throw new AppError("validation", `${what}: is of another content type (${found})`)
  const wrapper = info.enter(contextTag(0, true))
  info.end()
  const content = wrapper.enter(tags.sequence)
  wrapper.end()
  return content
}

/** A ContentInfo around finished content. */
export const writeContent = (type: string, content: Buffer): Buffer => sequence(oid(type), explicit(0, content))

export interface AlgorithmIdentifier {
  readonly oid: string
  readonly parameters: DerElement | null
  readonly der: Buffer
}

export const readAlgorithm = (reader: DerReader, what: string): AlgorithmIdentifier => {
  const { bytes, content } = reader.next(tags.sequence)
  const fields = new DerReader(content, what)
  const id = readOid(fields.next(tags.oid).content, what)
  const parameters = fields.done ? null : fields.next()
  fields.end()
  return { oid: id, parameters, der: bytes }
}

/** How a message names the certificate of its signer or recipient (sections 5.3 and 6.2.1). */
export type CertificateId =
  | { readonly issuerDer: Buffer; readonly serialContent: Buffer }
  | { readonly keyIdentifier: Buffer }

export const readCertificateId = (reader: DerReader): CertificateId => {
  const keyIdentifier = reader.optional(contextTag(0, false))
  if (keyIdentifier !== null) return { keyIdentifier: keyIdentifier.content }
  const fields = reader.enter(tags.sequence)
  const issuerDer = fields.next(tags.sequence).bytes
  const serialContent = fields.next(tags.integer).content
  fields.end()
  return { issuerDer, serialContent }
}

/** IssuerAndSerialNumber of a DER certificate, its bytes as they stand there. */
export const writeIssuerAndSerial = (certificateDer: Buffer): Buffer => {
  const { issuerDer, serialContent } = openFrame(certificateDer)
  return sequence(issuerDer, element(tags.integer, serialContent))
}

/** `ski` is the certificate's key identifier in lower-case hex, null when it has none. */
export const namesCertificate = (id: CertificateId, certificate: { der: Buffer; ski: string | null }): boolean => {
  if ("keyIdentifier" in id) return certificate.ski !== null && id.keyIdentifier.toString("hex") === certificate.ski
  const { issuerDer, serialContent } = openFrame(certificate.der)
  return serialContent.equals(id.serialContent) && sameName(issuerDer, id.issuerDer)
}
