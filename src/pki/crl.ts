/** Certificate revocation lists (RFC 5280 section 5): full lists, signed by the CA whose certificates they name. */
import { AppError } from "../errors"
import type { Authority } from "./authority"
import { tags } from "./der.reader"
import { bitString, element, explicit, integer, oid, sequence, time } from "./der.writer"
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

const serialInteger = (serial: string): Buffer => {
  if (!/^[0-9a-f]{1,40}$/.test(serial))
    throw new AppError("validation", "serial: must be 1 to 40 lower-case hex digits")
  return integer(Buffer.from(serial.length % 2 === 0 ? serial : `0${serial}`, "hex"))
}

/**
 * Entries of a list, encoded. A long list is encoded in pieces, so that whoever builds it can let others work in between.
 * Throws `validation` for a serial that is none.
 */
export const encodeRevoked = (revoked: readonly RevokedCertificate[]): Buffer =>
  Buffer.concat(
    revoked.map(({ serial, revokedAt, reasonCode }) => {
      const extensions = reasonExtensions[reasonCode]
      if (extensions === undefined) throw new AppError("validation", `reason code ${reasonCode} is unknown`)
      return sequence(serialInteger(serial), time(revokedAt), extensions)
    }),
  )

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

/** The signed list, DER. */
export const signCrl = async (
  { subjectDer, keyId, signer }: Pick<Authority, "subjectDer" | "keyId" | "signer">,
  { number, thisUpdate, nextUpdate, revoked }: CrlContent,
): Promise<Buffer> => {
  const entries = sequence(...revoked)
  const list = sequence(
    version2,
    signer.algorithmDer,
    subjectDer,
    time(thisUpdate),
    time(nextUpdate),
    // RFC 5280 section 5.1.2.6: absent when nothing is revoked.
    ...(entries.length > 2 ? [entries] : []),
    explicit(
      0,
      writeExtensions([
        writeExtension(keyIdentifierOid, false, writeAuthorityKeyIdentifier(keyId)),
        writeExtension(numberOid, false, bigInteger(number)),
      ]),
    ),
  )
  return sequence(list, signer.algorithmDer, bitString(await signer.sign(list)))
}
