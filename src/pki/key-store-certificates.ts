/**
 * The certificates inside key stores: PKCS#12 (RFC 7292) and Java's own JKS and JCEKS. Private keys in them are passed over
 * undecrypted. Written directly: the library at hand has none of the algorithms that most files in the field use.
 */
import { createDecipheriv, createHash, pbkdf2Sync } from "node:crypto"
import { AppError, messageOf } from "../errors"
import { berToDer } from "./ber"
import { contextTag, DerReader, readOid, readSequence, readSmallInteger, tags } from "./der.reader"
import { derivePkcs12, pkcs12Purposes } from "./pkcs12-derivation"

const what = "key store"
const data = "1.2.840.113549.1.7.1"
const encryptedData = "1.2.840.113549.1.7.6"
const certificateBag = "1.2.840.113549.1.12.10.1.3"
const nestedBag = "1.2.840.113549.1.12.10.1.6"
const x509Certificate = "1.2.840.113549.1.9.22.1"
const pbes2 = "1.2.840.113549.1.5.13"
const pbkdf2 = "1.2.840.113549.1.5.12"
const sha1TripleDes = "1.2.840.113549.1.12.1.3"
const sha1Rc2 = ["1.2.840.113549.1.12.1.5", "1.2.840.113549.1.12.1.6"]

const hmacs: Readonly<Record<string, string>> = {
  "1.2.840.113549.2.7": "sha1",
  "1.2.840.113549.2.9": "sha256",
  "1.2.840.113549.2.10": "sha384",
  "1.2.840.113549.2.11": "sha512",
}
const ciphers: Readonly<Record<string, { name: string; keyBytes: number }>> = {
  "2.16.840.1.101.3.4.1.2": { name: "aes-128-cbc", keyBytes: 16 },
  "2.16.840.1.101.3.4.1.22": { name: "aes-192-cbc", keyBytes: 24 },
  "2.16.840.1.101.3.4.1.42": { name: "aes-256-cbc", keyBytes: 32 },
  "1.2.840.113549.3.7": { name: "des-ede3-cbc", keyBytes: 24 },
}

/** Bounds what a hostile file can cost. Tools write 2,048 to 600,000 rounds, those of the old derivation 100,000 at most. */
const mostRounds = { pbkdf2: 600_000, pkcs12: 100_000 } as const
const mostCertificates = 10_000
/** Tools write two. */
const mostContents = 8
/** Bags within bags are allowed, and nobody writes them. */
const deepestBag = 4

const invalid = (problem: string): AppError => new AppError("validation", `${what}: ${problem}`)

/** Opens the store with the first password that fits; an empty one is always tried. Fails with `validation` when none does. */
export const keyStoreCertificates = (bytes: Buffer, passwords: readonly string[]): Buffer[] => {
  const magic = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0
  if (magic === jksMagic || magic === jceksMagic) return jksCertificates(bytes, passwords)
  const contents = pkcs12Contents(bytes)
  let problem = "none of the passwords opens it"
  for (const password of ["", ...passwords]) {
    try {
      return contents.flatMap((content) => certificatesIn(content, password))
    } catch (error) {
      if (error instanceof UnsupportedCipher) throw invalid(error.message)
      if (!(error instanceof WrongPassword)) problem = messageOf(error)
    }
  }
  throw invalid(problem.replace(`${what}: `, ""))
}

class WrongPassword extends Error {}
class UnsupportedCipher extends Error {}

interface Content {
  readonly type: string
  readonly body: Buffer
}

const pkcs12Contents = (bytes: Buffer): Content[] => {
  const pfx = readSequence(berToDer(bytes, what), what)
  if (readSmallInteger(pfx.next(tags.integer), what) !== 3) throw invalid("it is no PKCS#12 file")
  const safe = contentIn(pfx.enter(tags.sequence))
  if (safe.type !== data) throw invalid("it is protected by a public key, not by a password")
  const contents: Content[] = []
  // The octets were opaque so far: what Java and OpenSSL write inside may be BER as well.
  const list = readSequence(berToDer(octetsIn(safe.body), what), what)
  while (!list.done) {
    contents.push(contentIn(list.enter(tags.sequence)))
    if (contents.length > mostContents) throw invalid("it has too many parts")
  }
  return contents
}

const contentIn = (info: DerReader): Content => {
  const type = readOid(info.next(tags.oid).content, what)
  return { type, body: info.next(contextTag(0, true)).content }
}

const octetsIn = (body: Buffer): Buffer => new DerReader(body, what).next(tags.octetString).content

const certificatesIn = ({ type, body }: Content, password: string): Buffer[] => {
  if (type === data) return certificatesOfBags(octetsIn(body))
  // Content for the holder of some certificate has none that anybody else could read.
  if (type !== encryptedData) return []
  const fields = new DerReader(body, what).enter(tags.sequence)
  fields.next(tags.integer)
  const info = fields.enter(tags.sequence)
  info.next(tags.oid)
  const algorithm = info.enter(tags.sequence)
  const encrypted = info.next()
  const plain = decrypt(algorithm, encrypted.content, password)
  try {
    return certificatesOfBags(plain)
  } catch (error) {
    throw new WrongPassword(messageOf(error))
  }
}

