/**
 * Private keys of this host's certificates. A key is made here, used here and sent nowhere.
 *
 *   <name>.key       the key of the certificate that is deployed
 *   <name>.key.next  staged: its CSR was sent or is about to be; takes the place of .key with the certificate it belongs to
 *   <name>.csr.next  that CSR, so that a repeated call sends the same one
 *   <name>.key.prev  the key before, for going back
 */
import { createHash, type KeyObject } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { rename } from "node:fs/promises"
import { join } from "node:path"
import { AppError, messageOf } from "../src/errors"
import { buildCsr, parseCsr } from "../src/pki/csr"
import { generateKey, type KeyType, keysMatch, keyTypeOf, privateKeyPem, readPrivateKey } from "../src/pki/keys"
import { distinctSans, nameKey, type San, sanOf } from "../src/pki/names"
import { isSealedKey, type KeySeal, keySeal } from "../src/pki/sealed-key"
import { replacePrivateFile, syncFolder } from "./deploy/durable-files"
import { withLocks } from "./deploy/locks"

export interface RequestedNames {
  readonly commonName: string
  readonly sans: readonly string[]
}

/** Which file a key came from. */
export type KeySlot = "next" | "current" | "previous"

export type Keystore = ReturnType<typeof openKeystore>

/** Ids that are safe as file names are used as they are; any other is replaced by its digest. */
export const fileNameOf = (certificateId: string): string =>
  /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(certificateId)
    ? certificateId
    : createHash("sha256").update(certificateId).digest("hex")

const slots = ["next", "current", "previous"] as const
const suffixes: Readonly<Record<KeySlot, string>> = { next: ".key.next", current: ".key", previous: ".key.prev" }

const keyFile = /\.key(\.next|\.prev)?$/

/**
 * What seals keys in a folder, null without a passphrase. Fails with `validation` when the keys there were sealed with another
 * passphrase, or are sealed and none is given: better now than at the next renewal.
 */
export const keySealFor = (folder: string, passphrase: string | null): KeySeal | null => {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => keyFile.test(name)) : []
  const sealed = names
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(folder, name), "utf8") }))
    .filter(({ text }) => isSealedKey(text))
  const [first] = sealed
  if (passphrase === null) {
    if (first === undefined) return null
    throw new AppError("validation", `${first.path} is sealed: set the passphrase (CERTCTL_AGENT_KEY_PASSPHRASE)`)
  }
  const seal = keySeal(passphrase, first?.text ?? null)
  for (const { path, text } of sealed) {
    try {
      seal.open(text)
    } catch (error) {
      const words = `CERTCTL_AGENT_KEY_PASSPHRASE is not the passphrase of ${path}: ${messageOf(error)}`
      throw new AppError("validation", words, { cause: error })
    }
  }
  return seal
}

const readKeyFile = (path: string, seal: KeySeal | null): KeyObject => {
  const text = readFileSync(path, "utf8")
  if (!isSealedKey(text)) return readPrivateKey(text)
  if (seal === null) throw new AppError("validation", `${path} is sealed, and there is no passphrase for it`)
  return seal.open(text)
}

/** Key files of a folder, and of each that cannot be used the reason. Changes nothing. */
export const inspectKeys = (folder: string, seal: KeySeal | null): { path: string; problem: string | null }[] =>
  readdirSync(folder)
    .filter((name) => keyFile.test(name))
    .map((name) => {
      const path = join(folder, name)
      try {
        readKeyFile(path, seal)
        return { path, problem: null }
      } catch (error) {
        return { path, problem: messageOf(error) }
      }
    })

