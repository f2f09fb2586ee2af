/** OCSP requests and responses (RFC 6960), with the nonce of RFC 9654. Deciding what is revoked is the responder's business. */
import { createHash } from "node:crypto"
import { AppError } from "../errors"
import type { Authority } from "./authority"
import { contextTag, type DerElement, DerReader, readOid, readSequence, tags } from "./der.reader"
import {
  bitString,
  derNull,
  element,
  explicit,
  generalizedTime,
  implicit,
  integer,
  octetString,
  oid,
  repeatedTime,
  sequence,
} from "./der.writer"
import { readExtensions, writeExtension, writeExtensions } from "./extensions"
import { describePublicKey } from "./keys"
import type { Signer } from "./signature"

const hashes = {
  "1.3.14.3.2.26": "sha1",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
} as const
export type OcspHash = (typeof hashes)[keyof typeof hashes]

/** Names one certificate: its serial, and hashes of its issuer's name and key. */
export interface CertId {
  /** As it was sent; answers repeat it. */
  readonly der: Buffer
  /** null: a hash function that is not known here. */
  readonly hash: OcspHash | null
  readonly nameHash: Buffer
  readonly keyHash: Buffer
  /** Lower-case hex without leading zero bytes. */
  readonly serial: string
}

export interface OcspRequest {
  readonly certIds: readonly CertId[]
  /** What is to be repeated; null when none was sent, `malformed` outside the 1 to 32 octets that are served here. */
  readonly nonce: Buffer | null | "malformed"
}

const what = "OCSP request"
const maxBytes = 16 * 1024
/** Clients ask for a chain at most; each certificate costs a look-up. */
const maxCertIds = 64
const nonceOid = "1.3.6.1.5.5.7.48.1.2"
const basicOid = oid("1.3.6.1.5.5.7.48.1.1")
const nonceType = oid(nonceOid)

const hexOf = (content: Buffer): string => {
  let start = 0
  while (start < content.length - 1 && content[start] === 0) start++
  return content.subarray(start).toString("hex")
}

const readCertId = ({ bytes, content }: DerElement): CertId => {
  const fields = new DerReader(content, what)
  const algorithm = fields.enter(tags.sequence)
  const id = readOid(algorithm.next(tags.oid).content, what)
  const nameHash = fields.next(tags.octetString).content
  const keyHash = fields.next(tags.octetString).content
  const serial = fields.next(tags.integer).content
  fields.end()
  if (serial.length === 0 || serial.length > 32) throw new AppError("validation", `${what}: serial has a bad length`)
  const hash = Object.entries(hashes).find(([dotted]) => dotted === id)?.[1] ?? null
  return { der: bytes, hash, nameHash, keyHash, serial: hexOf(serial) }
}

/** The nonce is an OCTET STRING inside the extension's; some clients leave the inner one out. */
const readNonce = (value: Buffer): Buffer | "malformed" => {
  const isWrapped = value[0] === tags.octetString && value.length >= 2 && value[1] === value.length - 2
  const nonce = isWrapped ? value.subarray(2) : value
  return nonce.length >= 1 && nonce.length <= 32 ? nonce : "malformed"
}

/** Reads a DER request; its optional signature is not looked at. Throws `validation`. */
export const parseOcspRequest = (der: Buffer): OcspRequest => {
  if (der.length > maxBytes) throw new AppError("validation", `${what}: is larger than 16 KiB`)
  const outer = readSequence(der, what)
  const body = outer.enter(tags.sequence)
  outer.optional(contextTag(0, true))
  outer.end()
  // Version 1 is the default and the only one; the requestor's name plays no part.
  body.optional(contextTag(0, true))
  body.optional(contextTag(1, true))
  const list = body.enter(tags.sequence)
  const certIds: CertId[] = []
  while (!list.done) {
    if (certIds.length === maxCertIds)
      throw new AppError("validation", `${what}: names more than ${maxCertIds} certificates`)
    certIds.push(readCertId(list.enter(tags.sequence).next(tags.sequence)))
  }
  if (certIds.length === 0) throw new AppError("validation", `${what}: names no certificate`)
  const extensions = body.optional(contextTag(2, true))
  body.end()
  let nonce: OcspRequest["nonce"] = null
  if (extensions !== null) {
    const entries = readExtensions(readSequence(extensions.content, what), what)
    const found = entries.find((entry) => entry.oid === nonceOid)
    if (found !== undefined) nonce = readNonce(found.value)
  }
  return { certIds, nonce }
}

type IssuerNames = Pick<Authority, "subjectDer" | "spkiDer">

const hashesOf = ({ subjectDer, spkiDer }: IssuerNames, hash: OcspHash) => ({
  nameHash: createHash(hash).update(subjectDer).digest(),
  keyHash: createHash(hash).update(describePublicKey(spkiDer).keyBytes).digest(),
})

