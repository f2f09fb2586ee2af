/** Signature algorithms of CSRs, certificates, CRLs and OCSP answers, over node:crypto. */
import { constants, createPublicKey, type KeyObject, sign, type VerifyKeyObjectInput, verify } from "node:crypto"
import { AppError } from "../errors"
import { contextTag, DerReader, readOid, readSmallInteger, tags } from "./der.reader"
import { derNull, oid, sequence } from "./der.writer"
import { keyFacts } from "./keys"
import { oids } from "./oids"

interface Algorithm {
  readonly key: "rsa" | "ec" | "ed25519"
  /** Null: the scheme hashes by itself. */
  readonly hash: string | null
  /** Shattered hashes are accepted where nobody profits from a collision, see `SignatureRules`. */
  readonly legacy?: true
}

const algorithms: Readonly<Record<string, Algorithm>> = {
  "1.2.840.113549.1.1.5": { key: "rsa", hash: "sha1", legacy: true },
  "1.2.840.113549.1.1.11": { key: "rsa", hash: "sha256" },
  "1.2.840.113549.1.1.12": { key: "rsa", hash: "sha384" },
  "1.2.840.113549.1.1.13": { key: "rsa", hash: "sha512" },
  "1.2.840.10045.4.1": { key: "ec", hash: "sha1", legacy: true },
  "1.2.840.10045.4.3.2": { key: "ec", hash: "sha256" },
  "1.2.840.10045.4.3.3": { key: "ec", hash: "sha384" },
  "1.2.840.10045.4.3.4": { key: "ec", hash: "sha512" },
  [oids.ed25519]: { key: "ed25519", hash: null },
}

const signatureNames: Readonly<Record<string, string>> = {
  "1.2.840.113549.1.1.4": "MD5-RSA",
  "1.2.840.113549.1.1.5": "SHA1-RSA",
  "1.2.840.113549.1.1.11": "SHA256-RSA",
  "1.2.840.113549.1.1.12": "SHA384-RSA",
  "1.2.840.113549.1.1.13": "SHA512-RSA",
  [oids.rsaPss]: "RSA-PSS",
  "1.2.840.10045.4.1": "SHA1-ECDSA",
  "1.2.840.10045.4.3.2": "SHA256-ECDSA",
  "1.2.840.10045.4.3.3": "SHA384-ECDSA",
  "1.2.840.10045.4.3.4": "SHA512-ECDSA",
  [oids.ed25519]: "Ed25519",
}

const pssHashes: Readonly<Record<string, string>> = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
}

/** What to call the algorithm of an encoded AlgorithmIdentifier; its OID when it has no name here. */
export const signatureName = (algorithmDer: Buffer): string => {
  const identifier = new DerReader(algorithmDer, "signature algorithm").enter(tags.sequence)
  const id = readOid(identifier.next(tags.oid).content, "signature algorithm")
  return signatureNames[id] ?? id
}

/** The hash and salt length of RSASSA-PSS-params (RFC 4055 section 3.1), or null where they ask for SHA-1. */
const pssParameters = (identifier: DerReader): { hash: string; saltLength: number } | null => {
  const what = "RSA-PSS parameters"
  if (identifier.done) return null
  const fields = identifier.enter(tags.sequence, what)
  const hashField = fields.optional(contextTag(0, true))
  const maskField = fields.optional(contextTag(1, true))
  const saltField = fields.optional(contextTag(2, true))
  if (hashField === null || maskField === null) return null
  const hashOid = readOid(new DerReader(hashField.content, what).enter(tags.sequence).next(tags.oid).content, what)
  const mask = new DerReader(maskField.content, what).enter(tags.sequence)
  const maskOid = readOid(mask.next(tags.oid).content, what)
  const maskHash = readOid(mask.enter(tags.sequence).next(tags.oid).content, what)
  const hash = pssHashes[hashOid]
  if (hash === undefined || maskOid !== oids.mgf1 || maskHash !== hashOid) return null
  const saltLength = saltField === null ? 20 : readSmallInteger(new DerReader(saltField.content, what).next(), what)
  return { hash, saltLength }
}

export interface SignedBytes {
  readonly signed: Buffer
  /** AlgorithmIdentifier, DER. */
  readonly algorithmDer: Buffer
  readonly signature: Buffer
  /** SubjectPublicKeyInfo of the signer, DER. */
  readonly spkiDer: Buffer
}

interface SignatureRules {
  /**
   * For CSRs: they prove possession of a key to nobody but the reader, so a collision gains nothing, and enrolment clients of old
   * devices know no better.
   */
  readonly allowSha1?: boolean
}

