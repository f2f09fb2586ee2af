/**
 * CMS EnvelopedData (RFC 5652 section 6) for recipients with an RSA key: AES in CBC mode, and the DES family for clients that
 * know nothing else. CBC does not notice changes: what comes out of an envelope is not to be believed before something inside
 * it, such as a CSR's signature, has been verified, and nobody may be told how far that got.
 */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from "node:crypto"
import { AppError } from "../errors"
import { openFrame } from "./certificate"
import {
  type CertificateId,
  cmsOids,
  openContent,
  readAlgorithm,
  readCertificateId,
  writeContent,
  writeIssuerAndSerial,
} from "./cms-content"
import { contextTag, DerReader, readOid, tags } from "./der.reader"
import { derNull, implicit, integer, octetString, oid, sequence, setOf } from "./der.writer"
import { keyFacts } from "./keys"
import { oids } from "./oids"
import { unwrapContentKey } from "./rsa-key-transport"

const what = "EnvelopedData"
const maxRecipients = 20

export type ContentCipher = "aes-128-cbc" | "aes-192-cbc" | "aes-256-cbc" | "des-ede3-cbc" | "des-cbc"

const ciphers: Readonly<Record<ContentCipher, { oid: string; keyBytes: number; blockBytes: number }>> = {
  "aes-128-cbc": { oid: "2.16.840.1.101.3.4.1.2", keyBytes: 16, blockBytes: 16 },
  "aes-192-cbc": { oid: "2.16.840.1.101.3.4.1.22", keyBytes: 24, blockBytes: 16 },
  "aes-256-cbc": { oid: "2.16.840.1.101.3.4.1.42", keyBytes: 32, blockBytes: 16 },
  "des-ede3-cbc": { oid: "1.2.840.113549.3.7", keyBytes: 24, blockBytes: 8 },
  "des-cbc": { oid: "1.3.14.3.2.7", keyBytes: 8, blockBytes: 8 },
}

const cipherNames = Object.keys(ciphers) as ContentCipher[]

interface KeyTransport {
  readonly recipient: CertificateId
  readonly algorithm: string
  readonly encryptedKey: Buffer
}

export interface CmsEnvelopedData {
  /** null: one that is not known here, see `cipherOid`. */
  readonly cipher: ContentCipher | null
  readonly cipherOid: string
  readonly iv: Buffer
  readonly encryptedContent: Buffer
  /** Recipients that are sent the key by key transport (section 6.2.1); others are left out. */
  readonly recipients: readonly KeyTransport[]
}

const readRecipients = (set: DerReader): KeyTransport[] => {
  const recipients: KeyTransport[] = []
  let seen = 0
  while (!set.done) {
    if (++seen > maxRecipients) throw new AppError("validation", `${what}: too many recipients`)
    const { tag, content } = set.next()
    if (tag !== tags.sequence) continue
    const fields = new DerReader(content, what)
    fields.next(tags.integer)
    const recipient = readCertificateId(fields)
    const algorithm = readAlgorithm(fields, what).oid
    const encryptedKey = fields.next(tags.octetString).content
    fields.end()
    recipients.push({ recipient, algorithm, encryptedKey })
  }
  return recipients
}

/** [0] IMPLICIT OCTET STRING: in one piece, or in BER's pieces. */
const readContent = (fields: DerReader): Buffer => {
  const whole = fields.optional(contextTag(0, false))
  if (whole !== null) return whole.content
  const pieces = fields.enter(contextTag(0, true))
  const parts: Buffer[] = []
  while (!pieces.done) parts.push(pieces.next(tags.octetString).content)
  return Buffer.concat(parts)
}

/** Takes an EnvelopedData message (BER or DER) apart. Fails with `validation`. */
export const readEnvelopedData = (bytes: Buffer): CmsEnvelopedData => {
  const fields = openContent(bytes, cmsOids.envelopedData, what)
  fields.next(tags.integer)
  fields.optional(contextTag(0, true))
  const recipients = readRecipients(fields.enter(tags.set))
  const encrypted = fields.enter(tags.sequence)
  readOid(encrypted.next(tags.oid).content, what)
  const algorithm = readAlgorithm(encrypted, what)
  const encryptedContent = readContent(encrypted)
  encrypted.end()
  fields.optional(contextTag(1, true))
  fields.end()
  const cipher = cipherNames.find((name) => ciphers[name].oid === algorithm.oid) ?? null
  const iv = algorithm.parameters?.tag === tags.octetString ? algorithm.parameters.content : Buffer.alloc(0)
  if (cipher !== null) {
    const { blockBytes } = ciphers[cipher]
    const isWhole = encryptedContent.length > 0 && encryptedContent.length % blockBytes === 0
    if (iv.length !== blockBytes || !isWhole) throw new AppError("validation", `${what}: is not whole blocks`)
  }
  return { cipher, cipherOid: algorithm.oid, iv, encryptedContent, recipients }
}

/** Without padding (section 6.3); as it is where the padding is broken, so that this takes no other way than success does. */
const withoutPadding = (padded: Buffer, blockBytes: number): Buffer => {
  const count = padded.at(-1) ?? 0
  const isProper =
    count > 0 && count <= blockBytes && padded.subarray(padded.length - count).every((byte) => byte === count)
  return isProper ? padded.subarray(0, padded.length - count) : padded
}

/**
 * What an envelope holds. The wrong key, a broken one and changed content give rubbish and no error: only the content itself
 * can tell, see the head of this file. null when nobody could open it: an unknown cipher or another key transport than RSA
 * PKCS#1 v1.5.
 */
export const openEnvelopedData = (
  { cipher, iv, encryptedContent }: CmsEnvelopedData,
  { algorithm, encryptedKey }: KeyTransport,
  privateKey: KeyObject,
): Buffer | null => {
  if (cipher === null || algorithm !== oids.rsaEncryption) return null
  const { keyBytes, blockBytes } = ciphers[cipher]
  const key = unwrapContentKey(privateKey, encryptedKey, keyBytes)
  const decipher = createDecipheriv(cipher, key, iv).setAutoPadding(false)
  const padded = Buffer.concat([decipher.update(encryptedContent), decipher.final()])
  return withoutPadding(padded, blockBytes)
}

/** Whether envelopes can be made for this key: transport needs RSA. */
export const canReceive = (spkiDer: Buffer): boolean => {
  try {
    const { algorithm, size } = keyFacts(spkiDer)
    return algorithm === "RSA" && size >= 1024
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
}

/** Content of type data for the key of a certificate (DER), which must be RSA: see `canReceive`. */
export const writeEnvelopedData = (content: Buffer, recipientDer: Buffer, cipher: ContentCipher): Buffer => {
  const { oid: cipherOid, keyBytes, blockBytes } = ciphers[cipher]
  const key = randomBytes(keyBytes)
  const iv = randomBytes(blockBytes)
  const encryption = createCipheriv(cipher, key, iv)
  const encrypted = Buffer.concat([encryption.update(content), encryption.final()])
  const publicKey = createPublicKey({ key: openFrame(recipientDer).spkiDer, format: "der", type: "spki" })
  const wrapped = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, key)
  return writeContent(
    cmsOids.envelopedData,
    sequence(
      integer(0),
      setOf(
        sequence(
          integer(0),
          writeIssuerAndSerial(recipientDer),
          sequence(oid(oids.rsaEncryption), derNull),
          octetString(wrapped),
        ),
      ),
      sequence(oid(cmsOids.data), sequence(oid(cipherOid), octetString(iv)), implicit(0, encrypted)),
    ),
  )
}
