/** A SCEP client of our own, which can also do what no proper one does. What it cannot know is read back with our parsers. */
import { createHash, type KeyObject, randomBytes, sign } from "node:crypto"
import { parseCertificate } from "../pki/certificate"
import { keyIdOf, randomSerial, signTbs, writeTbs } from "../pki/certificate.writer"
import { cmsOids, writeContent, writeIssuerAndSerial } from "../pki/cms-content"
import { type ContentCipher, openEnvelopedData, readEnvelopedData, writeEnvelopedData } from "../pki/cms-enveloped-data"
import { attributeValue, readSignedData, signerProblem } from "../pki/cms-signed-data"
import { contextTag, DerReader, readText, tags } from "../pki/der.reader"
import {
  bitString,
  derNull,
  directoryString,
  element,
  explicit,
  integer,
  octetString,
  oid,
  sequence,
  setOf,
  time,
} from "../pki/der.writer"
import { writeName } from "../pki/distinguished-name"
import { writeExtension, writeKeyIdentifier } from "../pki/extensions"
import { writeSans } from "../pki/general-name"
import { spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { oids } from "../pki/oids"
import { signerFor } from "../pki/signature"

export const scepOids = {
  messageType: "2.16.840.1.113733.1.9.2",
  pkiStatus: "2.16.840.1.113733.1.9.3",
  failInfo: "2.16.840.1.113733.1.9.4",
  senderNonce: "2.16.840.1.113733.1.9.5",
  recipientNonce: "2.16.840.1.113733.1.9.6",
  transactionId: "2.16.840.1.113733.1.9.7",
  failInfoText: "1.3.6.1.5.5.7.24.1",
} as const

const hashOids = {
  sha1: "1.3.14.3.2.26",
  sha256: "2.16.840.1.101.3.4.2.1",
  sha384: "2.16.840.1.101.3.4.2.2",
  sha512: "2.16.840.1.101.3.4.2.3",
} as const
export type ScepHash = keyof typeof hashOids

const printable = (text: string): Buffer => element(tags.printableString, Buffer.from(text, "latin1"))

/** A CSR, DER, with the attribute that SCEP's password travels in. */
export const csrWithChallenge = (
  key: KeyObject,
  commonName: string,
  { challenge, sans = [] }: { challenge?: string; sans?: readonly string[] } = {},
): Buffer => {
  const names = writeExtension(oid(oids.subjectAltName), false, writeSans(sans.map(sanOf)))
  const info = sequence(
    integer(0),
    writeName({ commonName }),
    spkiOf(key),
    explicit(
      0,
      ...(challenge === undefined ? [] : [sequence(oid(oids.challengePassword), setOf(directoryString(challenge)))]),
      ...(sans.length === 0 ? [] : [sequence(oid(oids.extensionRequest), setOf(sequence(names)))]),
    ),
  )
  const signer = signerFor(key)
  return sequence(info, signer.algorithmDer, bitString(signer.signSync(info)))
}

/** What a client signs with that has no certificate yet; DER. `keyIdentifier` gives it a subject key identifier. */
export const selfSigned = (key: KeyObject, commonName: string, now: Date): Promise<Buffer> => {
  const signer = signerFor(key)
  const name = writeName({ commonName })
  const tbs = writeTbs({
    serial: randomSerial(),
    algorithmDer: signer.algorithmDer,
    issuerDer: name,
    notBefore: new Date(now.getTime() - 3_600_000),
    notAfter: new Date(now.getTime() + 86_400_000),
    subjectDer: name,
    spkiDer: spkiOf(key),
    extensions: [writeExtension(oid(oids.subjectKeyIdentifier), false, writeKeyIdentifier(keyIdOf(spkiOf(key))))],
  })
  return signTbs(tbs, signer)
}

export interface ScepMessageParts {
  /** What the envelope holds. */
  readonly content: Buffer
  readonly key: KeyObject
  readonly certificateDer: Buffer
  readonly raDer: Buffer
  readonly messageType?: string
  readonly transactionId?: string
  /** null: none is sent. */
  readonly senderNonce?: Buffer | null
  readonly signingTime?: Date
  readonly hash?: ScepHash
  readonly cipher?: ContentCipher
  /** Names the signer by its key identifier. */
  readonly byKeyIdentifier?: boolean
  /** In place of the envelope. */
  readonly envelope?: Buffer
  /** Sends the signed attributes in another order than they were signed. */
  readonly unsorted?: boolean
}

/** A PKIOperation message (RFC 8894 section 3.1), DER. */
export const scepMessage = (parts: ScepMessageParts): Buffer => {
  const { key, certificateDer, hash = "sha256", senderNonce = randomBytes(16), cipher = "aes-128-cbc" } = parts
  const envelope = parts.envelope ?? writeEnvelopedData(parts.content, parts.raDer, cipher)
  const attribute = (type: string, value: Buffer) => sequence(oid(type), setOf(value))
  const attributes = [
    attribute(cmsOids.contentType, oid(cmsOids.data)),
    attribute(cmsOids.messageDigest, octetString(createHash(hash).update(envelope).digest())),
    attribute(scepOids.messageType, printable(parts.messageType ?? "19")),
    attribute(scepOids.transactionId, printable(parts.transactionId ?? "a-transaction")),
    ...(senderNonce === null ? [] : [attribute(scepOids.senderNonce, octetString(senderNonce))]),
    ...(parts.signingTime === undefined ? [] : [attribute(cmsOids.signingTime, time(parts.signingTime))]),
  ]
  const signed = setOf(...attributes)
  const tagged = parts.unsorted
    ? element(contextTag(0, true), ...[...attributes].sort(Buffer.compare).reverse())
    : Buffer.from(signed)
  tagged[0] = contextTag(0, true)
  const digestAlgorithm = sequence(oid(hashOids[hash]), derNull)
  const isRsa = key.asymmetricKeyType === "rsa"
  const info = sequence(
    integer(parts.byKeyIdentifier ? 3 : 1),
    parts.byKeyIdentifier ? element(contextTag(0, false), keyIdOf(spkiOf(key))) : writeIssuerAndSerial(certificateDer),
    digestAlgorithm,
    tagged,
    isRsa ? sequence(oid(oids.rsaEncryption), derNull) : sequence(oid(oids.ecPublicKey)),
    octetString(sign(hash, signed, key)),
  )
  return writeContent(
    cmsOids.signedData,
    sequence(
      integer(1),
      setOf(digestAlgorithm),
      sequence(oid(cmsOids.data), explicit(0, octetString(envelope))),
      element(contextTag(0, true), certificateDer),
      setOf(info),
    ),
  )
}

export interface ScepReply {
  readonly status: string
  readonly failInfo: string | null
  readonly text: string | null
  readonly transactionId: string | null
  readonly recipientNonce: Buffer | null
  readonly senderNonce: Buffer
  readonly signerDer: Buffer
  readonly envelope: Buffer | null
}

/** Takes a CertRep apart, with its signature verified. */
export const readReply = (der: Buffer): ScepReply => {
  const signed = readSignedData(der)
  const [signer] = signed.signers
  const [signerDer] = signed.certificates
  if (signer === undefined || signerDer === undefined) throw new Error("the answer is not signed")
  const problem = signerProblem(signed, signer, parseCertificate(signerDer).spkiDer, { allowSha1: false })
  if (problem !== null) throw new Error(problem.words)
  const inner = (type: string) => {
    const value = attributeValue(signer, type)
    return value === null ? null : new DerReader(value, "attribute").next()
  }
  const text = (type: string) => {
    const value = inner(type)
    return value === null ? null : readText(value)
  }
  if (text(scepOids.messageType) !== "3") throw new Error("the answer is no CertRep")
  return {
    status: text(scepOids.pkiStatus) ?? "",
    failInfo: text(scepOids.failInfo),
    text: text(scepOids.failInfoText),
    transactionId: text(scepOids.transactionId),
    recipientNonce: inner(scepOids.recipientNonce)?.content ?? null,
    senderNonce: inner(scepOids.senderNonce)?.content ?? Buffer.alloc(0),
    signerDer,
    envelope: signed.content,
  }
}

/** The certificates in a successful answer, as the key of the message's signer opens them; the leaf first. */
export const certificatesOf = (
  { envelope }: ScepReply,
  key: KeyObject,
): { cipher: string; ders: readonly Buffer[] } => {
  const enveloped = readEnvelopedData(envelope ?? Buffer.alloc(0))
  const [transport] = enveloped.recipients
  if (transport === undefined) throw new Error("the answer is encrypted to nobody")
  const plain = openEnvelopedData(enveloped, transport, key)
  if (plain === null) throw new Error("the answer cannot be opened")
  return { cipher: enveloped.cipher ?? "", ders: readSignedData(plain).certificates }
}