const certificatesOfBags = (der: Buffer, depth = 1): Buffer[] => {
  if (depth > deepestBag) throw invalid("its bags are nested too deeply")
  const found: Buffer[] = []
  const bags = readSequence(berToDer(der, what), what)
  while (!bags.done) {
    const bag = bags.enter(tags.sequence)
    const type = readOid(bag.next(tags.oid).content, what)
    const value = bag.next(contextTag(0, true)).content
    if (type === nestedBag) found.push(...certificatesOfBags(value, depth + 1))
    if (type !== certificateBag) continue
    const certificate = new DerReader(value, what).enter(tags.sequence)
    if (readOid(certificate.next(tags.oid).content, what) !== x509Certificate) continue
    found.push(octetsIn(certificate.next(contextTag(0, true)).content))
    if (found.length > mostCertificates) throw invalid("it has too many certificates")
  }
  return found
}

const decrypt = (algorithm: DerReader, encrypted: Buffer, password: string): Buffer => {
  const { cipher, key, iv } = keyFor(algorithm, password)
  try {
    const decipher = createDecipheriv(cipher, key, iv)
    return Buffer.concat([decipher.update(encrypted), decipher.final()])
  } catch (error) {
    throw new WrongPassword(messageOf(error))
  }
}

const keyFor = (algorithm: DerReader, password: string): { cipher: string; key: Buffer; iv: Buffer } => {
  const type = readOid(algorithm.next(tags.oid).content, what)
  if (sha1Rc2.includes(type)) {
    throw new UnsupportedCipher("it is encrypted with RC2, which nothing current reads (export it anew)")
  }
  const parameters = algorithm.enter(tags.sequence)
  if (type === sha1TripleDes) {
    const salt = parameters.next(tags.octetString).content
    const rounds = roundsIn(parameters, mostRounds.pkcs12)
    const way = { digest: "sha1", password, salt, rounds } as const
    return {
      cipher: "des-ede3-cbc",
      key: derivePkcs12({ ...way, purpose: pkcs12Purposes.key, length: 24 }),
      iv: derivePkcs12({ ...way, purpose: pkcs12Purposes.iv, length: 8 }),
    }
  }
  if (type !== pbes2) throw new UnsupportedCipher(`it is encrypted with an unknown algorithm (${type})`)
  const derivation = parameters.enter(tags.sequence)
  const derivationType = readOid(derivation.next(tags.oid).content, what)
  if (derivationType !== pbkdf2) throw new UnsupportedCipher(`its key is derived in an unknown way (${derivationType})`)
  const derived = derivation.enter(tags.sequence)
  const salt = derived.next(tags.octetString).content
  const rounds = roundsIn(derived, mostRounds.pbkdf2)
  derived.optional(tags.integer)
  // Left out it means SHA-1 (RFC 8018 appendix A.2).
  const hmac = derived.done ? "sha1" : hmacs[readOid(derived.enter(tags.sequence).next(tags.oid).content, what)]
  const encryption = parameters.enter(tags.sequence)
  const cipher = ciphers[readOid(encryption.next(tags.oid).content, what)]
  if (hmac === undefined || cipher === undefined)
    throw new UnsupportedCipher("it is encrypted with an unknown algorithm")
  const iv = encryption.next(tags.octetString).content
  return { cipher: cipher.name, key: pbkdf2Sync(password, salt, rounds, cipher.keyBytes, hmac), iv }
}

const roundsIn = (parameters: DerReader, most: number): number => {
  const rounds = readSmallInteger(parameters.next(tags.integer), what)
  if (rounds < 1 || rounds > most) throw invalid("its key derivation takes too many rounds")
  return rounds
}

const jksMagic = 0xfeedfeed
const jceksMagic = 0xcececece
const digestBytes = 20

/**
 * Certificates lie open in a JKS file; the password is only proof that nobody changed it. Without a fitting one the file is not
 * believed.
 */
const jksCertificates = (bytes: Buffer, passwords: readonly string[]): Buffer[] => {
  const body = bytes.subarray(0, Math.max(bytes.length - digestBytes, 0))
  const digest = bytes.subarray(body.length)
  const fits = (password: string) =>
    createHash("sha1")
      .update(Buffer.from(password, "utf16le").swap16())
      .update("Mighty Aphrodite")
      .update(body)
      .digest()
      .equals(digest)
  if (!["", ...passwords].some(fits)) throw invalid("none of the passwords opens it")

  let at = 4
  const take = (size: number): Buffer => {
    if (size < 0 || at + size > body.length) throw invalid("it ends too early")
    at += size
    return body.subarray(at - size, at)
  }
  const number = () => take(4).readUInt32BE(0)
  const text = () => take(take(2).readUInt16BE(0)).toString("utf8")
  const version = number()
  const certificates: Buffer[] = []
  const certificate = () => {
    const type = version === 2 ? text() : "X.509"
    const der = take(number())
    if (type === "X.509") certificates.push(der)
    if (certificates.length > mostCertificates) throw invalid("it has too many certificates")
  }
  const count = number()
  for (let entry = 0; entry < count; entry++) {
    const kind = number()
    text()
    take(8)
    if (kind === 1) {
      take(number())
      for (let left = number(); left > 0; left--) certificate()
    } else if (kind === 2) certificate()
    // JCEKS keeps secret keys as serialized objects without a length: what stands behind one cannot be found.
    else break
  }
  return certificates
}
