/** Messages of SCEP (RFC 8894 section 3): SignedData around EnvelopedData, with the transaction in signed attributes. */
import { randomBytes } from "node:crypto"
import { AppError } from "../errors"
import { type CertificateFacts, parseCertificate } from "./certificate"
import { cmsOids, namesCertificate } from "./cms-content"
import { attributeValue, type CmsSignedData, type CmsSigner, signingTimeOf, writeSignedData } from "./cms-signed-data"
import { DerReader, readText, tags } from "./der.reader"
import { element, octetString } from "./der.writer"
import type { Signer } from "./signature"

const attributeOids = {
  messageType: "2.16.840.1.113733.1.9.2",
  pkiStatus: "2.16.840.1.113733.1.9.3",
  failInfo: "2.16.840.1.113733.1.9.4",
  senderNonce: "2.16.840.1.113733.1.9.5",
  recipientNonce: "2.16.840.1.113733.1.9.6",
  transactionId: "2.16.840.1.113733.1.9.7",
  failInfoText: "1.3.6.1.5.5.7.24.1",
} as const

const messageTypes = { "17": "RenewalReq", "19": "PKCSReq", "20": "CertPoll", "21": "GetCert", "22": "GetCRL" } as const
export type ScepMessageType = (typeof messageTypes)[keyof typeof messageTypes]

/** Section 3.2.1.4. */
export const failInfos = { badAlg: 0, badMessageCheck: 1, badRequest: 2, badTime: 3, badCertId: 4 } as const
export type FailInfo = keyof typeof failInfos

const what = "SCEP message"
// Sixteen bytes and a hash in hex are usual; what is echoed and recorded has an end.
const maxAttributeBytes = 256

export interface ScepRequest {
  readonly signed: CmsSignedData
  readonly signer: CmsSigner
  /** Of the signer: self-signed for the first enrolment, the one to be renewed later. Nothing about it is verified. */
  readonly certificate: CertificateFacts
  /** null: none that a client may send. */
  readonly messageType: ScepMessageType | null
  readonly transactionId: string
  /** As it came: it is echoed to the byte. */
  readonly transactionIdDer: Buffer
  readonly senderNonce: Buffer | null
  /** What the client's clock said, where it tells. */
  readonly signingTime: Date | null
}

/** What of a message has to be known to answer it. */
export type ScepTransaction = Pick<ScepRequest, "transactionIdDer" | "senderNonce">

const textOf = (signer: CmsSigner, type: string): string | null => {
  const value = attributeValue(signer, type)
  return value === null ? null : readText(new DerReader(value, what).next())
}

const nonceOf = (signer: CmsSigner): Buffer | null => {
  const value = attributeValue(signer, attributeOids.senderNonce)
  return value === null ? null : new DerReader(value, what).next(tags.octetString).content
}

const isMessageType = (text: string): text is keyof typeof messageTypes => Object.hasOwn(messageTypes, text)

/** The SCEP message that a SignedData is; null when it has no transaction, as minimal clients send it. Fails with `validation`. */
export const readScepRequest = (signed: CmsSignedData): ScepRequest | null => {
  const [signer, ...others] = signed.signers
  if (signer === undefined) return null
  const type = textOf(signer, attributeOids.messageType)
  if (type === null) return null
  if (others.length > 0) throw new AppError("validation", `${what}: has more than one signer`)
  const transactionIdDer = attributeValue(signer, attributeOids.transactionId)
  const transactionId = textOf(signer, attributeOids.transactionId)
  const senderNonce = nonceOf(signer)
  if (transactionIdDer === null || transactionId === null || transactionId === "")
    throw new AppError("validation", `${what}: has no transaction id`)
  if (transactionId.length > maxAttributeBytes || (senderNonce?.length ?? 0) > maxAttributeBytes) {
    throw new AppError("validation", `${what}: transaction id or nonce is too long`)
  }
  const certificate = signed.certificates
    .map((der) => parseCertificate(der))
    .find((candidate) => namesCertificate(signer.certificateId, candidate))
  if (certificate === undefined) throw new AppError("validation", `${what}: the signer's certificate is missing`)
  return {
    signed,
    signer,
    certificate,
    messageType: isMessageType(type) ? messageTypes[type] : null,
    transactionId,
    transactionIdDer,
    senderNonce,
    signingTime: signingTimeOf(signer),
  }
}

export type ScepOutcome =
  | { readonly status: "success"; readonly envelope: Buffer }
  | { readonly status: "failure"; readonly failInfo: FailInfo; readonly text: string }

const printable = (text: string): Buffer => element(tags.printableString, Buffer.from(text, "latin1"))

const outcomeAttributes = (outcome: ScepOutcome): (readonly [string, Buffer])[] =>
  outcome.status === "success"
    ? [[attributeOids.pkiStatus, printable("0")]]
    : [
        [attributeOids.pkiStatus, printable("2")],
        [attributeOids.failInfo, printable(String(failInfos[outcome.failInfo]))],
        [attributeOids.failInfoText, element(tags.utf8String, Buffer.from(outcome.text, "utf8"))],
      ]

/**
 * The answer to a message (CertRep, section 3.3.2), signed by the RA, DER. A failure has empty content, not none: OpenSSL's
 * PKCS7_verify looks for missing content elsewhere, and with it certmonger cannot tell a refusal from a damaged answer.
 */
export const writeCertRep = (
  { transactionIdDer, senderNonce }: ScepTransaction,
  outcome: ScepOutcome,
  ra: { readonly certificateDer: Buffer; readonly signer: Signer },
): Promise<Buffer> =>
  writeSignedData({
    contentType: cmsOids.data,
    content: outcome.status === "success" ? outcome.envelope : Buffer.alloc(0),
    certificateDers: [ra.certificateDer],
    signer: ra.signer,
    attributes: [
      [attributeOids.messageType, printable("3")],
      [attributeOids.transactionId, transactionIdDer],
      ...outcomeAttributes(outcome),
      [attributeOids.senderNonce, octetString(randomBytes(16))],
      ...(senderNonce === null ? [] : [[attributeOids.recipientNonce, octetString(senderNonce)] as const]),
    ],
  })