const notVerified = "signature does not verify"

/** What `verify` is given, or what is wrong before it is. */
const verificationOf = (
  { algorithmDer, spkiDer }: SignedBytes,
  { allowSha1 = false }: SignatureRules,
): { readonly hash: string | null; readonly key: VerifyKeyObjectInput } | string => {
  const identifier = new DerReader(algorithmDer, "signature algorithm").enter(tags.sequence)
  const id = readOid(identifier.next(tags.oid).content, "signature algorithm")
  const pss = id === oids.rsaPss ? pssParameters(identifier) : null
  const algorithm: Algorithm | undefined = pss === null ? algorithms[id] : { key: "rsa", hash: pss.hash }
  if (algorithm === undefined || (algorithm.legacy && !allowSha1))
    return `signature algorithm ${signatureNames[id] ?? id} is not accepted`
  try {
    const key = createPublicKey({ key: spkiDer, format: "der", type: "spki" })
    if (key.asymmetricKeyType !== algorithm.key) return "signature algorithm does not fit the key"
    const padding = pss === null ? {} : { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: pss.saltLength }
    return { hash: algorithm.hash, key: { key, ...padding } }
  } catch {
    // The library refuses keys of broken form by throwing.
    return notVerified
  }
}

/** What is wrong with a signature, or null. */
export const signatureProblem = (given: SignedBytes, rules: SignatureRules = {}): string | null => {
  const by = verificationOf(given, rules)
  if (typeof by === "string") return by
  try {
    return verify(by.hash, given.signed, by.key, given.signature) ? null : notVerified
  } catch {
    // As it refuses signatures of broken form.
    return notVerified
  }
}

/** `signatureProblem`, found out on the thread pool: it takes this thread a tenth of the time. */
export const signatureProblemElsewhere = (given: SignedBytes, rules: SignatureRules = {}): Promise<string | null> =>
  new Promise((resolve) => {
    const by = verificationOf(given, rules)
    if (typeof by === "string") return resolve(by)
    try {
      verify(by.hash, given.signed, by.key, given.signature, (error, isGood) =>
        resolve(error === null && isGood ? null : notVerified),
      )
    } catch {
      resolve(notVerified)
    }
  })

const rsaSha256 = sequence(oid("1.2.840.113549.1.1.11"), derNull)
const ecdsaAlgorithms: Readonly<Record<number, { hash: string; algorithmDer: Buffer }>> = {
  256: { hash: "sha256", algorithmDer: sequence(oid("1.2.840.10045.4.3.2")) },
  384: { hash: "sha384", algorithmDer: sequence(oid("1.2.840.10045.4.3.3")) },
  521: { hash: "sha512", algorithmDer: sequence(oid("1.2.840.10045.4.3.4")) },
}
const ed25519 = sequence(oid(oids.ed25519))

/** Bytes from which on hashing them is worth a thread. */
const hashedElsewhere = 256 * 1024

export interface Signer {
  /** AlgorithmIdentifier, DER. */
  readonly algorithmDer: Buffer
  readonly sign: (bytes: Buffer) => Promise<Buffer>
  readonly signSync: (bytes: Buffer) => Buffer
}

/** Signs with a private key and the hash that fits its strength. Throws `validation` for other kinds of keys. */
export const signerFor = (privateKey: KeyObject): Signer => {
  if (privateKey.type !== "private") throw new AppError("validation", "key: a private key is needed for signing")
  const { algorithm, size } = keyFacts(privateKey)
  /** The callback form works on the thread pool. */
  const signElsewhere = (hash: string | null, bytes: Buffer): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      sign(hash, bytes, privateKey, (error, signature) => (error ? reject(error) : resolve(signature)))
    })
  if (algorithm === "RSA") {
    return {
      algorithmDer: rsaSha256,
      signSync: (bytes) => sign("sha256", bytes, privateKey),
      // An RSA signature would hold the event loop for a millisecond.
      sign: (bytes) => signElsewhere("sha256", bytes),
    }
  }
  const ecdsa = ecdsaAlgorithms[size]
  const { hash, algorithmDer } =
    algorithm === "ECDSA" && ecdsa !== undefined ? ecdsa : { hash: null, algorithmDer: ed25519 }
  const signSync = (bytes: Buffer): Buffer => sign(hash, bytes, privateKey)
  return {
    algorithmDer,
    signSync,
    // Small ones are done sooner here than they are handed over; hashing a long CRL takes its time.
    sign: async (bytes) => (bytes.length > hashedElsewhere ? signElsewhere(hash, bytes) : signSync(bytes)),
  }
}
