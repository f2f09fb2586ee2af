/** Which server the command line talks to, with which key and which trust: flags before environment before this host's own server. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { secretText, trustIn, withFlags } from "../../agent/agent.config"
import { initialAdminKeyFile } from "../access/initial-admin-key"
import type { Trust } from "../client/http-transport"
import { serverUrl } from "../client/server-url"
import { type Env, environmentReader } from "../config/environment"
import { dataDirectoryOf } from "../data-directory"

export interface ConnectionFlags {
  readonly server?: string
  readonly apiKey?: string
  readonly caBundle?: string
  readonly insecure?: true
}

export interface Connection {
  readonly server: string
  readonly apiKey: string | null
  readonly trust: Trust
  /** Whether nobody named the server, so that it is the one assumed on this host. */
  readonly isAssumed: boolean
}

const textOf = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    // Not this host's server, or not this user's: then there is nothing to be had here.
    return null
  }
}

/**
 * Reads files, sends nothing. Without an address the server is this host's, verified by the CA in its data directory where that
 * can be read; its first key is used where none is given. That key is never sent to an address somebody named.
 * Fails with `validation`.
 */
export const connectionOf = (env: Env, flags: ConnectionFlags, warn: (line: string) => void): Connection => {
  const merged = withFlags(env, flags)
  const settings = environmentReader(merged, warn)
  const configured = trustIn(merged, null)
  if (configured.kind === "none") warn("the server's certificate is not verified (--insecure)")
  const key = settings.text("CERTCTL_API_KEY")
  if (flags.apiKey !== undefined && !flags.apiKey.startsWith("file:")) {
    warn("--api-key shows the key to every user of this host: use CERTCTL_API_KEY, or --api-key file:PATH")
  }
  const givenKey = key === null ? null : secretText("CERTCTL_API_KEY", key)
  const address = settings.text("CERTCTL_SERVER_URL")
  if (address !== null) {
    const server = serverUrl(address, configured.kind === "none")
    return { server, apiKey: givenKey, trust: configured, isAssumed: false }
  }

  const dataDir = dataDirectoryOf(env)
  const ownCa = configured.kind === "system" ? textOf(join(dataDir, "tls", "ca.pem")) : null
  const isVerified = ownCa !== null || configured.kind === "extra"
  return {
    server: `https://localhost:${settings.int("CERTCTL_SERVER_PORT", 8443, { min: 1, max: 65_535 })}`,
    apiKey: givenKey ?? (isVerified ? (textOf(initialAdminKeyFile(dataDir))?.trim() ?? null) : null),
    trust: ownCa === null ? configured : { kind: "pinned", caPem: ownCa },
    isAssumed: true,
  }
}
