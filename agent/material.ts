/** Checks what was fetched before anything on the host is touched: some servers accept a garbage pair without a word. */
import { AppError } from "../src/errors"
import { type CertificateFacts, parseCertificate } from "../src/pki/certificate"
import { sameName } from "../src/pki/distinguished-name"
import { certificateBlocks, toPem } from "../src/pki/pem"

export interface FetchedChain {
  readonly leaf: CertificateFacts
  readonly certPem: string
  /** Nearest issuer first; empty when there is none. */
  readonly chainPem: string
}

/**
 * Parses the answer of a certificate fetch: leaf first, each of the rest the issuer of the one before, leaf not expired.
 * Signatures and the validity of the rest are not judged: chains in the field carry expired cross-signed roots.
 * Fails with `validation`.
 */
export const checkedChain = (certificatePem: string, expectedFingerprint: string | null, now: Date): FetchedChain => {
  const [leaf, ...chain] = certificateBlocks(certificatePem).map((der) => parseCertificate(der))
  if (leaf === undefined) throw new AppError("validation", "the server's answer holds no certificate")
  if (expectedFingerprint !== null && leaf.fingerprint !== expectedFingerprint) {
    throw new AppError(
      "validation",
      `the server sent certificate ${leaf.fingerprint} where the job names ${expectedFingerprint}`,
    )
  }
  if (leaf.notAfter < now) {
    throw new AppError(
      "validation",
      `the certificate expired at ${leaf.notAfter.toISOString()} (this host's clock says ${now.toISOString()})`,
    )
  }
  let below = leaf
  for (const [index, issuer] of chain.entries()) {
    if (!sameName(below.issuerDer, issuer.subjectDer)) {
      throw new AppError(
        "validation",
        `the chain is out of order: certificate ${index + 1} is "${issuer.subjectDn}" where the issuer "${below.issuerDn}" belongs`,
      )
    }
    below = issuer
  }
  return {
    leaf,
    certPem: toPem("CERTIFICATE", leaf.der),
    chainPem: chain.map(({ der }) => toPem("CERTIFICATE", der)).join(""),
  }
}
