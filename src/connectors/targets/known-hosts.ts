/**
 * Host keys of SSH servers seen before, in OpenSSH's known_hosts form, one per address. The first one seen is kept; from then on
 * another one is refused. To accept a new key, a person removes its line.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { AppError } from "../../errors"

const fileName = "known_hosts"

interface HostAddress {
  readonly host: string
  readonly port: number
}

/** What OpenSSH writes: brackets and port unless the port is 22. */
const nameOf = ({ host, port }: HostAddress): string =>
  port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`

/** The algorithm name that a public key blob begins with (RFC 4253 section 6.6). */
export const hostKeyType = (key: Buffer): string => {
  const length = key.length >= 4 ? key.readUInt32BE(0) : 0
  return key.subarray(4, 4 + length).toString("latin1")
}

/** As `ssh-keygen -l` prints it. */
export const hostKeyFingerprint = (key: Buffer): string =>
  `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`

const linesOf = (path: string): string[] => {
  try {
    return readFileSync(path, "utf8").split("\n")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
}

export interface KnownHosts {
  /** Where they are kept, for people. */
  readonly path: string
  /** The key blob seen before; null when there was none. */
  find(address: HostAddress): Buffer | null
  /** Keeps a key. Fails with `conflict` when another one was kept meanwhile. */
  pin(address: HostAddress, key: Buffer): void
}

export const knownHosts = (folder: string): KnownHosts => {
  const path = join(folder, fileName)
  const find = (address: HostAddress): Buffer | null => {
    const name = nameOf(address)
    for (const line of linesOf(path)) {
      const [names = "", , key] = line.trim().split(/[ \t]+/)
      if (key !== undefined && names.split(",").includes(name)) return Buffer.from(key, "base64")
    }
    return null
  }
  return {
    path,
    find,
    // Read and written without a pause between: two first connections cannot lose each other's line.
    pin(address, key) {
      const known = find(address)
      if (known !== null) {
        if (sameKey(known, key)) return
        throw new AppError("conflict", `${nameOf(address)} showed two host keys at once`)
      }
      const lines = linesOf(path).filter((line) => line !== "")
      lines.push(`${nameOf(address)} ${hostKeyType(key)} ${key.toString("base64")}`)
      replace(path, `${lines.join("\n")}\n`)
    },
  }
}

export const sameKey = (one: Buffer, other: Buffer): boolean =>
  one.length === other.length && timingSafeEqual(one, other)

const replace = (path: string, text: string): void => {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  const file = openSync(temporary, "wx", 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}
