/** Every setting of the agent: flags before environment before what `certctl agent join` wrote down. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Trust } from "../src/client/http-transport"
import { serverUrl } from "../src/client/server-url"
import { type Env, environmentReader, refuse } from "../src/config/environment"
import { dataDirectoryOf } from "../src/data-directory"
import { AppError, messageOf } from "../src/errors"
import { type KeyType, keyTypes } from "../src/pki/keys"
import { type Identity, identityPath, readIdentity } from "./identity"

/** The command line's values; what is left out comes from the environment. */
export interface AgentFlags {
  readonly server?: string
  readonly apiKey?: string
  readonly agentId?: string
  readonly keyDir?: string
  readonly discoveryDirs?: string
  readonly caBundle?: string
  readonly insecure?: boolean
}

export interface AgentConfig {
  readonly server: string
  readonly agentId: string
  readonly apiKey: string
  readonly trust: Trust
  readonly dataDir: string
  readonly keyDir: string
  readonly keyType: KeyType
  /** Seals the private keys of this host; null leaves them readable to whoever reads the disk. */
  readonly keyPassphrase: string | null
  readonly heartbeatMs: number
  readonly pollMs: number
  /** The step by which waits grow after failures. */
  readonly backoffUnitMs: number
  /** Jobs worked on at the same time. */
  readonly parallelJobs: number
  /** Programs that commands of targets may start; empty means any. */
  readonly allowedPrograms: readonly string[]
  /** The only folder that `file:` references of targets read from. */
  readonly secretsDir: string
  readonly backupRetention: number
  readonly verification: { readonly isEnabled: boolean; readonly delayMs: number; readonly timeoutMs: number }
  readonly discovery: {
    readonly folders: readonly string[]
    readonly intervalMs: number
    /** Passwords of key stores, one a line. */
    readonly passwordsFile: string | null
  }
}

/** Flags as the variables they stand for, so that there is one way to read a setting. */
export const withFlags = (env: Env, flags: AgentFlags): Env => {
  const given: Record<string, string | undefined> = {
    CERTCTL_SERVER_URL: flags.server,
    CERTCTL_API_KEY: flags.apiKey,
    CERTCTL_AGENT_ID: flags.agentId,
    CERTCTL_KEY_DIR: flags.keyDir,
    CERTCTL_DISCOVERY_DIRS: flags.discoveryDirs,
    CERTCTL_SERVER_CA_BUNDLE_PATH: flags.caBundle,
    CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY: flags.insecure === true ? "true" : undefined,
  }
  return { ...env, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) }
}

/** `file:PATH` reads the secret from a file, so that it stands in no process list and no environment. */
export const secretText = (name: string, value: string): string => {
  if (!value.startsWith("file:")) return value
  try {
    return readFileSync(value.slice("file:".length), "utf8").trim()
  } catch (error) {
    throw new AppError("validation", `${name}: ${messageOf(error)}`, { cause: error })
  }
}

const shortestPassphrase = 12

const passphraseIn = (value: string | null): string | null => {
  if (value === null) return null
  const name = "CERTCTL_AGENT_KEY_PASSPHRASE"
  const passphrase = secretText(name, value)
  if (passphrase.length < shortestPassphrase) {
    throw new AppError("validation", `${name} must have at least ${shortestPassphrase} characters`)
  }
  return passphrase
}

/** Trust as configured; `identity` counts where the configuration is silent. */
export const trustIn = (env: Env, identity: Identity | null): Trust => {
  const settings = environmentReader(env, () => undefined)
  if (settings.bool("CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY", false)) return { kind: "none" }
  const bundle = settings.text("CERTCTL_SERVER_CA_BUNDLE_PATH")
  if (bundle !== null) {
    try {
      return { kind: "extra", caPem: readFileSync(bundle, "utf8") }
    } catch (error) {
      throw new AppError("validation", `CERTCTL_SERVER_CA_BUNDLE_PATH: ${messageOf(error)}`, { cause: error })
    }
  }
  if (identity?.ca_pem == null) return { kind: "system" }
  return { kind: identity.is_ca_pinned ? "pinned" : "extra", caPem: identity.ca_pem }
}

/** Fails with `validation` and one line that names the variable. `warn` hears of values that were replaced by defaults. */
export const agentConfig = (env: Env, warn: (line: string) => void): AgentConfig => {
  const settings = environmentReader(env, warn)
  const dataDir = dataDirectoryOf(env)
  const envId = settings.text("CERTCTL_AGENT_ID")
  const envKey = settings.text("CERTCTL_API_KEY")
  // An API key alone is the operator's own, for the CLI; only both together are an agent's.
  const configured =
    envId !== null && envKey !== null ? { id: envId, key: secretText("CERTCTL_API_KEY", envKey) } : null
  const identity = configured === null ? readIdentity(dataDir) : null
  const agentId = configured?.id ?? identity?.agent_id
  const apiKey = configured?.key ?? identity?.api_key
  if (agentId === undefined || apiKey === undefined) {
    return refuse(
      `this host has not joined a server: run certctl agent join --server URL --token TOKEN (looked for ${identityPath(dataDir)}), or set CERTCTL_AGENT_ID and CERTCTL_API_KEY`,
    )
  }
  const trust = trustIn(env, identity)
  const server = settings.text("CERTCTL_SERVER_URL") ?? identity?.server ?? "https://localhost:8443"
  return Object.freeze({
    server: serverUrl(server, trust.kind === "none"),
    agentId,
    apiKey,
    trust,
    dataDir,
    keyDir: resolve(settings.text("CERTCTL_KEY_DIR") ?? join(dataDir, "keys")),
    keyType: settings.oneOf("CERTCTL_AGENT_KEY_TYPE", keyTypes, "ecdsa-p256"),
    keyPassphrase: passphraseIn(settings.text("CERTCTL_AGENT_KEY_PASSPHRASE")),
    heartbeatMs: settings.duration("CERTCTL_AGENT_HEARTBEAT_INTERVAL", "60s", "100ms"),
    pollMs: settings.duration("CERTCTL_AGENT_POLL_INTERVAL", "30s", "100ms"),
    backoffUnitMs: settings.duration("CERTCTL_AGENT_BACKOFF_UNIT", "30s", "10ms"),
    parallelJobs: settings.int("CERTCTL_AGENT_PARALLEL_JOBS", 8, { min: 1, max: 64 }),
    allowedPrograms: settings.list("CERTCTL_AGENT_ALLOWED_COMMANDS"),
    secretsDir: resolve(settings.text("CERTCTL_SECRETS_DIR") ?? "/etc/certctl/secrets"),
    backupRetention: settings.int("CERTCTL_DEPLOY_BACKUP_RETENTION", 3, { min: 0, max: 100 }),
    verification: {
      isEnabled: settings.bool("CERTCTL_VERIFY_DEPLOYMENT", true),
      delayMs: settings.duration("CERTCTL_VERIFY_DELAY", "2s", "0"),
      timeoutMs: settings.duration("CERTCTL_VERIFY_TIMEOUT", "10s", "100ms"),
    },
    discovery: {
      folders: settings.list("CERTCTL_DISCOVERY_DIRS"),
      intervalMs: settings.duration("CERTCTL_AGENT_DISCOVERY_INTERVAL", "6h", "1s"),
      passwordsFile: settings.text("CERTCTL_DISCOVERY_PASSWORDS_FILE"),
    },
  })
}
