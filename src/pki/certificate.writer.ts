/** The frame of every certificate that is signed here: what is around names, keys and extensions (RFC 5280 section 4.1). */
import { createHash, randomBytes } from "node:crypto"
import { AppError } from "../errors"
import { bitString, explicit, integer, repeatedTime, sequence, time } from "./der.writer"
import { writeExtensions } from "./extensions"
import { describePublicKey } from "./keys"
import type { Signer } from "./signature"

/** Most certificates of a second are of the same age. */
const bound = repeatedTime(time)
const version3 = explicit(0, integer(2))

/** A serial of 159 random bits. The first byte keeps it positive and always 20 bytes long. */
export const randomSerial = (): Buffer => {
  const serial = randomBytes(20)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial
}

/** SHA-1 of the key bits (RFC 5280 section 4.2.1.2, method 1): an identifier, not a protection. */
export const keyIdOfBits = (keyBytes: Buffer): Buffer => createHash("sha1").update(keyBytes).digest()

export const keyIdOf = (spkiDer: Buffer): Buffer => keyIdOfBits(describePublicKey(spkiDer).keyBytes)

/** Certificates know no fractions. */
export const wholeSeconds = (date: Date): Date => new Date(Math.floor(date.getTime() / 1000) * 1000)

/** Refuses an empty span, and with it invalid dates. */
export const checkValidity = (notBefore: Date, notAfter: Date): void => {
  if (Number.isNaN(notBefore.getTime()) || Number.isNaN(notAfter.getTime()))
    throw new AppError("validation", "validity: notBefore and notAfter must be dates")
  if (notBefore < notAfter) return
  const [from, to] = [notBefore.toISOString(), notAfter.toISOString()]
  throw new AppError("validation", `validity: it would end (${to}) before it begins (${from})`)
}

/** Refuses what RFC 5280 does not allow as a serial. */
export const checkSerial = (serial: Buffer): Buffer => {
  // RFC 5280 section 4.1.2.2: at most 20 octets as encoded, where a set top bit costs one more; zero is not positive.
  if (serial.length === 0 || serial.length > 20 || (serial.length === 20 && (serial[0] ?? 0) >= 0x80))
    throw new AppError("validation", "serial: expected 1 to 20 bytes, positive")
  if (serial.every((byte) => byte === 0)) throw new AppError("validation", "serial: must not be zero")
  return serial
}

interface TbsParts {
  readonly serial: Buffer
  readonly algorithmDer: Buffer
  readonly issuerDer: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  readonly subjectDer: Buffer
  readonly spkiDer: Buffer
  readonly extensions: readonly Buffer[]
}

export const writeTbs = (parts: TbsParts): Buffer =>
  sequence(
    version3,
    integer(parts.serial),
    parts.algorithmDer,
    parts.issuerDer,
    sequence(bound(parts.notBefore), bound(parts.notAfter)),
    parts.subjectDer,
    parts.spkiDer,
    explicit(3, writeExtensions(parts.extensions)),
  )

export const signTbs = async (tbs: Buffer, signer: Signer): Promise<Buffer> =>
  sequence(tbs, signer.algorithmDer, bitString(await signer.sign(tbs)))
