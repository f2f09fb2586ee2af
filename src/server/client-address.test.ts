import { expect, test } from "bun:test"
import { proxyList } from "../config"
import { clientAddress } from "./client-address"

const trusted = proxyList(["10.0.0.0/8", "fd00::/8"])

const table: [string, string, string | undefined, string][] = [
  ["without a header it is the peer", "192.0.2.1", undefined, "192.0.2.1"],
  ["a stranger's header is not believed", "192.0.2.1", "198.51.100.7", "192.0.2.1"],
  ["a trusted proxy's is", "10.1.1.1", "198.51.100.7", "198.51.100.7"],
  ["only what the last untrusted address is, counts", "10.1.1.1", "1.2.3.4, 198.51.100.7, 10.2.2.2", "198.51.100.7"],
  ["a chain of trusted proxies alone ends at the first", "10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"],
  ["mapped IPv4 is IPv4", "::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7"],
  ["IPv6 proxies and clients", "fd00::1", "2001:db8::7", "2001:db8::7"],
  ["ports are dropped", "10.1.1.1", "198.51.100.7:4711", "198.51.100.7"],
  ["bracketed IPv6", "10.1.1.1", "[2001:db8::7]:443", "2001:db8::7"],
  ["garbage ends the walk", "10.1.1.1", "198.51.100.7, unknown", "10.1.1.1"],
  ["an unknown peer is nobody", "", "198.51.100.7", ""],
]
for (const [name, peer, header, expected] of table) {
  test(name, () => expect(clientAddress(peer, header, trusted)).toBe(expected))
}
