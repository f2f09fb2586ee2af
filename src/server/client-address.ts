/** The address of the client: the peer's, or the one that trusted proxies name in X-Forwarded-For. */
import { type BlockList, isIP } from "node:net"

/** `10.0.0.1:4711`, `[::1]:4711`, `::ffff:10.0.0.1` to the bare address; empty for anything else. */
const addressOf = (text: string): string => {
  const trimmed = text.trim()
  const host = /^\[([^\]]+)\](?::\d+)?$/.exec(trimmed)?.[1] ?? /^([\d.]+):\d+$/.exec(trimmed)?.[1] ?? trimmed
  const bare = /^::ffff:([\d.]+)$/i.exec(host)?.[1] ?? host
  return isIP(bare) === 0 ? "" : bare
}

/** Whether the peer is one of the proxies whose headers are believed. */
export const isTrusted = (peer: string, trusted: BlockList): boolean => {
  const address = addressOf(peer)
  return address !== "" && trusted.check(address, isIP(address) === 6 ? "ipv6" : "ipv4")
}

/**
 * Walks the header from its end, which the nearest proxy wrote, for as long as the address so far is a trusted proxy's. What stands
 * further left was written by the client and may be anything.
 */
export const clientAddress = (peer: string, forwardedFor: string | undefined, trusted: BlockList): string => {
  const named = (forwardedFor ?? "").split(",").map(addressOf)
  let current = addressOf(peer)
  while (isTrusted(current, trusted)) {
    const next = named.pop()
    if (next === undefined || next === "") break
    current = next
  }
  return current
}
