/** Where a target's certificate is served, read from its configuration alike for every connector. */
import { type StartTls, startTlsProtocols } from "../probe"
import type { ServedEndpoint } from "./contract"

type Endpoint = Pick<ServedEndpoint, "host" | "port" | "serverName" | "startTls">

/**
 * `verify_host` first, then `post_deploy_verify.endpoint`, then the first of host, hostname, target, address. With
 * `explicitOnly` the last four do not count: for what is managed remotely they name the management address.
 * Null when the configuration names none. Without a port it is 443, with STARTTLS the protocol's own.
 */
export const endpointIn = (config: Readonly<Record<string, unknown>>, explicitOnly = false): Endpoint | null => {
  const names: Names = { serverName: textIn(config.verify_server_name), startTls: startTlsIn(config.verify_starttls) }
  const verifyHost = textIn(config.verify_host)
  if (verifyHost !== undefined) return endpoint(verifyHost, portIn(config.verify_port), names)

  const proof = config.post_deploy_verify
  if (typeof proof === "object" && proof !== null && "endpoint" in proof) {
    const address = splitAddress(textIn(proof.endpoint) ?? "")
    const proofName = "server_name" in proof ? textIn(proof.server_name) : undefined
    const proofStartTls = "starttls" in proof ? startTlsIn(proof.starttls) : undefined
    if (address !== null) {
      return endpoint(address.host, address.port, {
        serverName: names.serverName ?? proofName,
        startTls: names.startTls ?? proofStartTls,
      })
    }
  }
  if (explicitOnly) return null

  for (const key of ["host", "hostname", "target", "address"]) {
    const host = textIn(config[key])
    if (host !== undefined) return endpoint(host, portIn(config.port), names)
  }
  return null
}

interface Names {
  readonly serverName: string | undefined
  readonly startTls: StartTls | undefined
}

/** The name by which the configuration says that the target is asked for; null where it leaves that to the host's name. */
export const servedNameIn = (config: Readonly<Record<string, unknown>>): string | null => {
  const proof = config.post_deploy_verify
  const inProof = typeof proof === "object" && proof !== null && "server_name" in proof ? proof.server_name : undefined
  return textIn(config.verify_server_name) ?? textIn(inProof) ?? null
}

/** Where each protocol is spoken before TLS begins. */
const usualPorts: Readonly<Record<StartTls, number>> = { smtp: 25, imap: 143, pop3: 110, ldap: 389, postgres: 5432 }

const endpoint = (host: string, port: number | null, { serverName, startTls }: Names): Endpoint => ({
  host: host.replace(/^\[(.*)\]$/, "$1"),
  port: port ?? (startTls === undefined ? 443 : usualPorts[startTls]),
  ...(serverName === undefined ? {} : { serverName }),
  ...(startTls === undefined ? {} : { startTls }),
})

const startTlsIn = (value: unknown): StartTls | undefined => startTlsProtocols.find((protocol) => protocol === value)

const textIn = (value: unknown): string | undefined =>
  typeof value === "string" && value.trim() !== "" ? value.trim() : undefined

/** Ports arrive as numbers or, from hand-written configurations, as digits. null: none that can be used. */
const portIn = (value: unknown): number | null => {
  const port = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value
  return typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65536 ? port : null
}

/** `host:port`, `[v6]:port` or a host alone. */
const splitAddress = (text: string): { host: string; port: number | null } | null => {
  const [, v6, host, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
  const name = v6 ?? host
  return name === undefined ? null : { host: name, port: portIn(port) }
}
