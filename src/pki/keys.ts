/** Key pairs: making them, reading what tools write, and telling what they are. */
import { createPrivateKey, createPublicKey, generateKeyPair, KeyObject } from "node:crypto"
import { promisify } from "node:util"
import { AppError, messageOf } from "../errors"
import { DerReader, readBitBytes, readOid, readSequence, tags } from "./der.reader"
import { oids } from "./oids"
import { pemRegions } from "./pem"

export type KeyType = "ecdsa-p256" | "ecdsa-p384" | "ecdsa-p521" | "rsa-2048" | "rsa-3072" | "rsa-4096" | "ed25519"

export const keyTypes: readonly KeyType[] = [
  "ecdsa-p256",
  "ecdsa-p384",
  "ecdsa-p521",
  "rsa-2048",
  "rsa-3072",
  "rsa-4096",
  "ed25519",
]

export interface KeyFacts {
  readonly algorithm: "RSA" | "ECDSA" | "Ed25519"
  /** Bits: the RSA modulus, the curve; 256 for Ed25519. */
  readonly size: number
}

/** The names Node.js knows our curves by, which differ from those OpenSSL's command line prints. */
const curveSizes: Readonly<Record<string, number>> = {
  prime256v1: 256,
  "P-256": 256,
  secp384r1: 384,
  "P-384": 384,
  secp521r1: 521,
  "P-521": 521,
}

const generate = promisify(generateKeyPair)

/** A new private key. The work is done off the event loop; RSA-4096 takes seconds. */
export const generateKey = async (type: KeyType): Promise<KeyObject> => {
  switch (type) {
    case "ed25519":
      return (await generate("ed25519", {})).privateKey
    case "ecdsa-p256":
    case "ecdsa-p384":
    case "ecdsa-p521":
      return (await generate("ec", { namedCurve: `P-${type.slice("ecdsa-p".length)}` })).privateKey
    case "rsa-2048":
    case "rsa-3072":
    case "rsa-4096":
      return (await generate("rsa", { modulusLength: Number(type.slice("rsa-".length)) })).privateKey
  }
}

const unsupported = (what: string): AppError =>
  new AppError("validation", `key: ${what} is not supported (use RSA, ECDSA P-256, P-384, P-521 or Ed25519)`)

const factsOfKeyObject = (key: KeyObject): KeyFacts => {
  const { asymmetricKeyType, asymmetricKeyDetails } = key
  switch (asymmetricKeyType) {
    case "rsa":
      return { algorithm: "RSA", size: asymmetricKeyDetails?.modulusLength ?? 0 }
    case "ec": {
      const curve = asymmetricKeyDetails?.namedCurve ?? ""
      const size = curveSizes[curve]
      if (size === undefined) throw unsupported(`the curve ${curve || "without a name"}`)
      return { algorithm: "ECDSA", size }
    }
    case "ed25519":
      return { algorithm: "Ed25519", size: 256 }
    default:
      throw unsupported(asymmetricKeyType ?? "a secret key")
  }
}

export interface PublicKeyDescription {
  /** RSA, ECDSA, Ed25519, or a word for (or the OID of) what we never issue for. */
  readonly algorithm: string
  /** Bits; 0 when unknown. */
  readonly size: number
  readonly supported: boolean
  /** The bytes inside the BIT STRING, which key identifiers are the hash of. */
  readonly keyBytes: Buffer
}

const curveOids: Readonly<Record<string, number>> = { [oids.p256]: 256, [oids.p384]: 384, [oids.p521]: 521 }

/** Reads a SubjectPublicKeyInfo of any algorithm. Throws `validation` only when its structure is broken. */
export const describePublicKey = (spkiDer: Buffer): PublicKeyDescription => {
  const what = "public key"
  const spki = readSequence(spkiDer, what)
  const identifier = spki.enter(tags.sequence)
  const algorithm = readOid(identifier.next(tags.oid).content, what)
  const keyBytes = readBitBytes(spki.next(tags.bitString), what)
  spki.end()
  switch (algorithm) {
    case oids.rsaEncryption:
    case oids.rsaPss: {
      const modulus = readSequence(keyBytes, what).next(tags.integer).content
      const bytes = modulus[0] === 0 ? modulus.subarray(1) : modulus
      const size = bytes.length === 0 ? 0 : bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24
      const plain = algorithm === oids.rsaEncryption
      return { algorithm: plain ? "RSA" : "RSA-PSS", size, supported: plain, keyBytes }
    }
    case oids.ecPublicKey: {
      const curve = identifier.nextTag === tags.oid ? readOid(identifier.next().content, what) : ""
      const known = curveOids[curve]
      // Another curve: as many bits as half an uncompressed point has.
      const size = known ?? Math.max(0, (keyBytes.length - 1) >> 1) * 8
      return { algorithm: "ECDSA", size, supported: known !== undefined, keyBytes }
    }
    case oids.ed25519:
      return { algorithm: "Ed25519", size: 256, supported: keyBytes.length === 32, keyBytes }
    case oids.ed448:
      return { algorithm: "Ed448", size: 456, supported: false, keyBytes }
    case oids.dsa:
      return { algorithm: "DSA", size: 0, supported: false, keyBytes }
    default:
      return { algorithm, size: 0, supported: false, keyBytes }
  }
}

