/** Which chain of middleware a path goes through. */

/**
 * `probe`: health and readiness. `open`: API paths without credentials. `api`: everything else below /api.
 * `protocol`: other people's clients (EST, SCEP, ACME, CRL, OCSP), which bring their own authentication. `asset`: immutable files.
 * `console`: pages for browsers.
 */
export type PathKind = "probe" | "open" | "api" | "protocol" | "asset" | "console"

const probes = new Set(["/health", "/ready"])
const open = new Set(["/api/v1/auth/info", "/api/v1/version"])
const protocolPrefixes = ["/.well-known/pki", "/.well-known/est", "/scep/", "/scep-mtls/", "/acme/"]
const protocolPaths = new Set(["/scep", "/scep-mtls"])

/**
 * Whether the general limit of requests per address and caller counts here. Probes must tell whether the process lives,
 * however busy it is; assets come from memory; relying parties come by the thousand from behind one address, and OCSP has
 * a limit of its own.
 */
export const isRateLimited = (path: string): boolean =>
  !["probe", "asset"].includes(kindOfPath(path)) && !path.startsWith("/.well-known/pki/")

const agentsOwn = /^\/api\/v1\/agents\/[^/]+\/(?:heartbeat|work|targets|csr|certificates|jobs)(?:\/|$)/

/** Requests of agents, which ask again where they have to wait. */
export const isOfAgent = (path: string): boolean => agentsOwn.test(path)

export const kindOfPath = (path: string): PathKind => {
  if (probes.has(path)) return "probe"
  if (open.has(path)) return "open"
  if (path === "/api" || path.startsWith("/api/")) return "api"
  if (protocolPaths.has(path) || protocolPrefixes.some((prefix) => path.startsWith(prefix))) return "protocol"
  return path.startsWith("/assets/") ? "asset" : "console"
}
