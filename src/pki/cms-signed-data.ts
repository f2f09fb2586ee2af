/**
 * CMS SignedData (RFC 5652 section 5) with signed attributes: read and verified for anybody's, written with RSA and SHA-256.
 * Whether a signer's certificate is to be believed is for the caller.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { AppError } from "../errors"
import {
  type AlgorithmIdentifier,
  type CertificateId,
  cmsOids,
  openContent,
  readAlgorithm,
  readCertificateId,
  writeContent,
  writeIssuerAndSerial,
} from "./cms-content"
import { contextTag, DerReader, readOid, readTime, tags } from "./der.reader"
import { derNull, element, explicit, integer, octetString, oid, sequence, setOf } from "./der.writer"
import { oids } from "./oids"
import { type Signer, signatureProblem } from "./signature"

const what = "SignedData"
// More than any message has; bounds the work that hostile bytes can cause.
const maxCertificates = 20
const maxSigners = 8
const maxAttributes = 64

export interface CmsSigner {
  readonly certificateId: CertificateId
  readonly digestAlgorithm: string
  readonly signatureAlgorithm: AlgorithmIdentifier
  /** Signed attributes by type: the DER of their values. */
  readonly attributes: ReadonlyMap<string, readonly Buffer[]>
  /** What is signed: the attributes as a SET OF, in the order of the message (section 5.4); null: the content itself. */
  readonly signedAttributes: Buffer | null
  readonly signature: Buffer
}

export interface CmsSignedData {
  readonly contentType: string
  /** null: signed content that is elsewhere, or none at all. */
  readonly content: Buffer | null
  /** X.509 certificates of the message, DER; other kinds are left out. */
  readonly certificates: readonly Buffer[]
  readonly signers: readonly CmsSigner[]
}

const readAttributes = (set: DerReader): Map<string, readonly Buffer[]> => {
  const attributes = new Map<string, readonly Buffer[]>()
  while (!set.done) {
    const fields = set.enter(tags.sequence)
    const type = readOid(fields.next(tags.oid).content, what)
    const members = fields.enter(tags.set)
    fields.end()
    const values: Buffer[] = []
    while (!members.done) values.push(members.next().bytes)
    // Section 5.3: no two of one type, or two readers could see different messages.
    if (attributes.has(type)) throw new AppError("validation", `${what}: attribute ${type} occurs twice`)
    if (attributes.size >= maxAttributes) throw new AppError("validation", `${what}: too many attributes`)
    attributes.set(type, values)
  }
  return attributes
}

const readSigner = (fields: DerReader): CmsSigner => {
  fields.next(tags.integer)
  const certificateId = readCertificateId(fields)
  const digestAlgorithm = readAlgorithm(fields, what).oid
  const attributes = fields.optional(contextTag(0, true))
  const signatureAlgorithm = readAlgorithm(fields, what)
  const signature = fields.next(tags.octetString).content
  fields.optional(contextTag(1, true))
  fields.end()
  return {
    certificateId,
    digestAlgorithm,
    signatureAlgorithm,
    attributes: attributes === null ? new Map() : readAttributes(new DerReader(attributes.content, what)),
    signedAttributes: attributes === null ? null : element(tags.set, attributes.content),
    signature,
  }
}

const readCertificates = (list: DerReader): Buffer[] => {
  const certificates: Buffer[] = []
  while (!list.done) {
    const { tag, bytes } = list.next()
    if (tag === tags.sequence) certificates.push(bytes)
    if (certificates.length > maxCertificates) throw new AppError("validation", `${what}: too many certificates`)
  }
  return certificates
}

