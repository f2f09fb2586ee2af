/**
 * Secrets that a configuration names instead of holding: `env:NAME` and `file:/path`. Resolved where they are used, so that the
 * stored configuration never has them. Whoever may write a configuration chooses the address that gets the secret too, so neither
 * may lead to what belongs to certctl or to the host.
 */
import { readFileSync, realpathSync } from "node:fs"
import { isAbsolute, sep } from "node:path"
import { AppError, messageOf } from "../errors"
import { mapConfig, type StoredConfig } from "./stored-config"

export interface ReferenceRules {
  readonly env: Readonly<Record<string, string | undefined>>
  /** The only folder that `file:` reads from (CERTCTL_SECRETS_DIR). */
  readonly secretsDir: string
}

const largestSecret = 64 * 1024

/**
 * A copy of a configuration with its secrets in place. `declared` are the keys that the connector calls secret; only values
 * of secret keys are references. Fails with `validation`, naming the key and the reference, never a value.
 */
export const resolveReferences = (
  config: StoredConfig,
  declared: readonly string[],
  { env, secretsDir }: ReferenceRules,
): StoredConfig =>
  mapConfig(config, declared, (value, path, isSecret) => {
    if (!isSecret) return value
    const key = path.join(".")
    if (value.startsWith("env:")) return fromEnvironment(key, value.slice("env:".length), env)
    if (value.startsWith("file:")) return fromFile(key, value.slice("file:".length), secretsDir)
    return value
  })

const fromEnvironment = (key: string, name: string, env: ReferenceRules["env"]): string => {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || /^CERTCTL_/i.test(name)) {
    throw new AppError("validation", `${key} must name a variable that is not certctl's own, as in env:VAULT_TOKEN`)
  }
  const found = env[name]
  if (found === undefined || found === "") {
    throw new AppError("validation", `${key} names the variable ${name}, which is not set where it is resolved`)
  }
  return found
}

const fromFile = (key: string, path: string, secretsDir: string): string => {
  const outside = new AppError("validation", `${key} must name a file below ${secretsDir} (CERTCTL_SECRETS_DIR)`)
  if (!isAbsolute(path) || path.includes("\0")) throw outside
  try {
    // Compared after following every link: a link out of the folder is as good as a path out of it.
    const real = realpathSync(path)
    if (!real.startsWith(realpathSync(secretsDir) + sep)) throw outside
    const text = readFileSync(real, "utf8")
    if (text.length > largestSecret) throw new AppError("validation", `${key}: ${path} is too large for a secret`)
    return text.replace(/\r?\n$/, "")
  } catch (error) {
    if (error instanceof AppError) throw error
    throw new AppError("validation", `${key}: ${messageOf(error)}`, { cause: error })
  }
}