/** Tells whether a CertID speaks of this CA; the few hashes are computed once. */
export const certIdMatcher = (issuer: IssuerNames): ((id: CertId) => boolean) => {
  const known = new Map<OcspHash, ReturnType<typeof hashesOf>>()
  return ({ hash, nameHash, keyHash }) => {
    if (hash === null) return false
    const ours = known.get(hash) ?? hashesOf(issuer, hash)
    known.set(hash, ours)
    return ours.nameHash.equals(nameHash) && ours.keyHash.equals(keyHash)
  }
}

/** A CertID with SHA-1, which every client understands (RFC 5019 section 2.1.1). `serial` is lower-case hex. */
export const certIdOf = (issuer: IssuerNames): ((serial: string) => Buffer) => {
  const { nameHash, keyHash } = hashesOf(issuer, "sha1")
  const head = [sequence(oid("1.3.14.3.2.26"), derNull), octetString(nameHash), octetString(keyHash)]
  return (serial) => sequence(...head, integer(Buffer.from(serial.length % 2 === 0 ? serial : `0${serial}`, "hex")))
}

export type CertStatus =
  | { readonly status: "good" | "unknown" }
  | { readonly status: "revoked"; readonly revokedAt: Date; readonly reasonCode: number }

export interface SingleResponse {
  readonly certIdDer: Buffer
  readonly certStatus: CertStatus
  readonly thisUpdate: Date
  readonly nextUpdate: Date
}

export interface OcspResponder {
  /** SHA-1 of the responder's key bits: how answers name who signed them. */
  readonly keyId: Buffer
  readonly signer: Signer
  /** Sent along, so that clients can verify a delegated responder; empty when the CA itself signs. */
  readonly certificateDers: readonly Buffer[]
}

const successful = element(tags.enumerated, Buffer.from([0]))
const good = implicit(0, Buffer.alloc(0))
const unknown = implicit(2, Buffer.alloc(0))

const writeStatus = (certStatus: CertStatus): Buffer => {
  if (certStatus.status !== "revoked") return certStatus.status === "good" ? good : unknown
  const { revokedAt, reasonCode } = certStatus
  const reason = reasonCode === 0 ? [] : [explicit(0, element(tags.enumerated, Buffer.from([reasonCode])))]
  return element(contextTag(1, true), generalizedTime(revokedAt), ...reason)
}

/** What is the same in all answers of a responder. */
interface Frame {
  readonly responderId: Buffer
  readonly certificates: readonly Buffer[]
}

const frames = new WeakMap<OcspResponder, Frame>()
const frameOf = (responder: OcspResponder): Frame => {
  const known = frames.get(responder)
  if (known !== undefined) return known
  const { keyId, certificateDers } = responder
  const frame: Frame = {
    responderId: explicit(2, octetString(keyId)),
    certificates: certificateDers.length === 0 ? [] : [explicit(0, sequence(...certificateDers))],
  }
  frames.set(responder, frame)
  return frame
}

const answerTime = repeatedTime(generalizedTime)
const nextTime = repeatedTime((date) => explicit(0, generalizedTime(date)))

const writeNonce = (nonce: Buffer): Buffer =>
  explicit(1, writeExtensions([writeExtension(nonceType, false, octetString(nonce))]))

/** A successful response, DER, holding one answer per certificate in the order given. */
export const signOcspResponse = async (
  responder: OcspResponder,
  { producedAt, responses, nonce }: { producedAt: Date; responses: readonly SingleResponse[]; nonce: Buffer | null },
): Promise<Buffer> => {
  const { signer } = responder
  const { responderId, certificates } = frameOf(responder)
  const answers = responses.map(({ certIdDer, certStatus, thisUpdate, nextUpdate }) =>
    sequence(certIdDer, writeStatus(certStatus), answerTime(thisUpdate), nextTime(nextUpdate)),
  )
  const data = sequence(
    responderId,
    answerTime(producedAt),
    sequence(...answers),
    ...(nonce === null ? [] : [writeNonce(nonce)]),
  )
  const basic = sequence(data, signer.algorithmDer, bitString(await signer.sign(data)), ...certificates)
  return sequence(successful, explicit(0, sequence(basicOid, octetString(basic))))
}

const errorCodes = { malformedRequest: 1, internalError: 2, tryLater: 3, unauthorized: 6 } as const

/** A response that says only what went wrong (RFC 6960 section 4.2.1); it is not signed. */
export const ocspErrorResponse = (error: keyof typeof errorCodes): Buffer =>
  sequence(element(tags.enumerated, Buffer.from([errorCodes[error]])))