/** Takes a SignedData message (BER or DER) apart; nothing is verified. Fails with `validation`. */
export const readSignedData = (bytes: Buffer): CmsSignedData => {
  const fields = openContent(bytes, cmsOids.signedData, what)
  fields.next(tags.integer)
  fields.next(tags.set)
  const encapsulated = fields.enter(tags.sequence)
  const contentType = readOid(encapsulated.next(tags.oid).content, what)
  const wrapper = encapsulated.optional(contextTag(0, true))
  encapsulated.end()
  const inside = wrapper === null ? null : new DerReader(wrapper.content, what)
  const content = inside?.next(tags.octetString).content ?? null
  inside?.end()
  const certificates = fields.optional(contextTag(0, true))
  fields.optional(contextTag(1, true))
  const infos = fields.enter(tags.set)
  fields.end()
  const signers: CmsSigner[] = []
  while (!infos.done) {
    if (signers.length >= maxSigners) throw new AppError("validation", `${what}: too many signers`)
    signers.push(readSigner(infos.enter(tags.sequence)))
  }
  return {
    contentType,
    content,
    certificates: certificates === null ? [] : readCertificates(new DerReader(certificates.content, what)),
    signers,
  }
}

/** The one value of a signed attribute, null when it is absent. Fails with `validation` when it has none or several. */
export const attributeValue = ({ attributes }: CmsSigner, type: string): Buffer | null => {
  const values = attributes.get(type)
  const [value] = values ?? []
  if (values === undefined) return null
  if (value === undefined || values.length > 1) {
    throw new AppError("validation", `${what}: attribute ${type} must have one value`)
  }
  return value
}

/** When the signer says that it signed (section 11.3); null when it does not. */
export const signingTimeOf = (signer: CmsSigner): Date | null => {
  const value = attributeValue(signer, cmsOids.signingTime)
  return value === null ? null : readTime(new DerReader(value, what).next(), what)
}

const sha256 = "2.16.840.1.101.3.4.2.1"
/** Digests with what signing over them is called (RFC 8017 appendix A.2.4, RFC 5758). */
const digests: Readonly<Record<string, { name: string; rsa: string; ecdsa: string }>> = {
  "1.3.14.3.2.26": { name: "sha1", rsa: "1.2.840.113549.1.1.5", ecdsa: "1.2.840.10045.4.1" },
  [sha256]: { name: "sha256", rsa: "1.2.840.113549.1.1.11", ecdsa: "1.2.840.10045.4.3.2" },
  "2.16.840.1.101.3.4.2.2": { name: "sha384", rsa: "1.2.840.113549.1.1.12", ecdsa: "1.2.840.10045.4.3.3" },
  "2.16.840.1.101.3.4.2.3": { name: "sha512", rsa: "1.2.840.113549.1.1.13", ecdsa: "1.2.840.10045.4.3.4" },
}

export interface SignerProblem {
  /** `algorithm`: another choice of the signer's would do. `signature`: the message is not what was signed. */
  readonly kind: "algorithm" | "signature"
  readonly words: string
}

/** The algorithm as certificates name it, where PKCS #7 named the kind of key only; null when it does not fit the digest. */
const fullAlgorithm = (algorithm: AlgorithmIdentifier, digest: { rsa: string; ecdsa: string }): Buffer | null => {
  switch (algorithm.oid) {
    case oids.rsaEncryption:
    case digest.rsa:
      return sequence(oid(digest.rsa), derNull)
    case oids.ecPublicKey:
    case digest.ecdsa:
      return sequence(oid(digest.ecdsa))
    case oids.rsaPss:
    case oids.ed25519:
      return algorithm.der
    default:
      return null
  }
}

const isAttribute = (signer: CmsSigner, type: string, expected: Buffer): boolean => {
  const value = attributeValue(signer, type)
  return value !== null && value.length === expected.length && timingSafeEqual(value, expected)
}

