/**
 * Private keys under a passphrase: encrypted PKCS#8 (RFC 5958) by PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC (RFC 8018), which
 * every tool reads (`openssl pkey -in FILE`). Written directly, since the runtime's own export stops at 2,048 rounds of SHA-1.
 * Deriving costs a third of a second, so all keys of a folder share one salt and the derived key is kept.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  type KeyObject,
  pbkdf2Sync,
  randomBytes,
} from "node:crypto"
import { AppError } from "../errors"
import { type DerReader, readOid, readSequence, readSmallInteger, tags } from "./der.reader"
import { derNull, integer, octetString, oid, sequence } from "./der.writer"
import { pemBlocks, toPem } from "./pem"

const pbes2 = "1.2.840.113549.1.5.13"
const pbkdf2 = "1.2.840.113549.1.5.12"
const hmacWithSha256 = "1.2.840.113549.2.9"
const aes256Cbc = "2.16.840.1.101.3.4.1.42"

/** What OWASP recommends for this function since 2023. */
const rounds = 600_000
/** More would keep a process busy for seconds: not a file of ours. */
const mostRounds = 10_000_000
const label = "ENCRYPTED PRIVATE KEY"
const what = "sealed key"

interface Parameters {
  readonly salt: Buffer
  readonly iterations: number
}

export interface KeySeal {
  /** PEM. Never the same twice. */
  close(key: KeyObject): string
  /** Fails with `validation` when the passphrase is another one or the text no sealed key. */
  open(pem: string): KeyObject
}

export const isSealedKey = (pem: string): boolean => pem.includes(`-----BEGIN ${label}-----`)

const malformed = (): AppError =>
  new AppError("validation", `${what}: it is not PBES2 with PBKDF2-SHA256 and AES-256-CBC`)

const expectOid = (reader: DerReader, dotted: string): void => {
  if (readOid(reader.next(tags.oid).content, what) !== dotted) throw malformed()
}

const read = (pem: string): Parameters & { iv: Buffer; encrypted: Buffer } => {
  const block = pemBlocks(pem).find((found) => found.label === label)
  if (block === undefined) throw malformed()
  const outer = readSequence(block.der, what)
  const algorithm = outer.enter(tags.sequence)
  expectOid(algorithm, pbes2)
  const parts = algorithm.enter(tags.sequence)
  const derivation = parts.enter(tags.sequence)
  expectOid(derivation, pbkdf2)
  const derived = derivation.enter(tags.sequence)
  const salt = derived.next(tags.octetString).content
  const iterations = readSmallInteger(derived.next(tags.integer), what)
  derived.optional(tags.integer)
  if (derived.done) throw malformed()
  expectOid(derived.enter(tags.sequence), hmacWithSha256)
  const cipher = parts.enter(tags.sequence)
  expectOid(cipher, aes256Cbc)
  const iv = cipher.next(tags.octetString).content
  const encrypted = outer.next(tags.octetString).content
  if (iterations > mostRounds || iv.length !== 16) throw malformed()
  return { salt, iterations, iv, encrypted }
}

/**
 * Seals with a passphrase. `like` is a key that was sealed before: its salt is used again, so that one derivation serves for the
 * whole folder. Fails with `validation` when it is not a sealed key.
 */
export const keySeal = (passphrase: string, like: string | null): KeySeal => {
  const derived = new Map<string, Buffer>()
  const derive = ({ salt, iterations }: Parameters): Buffer => {
    const name = `${iterations} ${salt.toString("hex")}`
    const key = derived.get(name) ?? pbkdf2Sync(passphrase, salt, iterations, 32, "sha256")
    derived.set(name, key)
    return key
  }
  const present = like === null ? null : read(like)
  const own: Parameters =
    present !== null && present.iterations >= rounds && present.salt.length >= 16
      ? { salt: Buffer.from(present.salt), iterations: present.iterations }
      : { salt: randomBytes(16), iterations: rounds }

  return {
    close(key) {
      const iv = randomBytes(16)
      const cipher = createCipheriv("aes-256-cbc", derive(own), iv)
      const encrypted = Buffer.concat([cipher.update(key.export({ type: "pkcs8", format: "der" })), cipher.final()])
      const derivation = sequence(
        oid(pbkdf2),
        sequence(octetString(own.salt), integer(own.iterations), sequence(oid(hmacWithSha256), derNull)),
      )
      const encryption = sequence(oid(aes256Cbc), octetString(iv))
      const algorithm = sequence(oid(pbes2), sequence(derivation, encryption))
      return toPem(label, sequence(algorithm, octetString(encrypted)))
    },

    open(pem) {
      const { iv, encrypted, ...parameters } = read(pem)
      try {
        const decipher = createDecipheriv("aes-256-cbc", derive(parameters), iv)
        const der = Buffer.concat([decipher.update(encrypted), decipher.final()])
        return createPrivateKey({ key: der, format: "der", type: "pkcs8" })
      } catch (error) {
        throw new AppError("validation", `${what}: the passphrase does not open it`, { cause: error })
      }
    },
  }
}
