/**
 * PKCS#12 files (RFC 7292) with a private key, its certificate and the chain: what Java and Windows import as an identity. The
 * trust-store form beside this one has no key. Written directly, since the library used there has no 3DES form, which is all that
 * Windows Server 2016 and Java before 8u301 read.
 */
import { createCipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto"
import { AppError } from "../errors"
import { derNull, explicit, implicit, integer, octetString, oid, sequence, setOf } from "./der.writer"
import { readPrivateKey } from "./keys"
import { certificateBlocks } from "./pem"
import { derivePkcs12, pkcs12Purposes } from "./pkcs12-derivation"

const oids = {
  data: "1.2.840.113549.1.7.1",
  encryptedData: "1.2.840.113549.1.7.6",
  localKeyId: "1.2.840.113549.1.9.21",
  x509Certificate: "1.2.840.113549.1.9.22.1",
  shroudedKeyBag: "1.2.840.113549.1.12.10.1.2",
  certificateBag: "1.2.840.113549.1.12.10.1.3",
  pbeSha1TripleDes: "1.2.840.113549.1.12.1.3",
  pbkdf2: "1.2.840.113549.1.5.12",
  pbes2: "1.2.840.113549.1.5.13",
  hmacSha256: "1.2.840.113549.2.9",
  aes256Cbc: "2.16.840.1.101.3.4.1.42",
  sha1: "1.3.14.3.2.26",
  sha256: "2.16.840.1.101.3.4.2.1",
} as const

/** As keytool does. */
const iterations = 10_000

interface KeyStoreContent {
  /** PKCS#8, PKCS#1 or SEC1, unencrypted. */
  readonly keyPem: string
  readonly certPem: string
  /** Nearest issuer first; may be empty. */
  readonly chainPem: string
  /** Not empty: with an empty one readers disagree about what was encrypted. */
  readonly password: string
  /** 3DES and SHA-1 in place of AES-256 (PBES2) and SHA-256. */
  readonly legacy?: boolean
}

/**
 * The file's bytes, never the same twice. The entry has no friendly name (keytool calls it `1`); key and leaf are tied by a
 * localKeyId. Fails with `validation` when key or certificates cannot be read.
 */
export const pkcs12KeyStore = ({ keyPem, certPem, chainPem, password, legacy = false }: KeyStoreContent): Buffer => {
  if (password === "") throw new AppError("validation", "a key store needs a password")
  const pkcs8 = readPrivateKey(keyPem).export({ type: "pkcs8", format: "der" })
  const [leaf, ...others] = certificateBlocks(certPem)
  if (leaf === undefined) throw new AppError("validation", "certificate: the text has no certificate block")
  const keyId = createHash("sha1").update(leaf).digest()
  const encrypt = legacy ? encryptTripleDes : encryptAes256

  const key = encrypt(pkcs8, password)
  const keyBag = bag(oids.shroudedKeyBag, sequence(key.algorithm, octetString(key.bytes)), keyId)
  const certificateBags = [
    certificateBag(leaf, keyId),
    ...[...others, ...certificateBlocks(chainPem)].map((certificate) => certificateBag(certificate, null)),
  ]
  const certificates = encrypt(sequence(...certificateBags), password)
  const authenticatedSafe = sequence(
    sequence(
      oid(oids.encryptedData),
      explicit(
        0,
        sequence(integer(0), sequence(oid(oids.data), certificates.algorithm, implicit(0, certificates.bytes))),
      ),
    ),
    plainData(sequence(keyBag)),
  )
  return sequence(integer(3), plainData(authenticatedSafe), macOf(authenticatedSafe, password, legacy))
}

const plainData = (content: Buffer): Buffer => sequence(oid(oids.data), explicit(0, octetString(content)))

const bag = (type: string, value: Buffer, keyId: Buffer | null): Buffer =>
  sequence(
    oid(type),
    explicit(0, value),
    ...(keyId === null ? [] : [setOf(sequence(oid(oids.localKeyId), setOf(octetString(keyId))))]),
  )

const certificateBag = (der: Buffer, keyId: Buffer | null): Buffer =>
  bag(oids.certificateBag, sequence(oid(oids.x509Certificate), explicit(0, octetString(der))), keyId)

interface Encrypted {
  readonly algorithm: Buffer
  readonly bytes: Buffer
}

const encipher = (cipher: string, key: Buffer, iv: Buffer, plain: Buffer): Buffer => {
  const running = createCipheriv(cipher, key, iv)
  return Buffer.concat([running.update(plain), running.final()])
}

/** PBES2 (RFC 8018): the password is UTF-8 here, other than in everything RFC 7292 derives itself. */
const encryptAes256 = (plain: Buffer, password: string): Encrypted => {
  const salt = randomBytes(16)
  const iv = randomBytes(16)
  const key = pbkdf2Sync(Buffer.from(password, "utf8"), salt, iterations, 32, "sha256")
  const derivation = sequence(octetString(salt), integer(iterations), sequence(oid(oids.hmacSha256), derNull))
  return {
    algorithm: sequence(
      oid(oids.pbes2),
      sequence(sequence(oid(oids.pbkdf2), derivation), sequence(oid(oids.aes256Cbc), octetString(iv))),
    ),
    bytes: encipher("aes-256-cbc", key, iv, plain),
  }
}

/** RFC 7292 appendix C: key and IV both come from the password. */
const encryptTripleDes = (plain: Buffer, password: string): Encrypted => {
  const salt = randomBytes(8)
  const legacyWay = { digest: "sha1", password, salt, rounds: iterations } as const
  const key = derivePkcs12({ ...legacyWay, purpose: pkcs12Purposes.key, length: 24 })
  const iv = derivePkcs12({ ...legacyWay, purpose: pkcs12Purposes.iv, length: 8 })
  return {
    algorithm: sequence(oid(oids.pbeSha1TripleDes), sequence(octetString(salt), integer(iterations))),
    bytes: encipher("des-ede3-cbc", key, iv, plain),
  }
}

const macOf = (content: Buffer, password: string, legacy: boolean): Buffer => {
  const digest = legacy ? "sha1" : "sha256"
  const salt = randomBytes(legacy ? 8 : 16)
  const key = derivePkcs12({
    ...{ digest, password, salt, rounds: iterations },
    purpose: pkcs12Purposes.mac,
    length: legacy ? 20 : 32,
  })
  const mac = createHmac(digest, key).update(content).digest()
  return sequence(
    sequence(sequence(oid(oids[digest]), derNull), octetString(mac)),
    octetString(salt),
    integer(iterations),
  )
}