/** Verifies one signer with its public key (DER SubjectPublicKeyInfo; section 5.4): what is wrong, or null. */
export const signerProblem = (
  { contentType, content }: CmsSignedData,
  signer: CmsSigner,
  spkiDer: Buffer,
  { allowSha1 }: { allowSha1: boolean },
): SignerProblem | null => {
  const digest = digests[signer.digestAlgorithm]
  if (digest === undefined || (digest.name === "sha1" && !allowSha1)) {
    const name = digest?.name ?? signer.digestAlgorithm
    return { kind: "algorithm", words: `the digest algorithm ${name} is not accepted` }
  }
  const algorithmDer = fullAlgorithm(signer.signatureAlgorithm, digest)
  if (algorithmDer === null) {
    const words = `the signature algorithm ${signer.signatureAlgorithm.oid} is not accepted with ${digest.name}`
    return { kind: "algorithm", words }
  }
  const bytes = content ?? Buffer.alloc(0)
  const { signedAttributes, signature } = signer
  const verify = (signed: Buffer) => signatureProblem({ signed, algorithmDer, signature, spkiDer }, { allowSha1 })
  const inWords = (problem: string): SignerProblem => ({ kind: "signature", words: `the message's ${problem}` })
  if (signedAttributes === null) {
    const problem = verify(bytes)
    return problem === null ? null : inWords(problem)
  }
  const computed = createHash(digest.name).update(bytes).digest()
  if (!isAttribute(signer, cmsOids.messageDigest, octetString(computed))) {
    return { kind: "signature", words: "the content is not what was signed (digests differ)" }
  }
  if (!isAttribute(signer, cmsOids.contentType, oid(contentType))) {
    return { kind: "signature", words: "the signed content type is another one" }
  }
  const problem = verify(signedAttributes)
  if (problem === null) return null
  // Signed is the DER form, in which a SET is sorted; some send it in another order than they signed it.
  const sorted = sortedSet(signedAttributes)
  return !sorted.equals(signedAttributes) && verify(sorted) === null ? null : inWords(problem)
}

const sortedSet = (set: Buffer): Buffer => {
  const members = new DerReader(set, what).enter(tags.set)
  const all: Buffer[] = []
  while (!members.done) all.push(members.next().bytes)
  return setOf(...all)
}

export interface SignedDataParts {
  readonly contentType: string
  readonly content: Buffer | null
  /** Sent along, the signer's first. */
  readonly certificateDers: readonly Buffer[]
  /** Of the first certificate; RSA. */
  readonly signer: Signer
  /** Beyond content type and message digest: types with the DER of their one value. */
  readonly attributes: readonly (readonly [type: string, value: Buffer])[]
}

/** A SignedData message, DER, by one RSA signer with SHA-256. */
export const writeSignedData = async (parts: SignedDataParts): Promise<Buffer> => {
  const { contentType, content, certificateDers, signer, attributes } = parts
  const [own] = certificateDers
  if (own === undefined) throw new AppError("internal", "SignedData: the signer has no certificate")
  const digestAlgorithm = sequence(oid(sha256), derNull)
  const digest = createHash("sha256")
    .update(content ?? Buffer.alloc(0))
    .digest()
  const all: (readonly [string, Buffer])[] = [
    [cmsOids.contentType, oid(contentType)],
    [cmsOids.messageDigest, octetString(digest)],
    ...attributes,
  ]
  const signed = setOf(...all.map(([type, value]) => sequence(oid(type), setOf(value))))
  const signature = await signer.sign(signed)
  const tagged = Buffer.from(signed)
  tagged[0] = contextTag(0, true)
  const info = sequence(
    integer(1),
    writeIssuerAndSerial(own),
    digestAlgorithm,
    tagged,
    // As PKCS #7 has it: every client knows this form, and some no other.
    sequence(oid(oids.rsaEncryption), derNull),
    octetString(signature),
  )
  return writeContent(
    cmsOids.signedData,
    sequence(
      integer(1),
      setOf(digestAlgorithm),
      sequence(oid(contentType), ...(content === null ? [] : [explicit(0, octetString(content))])),
      element(contextTag(0, true), ...certificateDers),
      setOf(info),
    ),
  )
}
