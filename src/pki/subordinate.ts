/**
 * Certificates of CAs that another CA signs: of subordinate ones, and of a root for those who trust its predecessor. Allowed to
 * sign certificates and CRLs.
 */
import type { Authority, SignedCertificate } from "./authority"
import { fingerprintOf } from "./certificate"
import { checkValidity, keyIdOf, randomSerial, signTbs, wholeSeconds, writeTbs } from "./certificate.writer"
import { oid } from "./der.writer"
import {
  writeAuthorityKeyIdentifier,
  writeBasicConstraints,
  writeCrlDistributionPoints,
  writeExtension,
  writeKeyIdentifier,
  writeKeyUsage,
} from "./extensions"
import { type NameConstraints, writeNameConstraints } from "./name-constraints"
import { oids } from "./oids"
import { toPem } from "./pem"

export interface SubordinateRequest {
  readonly spkiDer: Buffer
  /** Encoded Name, not empty. */
  readonly subjectDer: Buffer
  readonly notBefore: Date
  /** Shortened to the end of the signing CA's certificate. */
  readonly notAfter: Date
  /** How many CAs may stand below; null: any number. */
  readonly pathLength: number | null
  readonly nameConstraints: NameConstraints
  readonly crlUrls?: readonly string[]
}

export const signSubordinate = async (
  { signer, subjectDer: issuerDer, keyId, notAfter: issuerEnds }: Authority,
  request: SubordinateRequest,
): Promise<SignedCertificate> => {
  const { spkiDer, subjectDer, pathLength, nameConstraints, crlUrls = [] } = request
  const notBefore = wholeSeconds(request.notBefore)
  const notAfter = wholeSeconds(new Date(Math.min(request.notAfter.getTime(), issuerEnds.getTime())))
  checkValidity(notBefore, notAfter)
  const serial = randomSerial()
  const extension = (type: string, critical: boolean, value: Buffer): Buffer =>
    writeExtension(oid(type), critical, value)
  const isConstrained = nameConstraints.permitted.length + nameConstraints.excluded.length > 0
  const tbs = writeTbs({
    serial,
    algorithmDer: signer.algorithmDer,
    issuerDer,
    notBefore,
    notAfter,
    subjectDer,
    spkiDer,
    extensions: [
      extension(oids.basicConstraints, true, writeBasicConstraints(true, pathLength)),
      extension(oids.keyUsage, true, writeKeyUsage(["keyCertSign", "cRLSign"])),
      extension(oids.subjectKeyIdentifier, false, writeKeyIdentifier(keyIdOf(spkiDer))),
      extension(oids.authorityKeyIdentifier, false, writeAuthorityKeyIdentifier(keyId)),
      // RFC 5280 section 4.2.1.10: critical, always.
      ...(isConstrained ? [extension(oids.nameConstraints, true, writeNameConstraints(nameConstraints))] : []),
      ...(crlUrls.length > 0
        ? [extension(oids.crlDistributionPoints, false, writeCrlDistributionPoints(crlUrls))]
        : []),
    ],
  })
  const der = await signTbs(tbs, signer)
  return {
    certPem: toPem("CERTIFICATE", der),
    der,
    serial: serial.toString("hex"),
    fingerprint: fingerprintOf(der),
    notBefore,
    notAfter,
  }
}
