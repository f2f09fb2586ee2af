/**
 * PKCS#12 files (RFC 7292) with certificates and no key: what Java and Windows import as things to trust. Encrypted with AES-256
 * (PBES2), integrity by HMAC with SHA-256; no legacy algorithm, so that systems in FIPS mode read them.
 */
import { randomBytes } from "node:crypto"

/** Java lists a certificate without key only where this attribute says for what it is trusted. */
const javaTrust = "2.16.840.1.113894.746875.1.1"
/** Any extended key usage: for everything. */
const anyUsage = "2.5.29.37.0"
const friendlyName = "1.2.840.113549.1.9.20"
const certificateBag = "1.2.840.113549.1.12.10.1.3"
/** As keytool does. What is inside is public, and the key of the MAC is derived on the event loop. */
const iterations = 10_000

export interface TrustedCertificate {
  readonly der: Buffer
  /** Shown by keytool as the alias. Unique within the file. */
  readonly alias: string
}

/** The password is UTF-8 and may be empty. */
export const buildTrustStore = async (
  certificates: readonly TrustedCertificate[],
  password: string,
): Promise<Buffer> => {
  // Half a megabyte of code that only this needs.
  const [pkijs, asn1js] = await Promise.all([import("pkijs"), import("asn1js")])
  const bagOf = ({ der, alias }: TrustedCertificate) =>
    new pkijs.SafeBag({
      bagId: certificateBag,
      bagValue: new pkijs.CertBag({ parsedValue: pkijs.Certificate.fromBER(new Uint8Array(der)) }),
      bagAttributes: [
        new pkijs.Attribute({ type: friendlyName, values: [new asn1js.BmpString({ value: alias })] }),
        new pkijs.Attribute({ type: javaTrust, values: [new asn1js.ObjectIdentifier({ value: anyUsage })] }),
      ],
    })
  const secret = new Uint8Array(Buffer.from(password, "utf8")).buffer
  const authenticatedSafe = new pkijs.AuthenticatedSafe({
    parsedValue: {
      safeContents: [{ privacyMode: 1, value: new pkijs.SafeContents({ safeBags: certificates.map(bagOf) }) }],
    },
  })
  await authenticatedSafe.makeInternalValues({
    safeContents: [
      {
        password: secret,
        contentEncryptionAlgorithm: { name: "AES-CBC", length: 256, iv: randomBytes(16) },
        hmacHashAlgorithm: "SHA-256",
        iterationCount: iterations,
      },
    ],
  })
  const file = new pkijs.PFX({ parsedValue: { integrityMode: 0, authenticatedSafe } })
  await file.makeInternalValues({
    password: secret,
    iterations,
    pbkdf2HashAlgorithm: "SHA-256",
    hmacHashAlgorithm: "SHA-256",
  })
  return Buffer.from(file.toSchema().toBER())
}
