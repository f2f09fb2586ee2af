/** Certificate revocation lists (RFC 5280 section 5): full lists, signed by the CA whose certificates they name. */
import { AppError } from "../errors"
import type { Authority } from "./authority"
import { tags } from "./der.reader"
import { bitString, element, elementHead, explicit, integer, oid, time } from "./der.writer"
import { writeAuthorityKeyIdentifier, writeExtension, writeExtensions } from "./extensions"
import { oids } from "./oids"

export interface RevokedCertificate {
  /** Lower-case hex. */
  readonly serial: string
  readonly revokedAt: Date
  /** CRLReason (RFC 5280 section 5.3.1); 0, unspecified, is left out as that section wants. */
  readonly reasonCode: number
}

const reasonOid = oid(oids.crlReason)
const reasonExtensions = Array.from({ length: 11 }, (_, code) =>
  code === 0
    ? Buffer.alloc(0)
    : writeExtensions([writeExtension(reasonOid, false, element(tags.enumerated, Buffer.from([code])))]),
)

const serialForm = /^[0-9a-f]{1,40}$/
/** Of one entry: two heads and a serial of 21 bytes, a GeneralizedTime, and the reason. */
const mostEntryBytes = 2 + 23 + 17 + 16
const dayMs = 86_400_000
/** The years of UTCTime. */
const utcTimeFrom = Date.UTC(1950, 0)
const utcTimeUntil = Date.UTC(2050, 0)

/** Writes two digits; returns the place behind them. */
const writePair = (out: Buffer, at: number, value: number): number => {
  out[at] = 0x30 + ((value / 10) | 0)
  out[at + 1] = 0x30 + (value % 10)
  return at + 2
}

/** Writes entries one behind the other. What a general writer does for each of them, in objects, takes ten times as long. */
const entryWriter = (out: Buffer) => {
  let at = 0
  /** The day, in milliseconds, that `date` is of. */
  let day = Number.NaN
  const date = Buffer.alloc(6)

  const writeSerial = (serial: string): void => {
    if (!serialForm.test(serial)) throw new AppError("validation", "serial: must be 1 to 40 lower-case hex digits")
    let digits = serial.length % 2 === 0 ? serial : `0${serial}`
    while (digits.length > 2 && digits.startsWith("00")) digits = digits.slice(2)
    // A set top bit would make it negative.
    const sign = digits >= "8" ? 1 : 0
    out[at] = tags.integer
    out[at + 1] = sign + digits.length / 2
    out[at + 2] = 0
    at += 2 + sign
    at += out.write(digits, at, "hex")
  }

  const writeTime = (moment: Date): void => {
    const ms = moment.getTime()
    if (!(ms >= utcTimeFrom && ms < utcTimeUntil)) {
      const encoded = time(moment)
      out.set(encoded, at)
      at += encoded.length
      return
    }
    const start = Math.floor(ms / dayMs) * dayMs
    if (start !== day) {
      writePair(date, 0, moment.getUTCFullYear() % 100)
      writePair(date, 2, moment.getUTCMonth() + 1)
      writePair(date, 4, moment.getUTCDate())
      day = start
    }
    const seconds = ((ms - start) / 1000) | 0
    out[at] = tags.utcTime
    out[at + 1] = 13
    out.set(date, at + 2)
    at = writePair(out, at + 8, (seconds / 3600) | 0)
    at = writePair(out, at, ((seconds / 60) | 0) % 60)
    at = writePair(out, at, seconds % 60)
    out[at++] = 0x5a
  }

  return {
    add({ serial, revokedAt, reasonCode }: RevokedCertificate): void {
      const reason = reasonExtensions[reasonCode]
      if (reason === undefined) throw new AppError("validation", `reason code ${reasonCode} is unknown`)
      const start = at
      at += 2
      writeSerial(serial)
      writeTime(revokedAt)
      out.set(reason, at)
      at += reason.length
      out[start] = tags.sequence
      out[start + 1] = at - start - 2
    },
    get length() {
      return at
    },
  }
}

/**
 * Entries of a list, encoded. A long list is encoded in pieces, so that whoever builds it can let others work in between.
 * Throws `validation` for a serial that is none.
 */
export const encodeRevoked = (revoked: readonly RevokedCertificate[]): Buffer => {
  const out = Buffer.allocUnsafe(revoked.length * mostEntryBytes)
  const writer = entryWriter(out)
  for (const one of revoked) writer.add(one)
  // A copy of its own: the rest is not kept in memory with it.
  return Buffer.from(out.subarray(0, writer.length))
}

export interface CrlContent {
  /** Grows from list to list; at most 20 bytes (RFC 5280 section 5.2.3). */
  readonly number: bigint
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  /** What `encodeRevoked` made, in any order. */
  readonly revoked: readonly Buffer[]
}

const numberOid = oid(oids.crlNumber)
const keyIdentifierOid = oid(oids.authorityKeyIdentifier)
const version2 = integer(1)

const bigInteger = (value: bigint): Buffer => {
  if (value < 0n) throw new AppError("validation", "CRL number: must not be negative")
  const hex = value.toString(16)
  return integer(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex"))
}

/** Bytes after which a long copy lets others work. */
const copiedAtOnce = 1024 * 1024
const lengthOf = (parts: readonly Buffer[]): number => parts.reduce((sum, { length }) => sum + length, 0)

/** The parts one behind the other, after `before` bytes that are left free and before `after`. */
const assembled = async (parts: readonly Buffer[], before: number, after: number): Promise<Buffer> => {
  const out = Buffer.allocUnsafe(before + lengthOf(parts) + after)
  let at = before
  let sinceBreath = 0
  for (const part of parts) {
    if (sinceBreath > copiedAtOnce) {
      sinceBreath = 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    out.set(part, at)
    at += part.length
    sinceBreath += part.length
  }
  return out
}

/** Of the outermost head, at most. */
const headRoom = 6
/** More than the longest algorithm and signature, RSA's with 16384 bits. */
const signatureRoom = 4096

/** The signed list, DER. It is made in one place: a copy of a list of many megabytes takes longer than its signature. */
export const signCrl = async (
  { subjectDer, keyId, signer }: Pick<Authority, "subjectDer" | "keyId" | "signer">,
  { number, thisUpdate, nextUpdate, revoked }: CrlContent,
): Promise<Buffer> => {
  const entries = lengthOf(revoked)
  const fields = [
    version2,
    signer.algorithmDer,
    subjectDer,
    time(thisUpdate),
    time(nextUpdate),
    // RFC 5280 section 5.1.2.6: absent when nothing is revoked.
    ...(entries > 0 ? [elementHead(tags.sequence, entries), ...revoked] : []),
    explicit(
      0,
      writeExtensions([
        writeExtension(keyIdentifierOid, false, writeAuthorityKeyIdentifier(keyId)),
        writeExtension(numberOid, false, bigInteger(number)),
      ]),
    ),
  ]
  const list = [elementHead(tags.sequence, lengthOf(fields)), ...fields]
  const out = await assembled(list, headRoom, signatureRoom)
  const end = out.length - signatureRoom
  const signature = bitString(await signer.sign(out.subarray(headRoom, end)))
  const tail = [signer.algorithmDer, signature]
  const head = elementHead(tags.sequence, end - headRoom + lengthOf(tail))
  out.set(head, headRoom - head.length)
  out.set(signer.algorithmDer, end)
  out.set(signature, end + signer.algorithmDer.length)
  return out.subarray(headRoom - head.length, end + lengthOf(tail))
}
