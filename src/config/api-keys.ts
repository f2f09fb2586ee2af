/**
 * The API keys that come from the environment. Messages count entries instead of quoting them: who swaps name and key, or
 * forgets the name, must not find the key in a log.
 */
import { type EnvironmentReader, refuse } from "./environment"

export interface ConfiguredKey {
  readonly name: string
  readonly key: string
  readonly role: "admin" | "operator"
}

const named = "CERTCTL_API_KEYS_NAMED"
const legacy = "CERTCTL_AUTH_SECRET"

const readEntry = (entry: string, position: number): ConfiguredKey => {
  const where = `${named}: entry ${position}`
  const [name = "", key = "", role, ...rest] = entry.split(":")
  if (!/^[A-Za-z0-9_-]+$/.test(name)) refuse(`${where} needs a name of letters, digits, "_" and "-" (name:key[:admin])`)
  if (key === "") refuse(`${where} has no key (name:key[:admin])`)
  if (rest.length > 0 || (role !== undefined && role !== "admin")) {
    refuse(`${where} has a third field other than "admin" (name:key[:admin]; a key has no colon)`)
  }
  return { name, key, role: role === "admin" ? "admin" : "operator" }
}

/** The same name may appear twice with the same role (rotation overlap); anything else that collides is refused. */
const refuseCollisions = (keys: readonly ConfiguredKey[], warn: (line: string) => void): void => {
  keys.forEach((later, index) => {
    keys.slice(0, index).forEach((earlier, earlierIndex) => {
      const entries = `${named}: entries ${earlierIndex + 1} and ${index + 1}`
      if (earlier.name === later.name) {
        if (earlier.key === later.key) refuse(`${entries} are the same name and key`)
        if (earlier.role !== later.role) refuse(`${entries} have the same name, but only one of them is admin`)
      } else if (earlier.key === later.key) {
        warn(`${entries} have the same key; its calls are recorded under the first name`)
      }
    })
  })
}

export const readApiKeys = (read: EnvironmentReader, warn: (line: string) => void): readonly ConfiguredKey[] => {
  const keys = read.list(named).map((entry, index) => readEntry(entry, index + 1))
  refuseCollisions(keys, warn)
  if (keys.length === 1) warn(`${named} has only one key; a second one lets you rotate without an interruption`)
  const secrets = read.list(legacy)
  if (secrets.length === 0) return keys
  if (keys.length > 0) {
    warn(`${legacy} is deprecated and ignored, since ${named} is set`)
    return keys
  }
  warn(`${legacy} is deprecated; use ${named}`)
  return secrets.map((key, index) => ({ name: `legacy-key-${index}`, key, role: "operator" }))
}
