/**
 * Seals what is stored about other systems (issuer and target configs, private keys): AES-256-GCM under a key derived from the
 * operator's passphrase. Only stores call it; nothing else sees the passphrase.
 *
 *   v1  nonce(12) ‖ ciphertext ‖ tag(16)                    fixed salt, 100,000 rounds; read only
 *   v2  0x02 ‖ salt(16) ‖ nonce(12) ‖ ciphertext ‖ tag(16)   100,000 rounds; written
 *   v3  0x03 ‖ salt(16) ‖ nonce(12) ‖ ciphertext ‖ tag(16)   600,000 rounds; read
 */
import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto"
import { promisify } from "node:util"
import { AppError } from "../errors"

const deriveBytes = promisify(pbkdf2)

const saltBytes = 16
const nonceBytes = 12
const tagBytes = 16
const v1Salt = Buffer.from("certctl-config-encryption-v1", "ascii")
const v1Rounds = 100_000
const writtenVersion = 0x02
/** Rounds by first byte. */
const salted: ReadonlyMap<number, number> = new Map([
  [0x02, 100_000],
  [0x03, 600_000],
])

/**
 * Derived keys kept, least recently used first out. Each server process of the past left one salt, so that a handful is in use; the bound
 * only keeps a database of per-row salts from growing the process.
 */
const keysKept = 256

export interface Sealer {
  /** In the current version; each call has its own nonce. */
  seal(plain: Uint8Array | string): Buffer
  /**
   * Throws `internal` when no version opens it: another passphrase, or damage. `what` names the row in the message ("issuer
   * iss-vault"); the message never holds anything of the content.
   */
  unseal(sealed: Uint8Array, what: string): Promise<Buffer>
  /** `value` as JSON, sealed. */
  sealJson(value: unknown): Buffer
  unsealJson(sealed: Uint8Array, what: string): Promise<unknown>
}

const tryOpen = (key: Buffer, box: Buffer): Buffer | null => {
  if (box.length < nonceBytes + tagBytes) return null
  const decipher = createDecipheriv("aes-256-gcm", key, box.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAuthTag(box.subarray(-tagBytes))
  const opened = decipher.update(box.subarray(nonceBytes, -tagBytes))
  try {
    return Buffer.concat([opened, decipher.final()])
  } catch (error) {
    // final() fails for one reason only, a tag that does not fit; what update() gave is dropped unseen.
    if (error instanceof Error) return null
    throw error
  }
}

interface SealerOptions {
  readonly passphrase: string
  /** PBKDF2, tens of milliseconds each. */
  readonly derive?: (passphrase: string, salt: Buffer, rounds: number, bytes: number, digest: string) => Promise<Buffer>
}

/** Derives the key that this process writes with (a few tens of milliseconds, off the event loop), so that `seal` can be synchronous. */
export const openSealer = async ({ passphrase, derive = deriveBytes }: SealerOptions): Promise<Sealer> => {
  const keys = new Map<string, Promise<Buffer>>()

  const keyFor = (salt: Buffer, rounds: number): Promise<Buffer> => {
    const name = `${rounds} ${salt.toString("hex")}`
    const key = keys.get(name) ?? derive(passphrase, salt, rounds, 32, "sha256")
    keys.delete(name)
    keys.set(name, key)
    const [oldest] = keys.keys()
    if (keys.size > keysKept && oldest !== undefined) keys.delete(oldest)
    return key
  }

  const writeSalt = randomBytes(saltBytes)
  const header = Buffer.concat([Buffer.from([writtenVersion]), writeSalt])
  const writeKey = await keyFor(writeSalt, salted.get(writtenVersion) ?? v1Rounds)

  const seal = (plain: Uint8Array | string): Buffer => {
    const nonce = randomBytes(nonceBytes)
    const cipher = createCipheriv("aes-256-gcm", writeKey, nonce, { authTagLength: tagBytes })
    const bytes = typeof plain === "string" ? Buffer.from(plain) : plain
    return Buffer.concat([header, nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
  }

  const unseal = async (sealed: Uint8Array, what: string): Promise<Buffer> => {
    const blob = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
    const rounds = salted.get(blob[0] ?? 0)
    if (rounds !== undefined && blob.length > saltBytes) {
      const key = await keyFor(blob.subarray(1, 1 + saltBytes), rounds)
      const opened = tryOpen(key, blob.subarray(1 + saltBytes))
      if (opened !== null) return opened
    }
    // A v1 nonce begins with 0x02 or 0x03 once in 128 rows.
    const opened = blob.length < nonceBytes + tagBytes ? null : tryOpen(await keyFor(v1Salt, v1Rounds), blob)
    if (opened !== null) return opened
    throw new AppError(
      "internal",
      `${what}: cannot be unsealed; CERTCTL_CONFIG_ENCRYPTION_KEY is not the key it was sealed with, or it is damaged`,
    )
  }

  return {
    seal,
    unseal,
    sealJson: (value) => seal(JSON.stringify(value)),
    async unsealJson(sealed, what) {
      const text = (await unseal(sealed, what)).toString("utf8")
      try {
        return JSON.parse(text) as unknown
      } catch {
        // The parser's message would quote the secret.
        throw new AppError("internal", `${what}: what was sealed is not JSON`)
      }
    },
  }
}
