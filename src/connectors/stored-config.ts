/**
 * Configurations at rest and on the wire: what of one may be shown, and how a change is merged with what is stored, so that
 * whoever edits an issuer need not know its secrets, and cannot have them sent elsewhere either.
 */
import { isDeepStrictEqual } from "node:util"
import { AppError } from "../errors"

export type StoredConfig = Record<string, unknown>

/** Shown in place of every secret; sent back it means "keep the stored one". */
export const mask = "********"

const secretWords = ["password", "passphrase", "secret", "token", "key", "hmac", "private", "credentials"]

const isSecretKey = (key: string, declared: readonly string[]): boolean =>
  declared.includes(key) || secretWords.some((word) => key.toLowerCase().includes(word))

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

type Leaf = (value: string, path: readonly string[], isSecret: boolean) => string

/** Copies a value, each of its strings passed through `leaf`. What lies below a secret key is secret too. */
const mapStrings = (
  value: unknown,
  leaf: Leaf,
  declared: readonly string[],
  path: string[],
  isSecret: boolean,
): unknown => {
  if (typeof value === "string") return leaf(value, path, isSecret)
  if (Array.isArray(value)) {
    return value.map((entry, index) => mapStrings(entry, leaf, declared, [...path, String(index)], isSecret))
  }
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [
      key,
      mapStrings(entry, leaf, declared, [...path, key], isSecret || isSecretKey(key, declared)),
    ]),
  )
}

/** Copies a configuration, each of its strings passed through `leaf`. */
export const mapConfig = (config: StoredConfig, declared: readonly string[], leaf: Leaf): StoredConfig =>
  mapStrings(config, leaf, declared, [], false) as StoredConfig

/** A copy fit to be shown: every non-empty secret is masked. `declared` are the keys that the connector calls secret. */
export const redactConfig = (config: StoredConfig, declared: readonly string[] = []): StoredConfig =>
  mapConfig(config, declared, (value, _path, isSecret) => (isSecret && value !== "" ? mask : value))

const isAddressKey = (key: string): boolean => {
  const name = key.toLowerCase()
  return name === "addr" || name === "admin_api" || /(?:host|url|server)$/.test(name)
}

/** Everything that says where secrets are sent, by path. */
const addressesOf = (value: unknown, path = ""): [string, unknown][] => {
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, entry]): [string, unknown][] =>
    isAddressKey(key) ? [[`${path}${key}`, entry]] : addressesOf(entry, `${path}${key}.`),
  )
}

const sameAddresses = (a: StoredConfig, b: StoredConfig): boolean =>
  isDeepStrictEqual(Object.fromEntries(addressesOf(a)), Object.fromEntries(addressesOf(b)))

const valueAt = (config: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined),
    config,
  )

/**
 * The configuration that a submitted one stands for: masked values are replaced by the stored ones.
 * @param stored null when nothing is stored yet
 * @param sameReceiver whether type and whoever else receives the secrets stay the same; the addresses are compared here
 * @throws AppError `validation` naming a secret that must be given again
 */
export const unmaskConfig = (
  submitted: StoredConfig,
  stored: StoredConfig | null,
  { sameReceiver, declared = [] }: { sameReceiver: boolean; declared?: readonly string[] },
): StoredConfig => {
  const mayKeep = stored !== null && sameReceiver && sameAddresses(submitted, stored)
  return mapConfig(submitted, declared, (value, path, isSecret) => {
    if (value !== mask || !isSecret) return value
    const name = `config.${path.join(".")}`
    const kept = valueAt(stored, path)
    if (typeof kept !== "string") throw new AppError("validation", `${name} must be given: nothing is stored`)
    // A path is no secret: it is masked for compatibility only.
    if (mayKeep || /_path$/i.test(path.at(-1) ?? "")) return kept
    throw new AppError("validation", `${name} must be given again, since it would be sent to another place than before`)
  })
}
