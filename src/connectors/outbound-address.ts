/**
 * Where requests may go whose address somebody chose (webhooks, probes, scans): not to this host itself and not to what only its
 * network segment can reach, such as the metadata service of a cloud. Private networks are allowed: that is where certctl works.
 */
import { lookup } from "node:dns/promises"
import { BlockList, isIP } from "node:net"
import { AppError } from "../errors"

export interface OutboundRules {
  /** For tests and for receivers on the same host. */
  readonly allowLoopback?: boolean
}

/** All addresses of a host name. Rejects where it has none. */
export type ResolveHost = (host: string) => Promise<readonly string[]>

export const systemResolve: ResolveHost = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address)

const subnets = (...entries: readonly (readonly [network: string, prefix: number])[]): BlockList => {
  const list = new BlockList()
  for (const [network, prefix] of entries) list.addSubnet(network, prefix, isIP(network) === 4 ? "ipv4" : "ipv6")
  return list
}

const loopback = subnets(["127.0.0.0", 8], ["::1", 128])
/** Each with the word for it in messages. */
const neverAllowed: readonly (readonly [string, BlockList])[] = [
  // All of 0.0.0.0/8 reaches the host itself on Linux.
  ["unspecified", subnets(["0.0.0.0", 8], ["::", 128])],
  ["link-local", subnets(["169.254.0.0", 16], ["fe80::", 10])],
  ["multicast", subnets(["224.0.0.0", 4], ["ff00::", 8])],
  ["broadcast", subnets(["255.255.255.255", 32])],
]

/** IPv4-mapped (RFC 4291 section 2.5.5.2) and NAT64 (RFC 6052) addresses lead to the IPv4 address in their last 32 bits. */
const wrapsIpv4 = subnets(["::ffff:0:0", 96], ["64:ff9b::", 96])

/** The last 32 bits of an IPv6 address, dotted. URL brings every spelling into one form. */
const lastBits = (address: string): string => {
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = "", tail] = canonical.split("::")
  const groups = (text: string) => (text === "" ? [] : text.split(":"))
  const after = groups(tail ?? head)
  const [high, low] = ["0", "0", ...after].slice(-2).map((group) => Number.parseInt(group, 16))
  return [(high ?? 0) >> 8, (high ?? 0) & 255, (low ?? 0) >> 8, (low ?? 0) & 255].join(".")
}

/** Why no connection to this IP address is made, or null when it may be. */
export const addressObjection = (address: string, rules: OutboundRules = {}): string | null => {
  const [bare = ""] = address.split("%")
  const version = isIP(bare)
  if (version === 0) return "is no IP address"
  if (version === 6 && wrapsIpv4.check(bare, "ipv6")) return addressObjection(lastBits(bare), rules)
  const family = version === 4 ? "ipv4" : "ipv6"
  if (loopback.check(bare, family)) return rules.allowLoopback === true ? null : "is a loopback address"
  const found = neverAllowed.find(([, list]) => list.check(bare, family))
  return found === undefined ? null : `is ${/^[aeiou]/.test(found[0]) ? "an" : "a"} ${found[0]} address`
}

/**
 * A URL that may be asked: http or https, without user name and password.
 * @throws AppError `validation`; the URL itself is not repeated, since its path may be a secret
 */
export const outboundUrl = (text: string): URL => {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw new AppError("validation", "the address must be an http or https URL")
  }
  if (url.username !== "" || url.password !== "") {
    throw new AppError("validation", "the address must be without user name and password")
  }
  return url
}

/**
 * The addresses to connect to for a host name or IP literal. Resolved once: whoever connects uses these and asks no DNS again,
 * which could answer differently the second time. One refused address refuses all, for the same reason.
 * @throws AppError `validation` refused address, `upstream` the name does not resolve
 */
export const resolveOutbound = async (
  host: string,
  rules: OutboundRules = {},
  resolve: ResolveHost = systemResolve,
): Promise<readonly string[]> => {
  const bare = host.replace(/^\[|\]$/g, "")
  const addresses = isIP(bare) === 0 ? await resolved(bare, resolve) : [bare]
  for (const address of addresses) {
    const objection = addressObjection(address, rules)
    if (objection !== null) {
      throw new AppError("validation", `${bare} must not be asked: ${address === bare ? "it" : address} ${objection}`)
    }
  }
  return addresses
}

const resolved = async (host: string, resolve: ResolveHost): Promise<readonly string[]> => {
  const addresses = await resolve(host).catch((cause: unknown) => {
    throw new AppError("upstream", `${host} does not resolve`, { cause })
  })
  if (addresses.length === 0) throw new AppError("upstream", `${host} has no address`)
  return addresses
}