/** Reads the SubjectPublicKeyInfo of a key that can be used here. Throws `validation` for other kinds. */
export const supportedKey = (spkiDer: Buffer): KeyFacts & Pick<PublicKeyDescription, "keyBytes"> => {
  const { algorithm, size, supported, keyBytes } = describePublicKey(spkiDer)
  if (supported && (algorithm === "RSA" || algorithm === "ECDSA" || algorithm === "Ed25519"))
    return { algorithm, size, keyBytes }
  throw unsupported(algorithm === "ECDSA" ? "an ECDSA key on another curve" : algorithm)
}

/** Algorithm and size of a key (private, public, or DER SubjectPublicKeyInfo). Throws `validation` for other kinds. */
export const keyFacts = (key: KeyObject | Buffer): KeyFacts => {
  if (key instanceof KeyObject) return factsOfKeyObject(key)
  const { algorithm, size } = supportedKey(key)
  return { algorithm, size }
}

/** The type that makes keys like this one; null for a size that none of them has. Throws `validation` for other kinds of keys. */
export const keyTypeOf = (key: KeyObject): KeyType | null => {
  const { algorithm, size } = factsOfKeyObject(key)
  const name = algorithm === "ECDSA" ? `ecdsa-p${size}` : algorithm === "RSA" ? `rsa-${size}` : "ed25519"
  return keyTypes.find((type) => type === name) ?? null
}

/** The DER SubjectPublicKeyInfo of a private or public key. */
export const spkiOf = (key: KeyObject): Buffer =>
  (key.type === "private" ? createPublicKey(key) : key).export({ type: "spki", format: "der" })

/** A private key as servers and appliances read it: SEC1 for EC keys, PKCS#8 for RSA and Ed25519. Unencrypted. */
export const privateKeyPem = (key: KeyObject): string => {
  const type = key.asymmetricKeyType === "ec" ? "sec1" : "pkcs8"
  return key.export({ type, format: "pem" }).toString()
}

const privateLabels = new Set(["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])

/** Words for what the crypto library says by code; its own message never contains key material. */
const readingProblem = (error: unknown, encrypted: boolean, passphrase: string | undefined): string => {
  if (encrypted && (passphrase === undefined || passphrase === "")) return "is encrypted and needs a passphrase"
  const message = messageOf(error)
  if (message.includes("KEY_DERIVATION"))
    return "is encrypted with a key derivation other than PBKDF2 (re-encrypt it: openssl pkcs8 -topk8 -v2 aes-256-cbc)"
  if (encrypted) return "could not be decrypted: wrong passphrase or unsupported cipher"
  return "could not be read: it is damaged or of an unsupported kind"
}

/**
 * Reads the private key of a PEM text: PKCS#8, encrypted PKCS#8 (PBES2 with PBKDF2, or PBES1), PKCS#1 and SEC1. Other
 * blocks (certificates, EC PARAMETERS) may stand beside it. Throws `validation`.
 */
export const readPrivateKey = (pem: string, passphrase?: string): KeyObject => {
  const regions = pemRegions(pem).filter(({ label }) => privateLabels.has(label))
  const [region] = regions
  if (region === undefined) throw new AppError("validation", "private key: the text has no private key block")
  if (regions.length > 1) throw new AppError("validation", "private key: the text has more than one private key block")
  const encrypted = region.label === "ENCRYPTED PRIVATE KEY" || /^Proc-Type:.*ENCRYPTED/m.test(region.body)
  let key: KeyObject
  try {
    key = createPrivateKey({
      key: `${region.text}\n`,
      format: "pem",
      ...(encrypted && { passphrase: passphrase ?? "" }),
    })
  } catch (error) {
    throw new AppError("validation", `private key: ${readingProblem(error, encrypted, passphrase)}`, { cause: error })
  }
  keyFacts(key)
  return key
}

/** The SubjectPublicKeyInfo inside a certificate, or the bytes themselves when they already are one. */
const spkiWithin = (der: Buffer): Buffer => {
  const outer = readSequence(der, "certificate or public key")
  const first = outer.next(tags.sequence)
  // SubjectPublicKeyInfo ends with its BIT STRING here; a certificate has its signature algorithm in this place.
  if (outer.nextTag === tags.bitString) return der
  const tbs = new DerReader(first.content, "certificate")
  tbs.optional(0xa0)
  tbs.next(tags.integer)
  for (let skipped = 0; skipped < 4; skipped++) tbs.next(tags.sequence)
  return tbs.next(tags.sequence).bytes
}

/** Whether a private key belongs to a certificate (DER) or a SubjectPublicKeyInfo (DER). */
export const keysMatch = (privateKey: KeyObject, certificateDerOrSpki: Buffer): boolean => {
  const spki = spkiWithin(certificateDerOrSpki)
  const own = spkiOf(privateKey)
  if (own.equals(spki)) return true
  try {
    // The same key may be encoded differently (compressed point, missing NULL): compare what the library makes of it.
    return createPublicKey({ key: spki, format: "der", type: "spki" })
      .export({ type: "spki", format: "der" })
      .equals(own)
  } catch {
    // A key the library cannot load is none that it could hold the private half of.
    return false
  }
}