/** Creates the folder (0700) when it is missing and removes what a crash left half-written. */
export const openKeystore = (folder: string, keyType: KeyType, seal: KeySeal | null = null) => {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  for (const name of readdirSync(folder)) {
    if (/\.(key|csr)(\.next|\.prev)?\.[0-9a-f]{12}\.tmp$/.test(name)) rmSync(join(folder, name), { force: true })
  }

  const keyPath = (certificateId: string, slot: KeySlot) => join(folder, fileNameOf(certificateId) + suffixes[slot])
  const csrPath = (certificateId: string) => join(folder, `${fileNameOf(certificateId)}.csr.next`)

  const readKey = (path: string): KeyObject => readKeyFile(path, seal)
  const keyText = (key: KeyObject): string => (seal === null ? privateKeyPem(key) : seal.close(key))

  /**
   * The staged key, whatever became of its CSR: the server may have signed it already. One of another type than is asked for now
   * is replaced: no certificate is wanted for it any more.
   */
  const stagedKey = async (certificateId: string, wanted: KeyType | null): Promise<KeyObject> => {
    const path = keyPath(certificateId, "next")
    if (existsSync(path)) {
      const staged = readKey(path)
      if (wanted === null || keyTypeOf(staged) === wanted) return staged
    }
    const key = await generateKey(wanted ?? keyType)
    await replacePrivateFile(path, keyText(key))
    return key
  }

  /** Several targets of one certificate are deployed to at the same time: its files change one after another. */
  const alone = <R>(certificateId: string, task: () => Promise<R>): Promise<R> =>
    withLocks([`key ${folder}/${fileNameOf(certificateId)}`], task)

  return {
    /**
     * The CSR to send, PEM. The same one as last time unless the names have changed or it was dropped; key and CSR are on
     * the disk before this returns, so that no certificate is ever issued for a key that a crash has taken away. `wanted` is
     * the type of key that the certificate's profile asks for; null leaves it to this agent's own setting.
     */
    stagedCsr: (certificateId: string, names: RequestedNames, wanted: KeyType | null = null): Promise<string> =>
      alone(certificateId, async () => {
        const key = await stagedKey(certificateId, wanted)
        const path = csrPath(certificateId)
        if (existsSync(path)) {
          const staged = readFileSync(path, "utf8")
          if (isFor(staged, key, names)) return staged
        }
        const csrPem = buildCsr({ commonName: names.commonName, sans: [...names.sans], privateKey: key })
        await replacePrivateFile(path, csrPem)
        return csrPem
      }),

    /** Seals the keys that still lie open, where there is a seal. Returns how many there were. */
    async sealOpenKeys(): Promise<number> {
      if (seal === null) return 0
      let sealed = 0
      for (const name of readdirSync(folder).filter((entry) => keyFile.test(entry))) {
        const path = join(folder, name)
        const text = readFileSync(path, "utf8")
        if (isSealedKey(text)) continue
        await replacePrivateFile(path, seal.close(readPrivateKey(text)))
        sealed++
      }
      return sealed
    },

    /** Forgets a refused request. The deployed key stays. */
    dropStaged(certificateId: string): void {
      rmSync(csrPath(certificateId), { force: true })
      rmSync(keyPath(certificateId, "next"), { force: true })
    },

    /** The key of a certificate. Fails with `not_found` when there is none at all and with `invalid_state` when none fits. */
    keyFor(certificateId: string, leafDer: Buffer): { slot: KeySlot; keyPem: string } {
      const problems: string[] = []
      let found = 0
      for (const slot of slots) {
        const path = keyPath(certificateId, slot)
        if (!existsSync(path)) continue
        found++
        try {
          const key = readKey(path)
          if (keysMatch(key, leafDer)) return { slot, keyPem: privateKeyPem(key) }
        } catch (error) {
          problems.push(`${path}: ${messageOf(error)}`)
        }
      }
      if (found === 0) {
        throw new AppError(
          "not_found",
          `no private key of ${certificateId} in ${folder}: renew it, so that one is made here`,
        )
      }
      throw new AppError(
        "invalid_state",
        `none of the ${found} keys of ${certificateId} in ${folder} belongs to this certificate: renew it, so that it is issued for a key of this host${problems.length === 0 ? "" : ` (${problems.join("; ")})`}`,
      )
    },

    /**
     * Makes the staged key of a deployed certificate the current one, unless that has happened for another of its targets
     * meanwhile. Killed at any point it may be repeated: until the rename the staged key is still there, after it the
     * certificate matches the current one.
     */
    promote: (certificateId: string, leafDer: Buffer): Promise<void> =>
      alone(certificateId, async () => {
        const next = keyPath(certificateId, "next")
        if (!existsSync(next) || !keysMatch(readKey(next), leafDer)) return
        const current = keyPath(certificateId, "current")
        if (existsSync(current)) await replacePrivateFile(keyPath(certificateId, "previous"), readFileSync(current))
        await rename(next, current)
        await syncFolder(folder)
        rmSync(csrPath(certificateId), { force: true })
      }),
  }
}

const isFor = (csrPem: string, key: KeyObject, { commonName, sans }: RequestedNames): boolean => {
  try {
    const csr = parseCsr(csrPem)
    return csr.commonName === commonName && keysOf(csr.sans) === keysOf(sans.map(sanOf)) && keysMatch(key, csr.spkiDer)
  } catch (error) {
    // A damaged file is as good as none: the next one replaces it.
    if (error instanceof AppError) return false
    throw error
  }
}

const keysOf = (sans: readonly San[]): string =>
  distinctSans(sans)
    .map(({ type, value }) => `${type} ${nameKey(value)}`)
    .sort()
    .join("\n")
