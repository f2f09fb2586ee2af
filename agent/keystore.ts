/**
 * Private keys of this host's certificates. A key is made here, used here and sent nowhere.
 *
 *   <name>.key       the key of the certificate that is deployed
 *   <name>.key.next  staged: its CSR was sent or is about to be; takes the place of .key with the certificate it belongs to
 *   <name>.csr.next  that CSR, so that a repeated call sends the same one
 *   <name>.key.prev  the key before, for going back
 */
import { createHash, type KeyObject } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { writePrivateFile } from "../src/data-directory"
import { AppError, messageOf } from "../src/errors"
import { buildCsr, parseCsr } from "../src/pki/csr"
import { generateKey, type KeyType, keysMatch, privateKeyPem, readPrivateKey } from "../src/pki/keys"
import { distinctSans, nameKey, type San, sanOf } from "../src/pki/names"
import { syncFolder } from "./deploy/durable-files"

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

/** Creates the folder (0700) when it is missing and removes what a crash left half-written. */
export const openKeystore = (folder: string, keyType: KeyType) => {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  for (const name of readdirSync(folder)) {
    if (/\.(key|csr)(\.next|\.prev)?\.[0-9a-f]{12}\.tmp$/.test(name)) rmSync(join(folder, name), { force: true })
  }

  const keyPath = (certificateId: string, slot: KeySlot) => join(folder, fileNameOf(certificateId) + suffixes[slot])
  const csrPath = (certificateId: string) => join(folder, `${fileNameOf(certificateId)}.csr.next`)

  /** The staged key, whatever became of its CSR: the server may have signed it already. */
  const stagedKey = async (certificateId: string): Promise<KeyObject> => {
    const path = keyPath(certificateId, "next")
    if (existsSync(path)) return readPrivateKey(readFileSync(path, "utf8"))
    const key = await generateKey(keyType)
    writePrivateFile(path, privateKeyPem(key))
    return key
  }

  return {
    /**
     * The CSR to send, PEM. The same one as last time unless the names have changed or it was dropped; key and CSR are on
     * the disk before this returns, so that no certificate is ever issued for a key that a crash has taken away.
     */
    async stagedCsr(certificateId: string, names: RequestedNames): Promise<string> {
      const key = await stagedKey(certificateId)
      const path = csrPath(certificateId)
      if (existsSync(path)) {
        const staged = readFileSync(path, "utf8")
        if (isFor(staged, key, names)) return staged
      }
      const csrPem = buildCsr({ commonName: names.commonName, sans: [...names.sans], privateKey: key })
      writePrivateFile(path, csrPem)
      return csrPem
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
          const keyPem = readFileSync(path, "utf8")
          if (keysMatch(readPrivateKey(keyPem), leafDer)) return { slot, keyPem }
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
     * Makes the staged key the current one, once its certificate is deployed. Killed at any point it may be repeated:
     * until the rename the staged key is still there, after it the certificate matches the current one.
     */
    async promote(certificateId: string): Promise<void> {
      const current = keyPath(certificateId, "current")
      if (existsSync(current)) writePrivateFile(keyPath(certificateId, "previous"), readFileSync(current))
      renameSync(keyPath(certificateId, "next"), current)
      await syncFolder(folder)
      rmSync(csrPath(certificateId), { force: true })
    },
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
