/** Ranges of IP addresses in CIDR notation. Pure. */
import { ipBytes } from "../pki/names"

export interface AddressRange {
  /** 4 or 16 bytes. */
  readonly network: Buffer
  /** How many leading bits an address shares with the network to belong to the range. */
  readonly prefixBits: number
}

/** RFC 4291 section 2.5.5.2: `::ffff:192.0.2.1` is an IPv4 address in another dress. */
const isMapped = (bytes: Buffer): boolean =>
  bytes.length === 16 && bytes.readUInt16BE(10) === 0xffff && bytes.subarray(0, 10).every((byte) => byte === 0)

const mappedBits = 96

/** `10.0.0.0/8`, `2001:db8::/32`, or one address alone. Bits behind the prefix may be set and mean nothing. null: neither. */
export const parseRange = (text: string): AddressRange | null => {
  const [, address = "", digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const bytes = ipBytes(address)
  if (bytes === null) return null
  const allBits = bytes.length * 8
  const prefixBits = digits === undefined ? allBits : Number(digits)
  if (prefixBits > allBits) return null
  return isMapped(bytes) && prefixBits >= mappedBits
    ? { network: bytes.subarray(12), prefixBits: prefixBits - mappedBits }
    : { network: bytes, prefixBits }
}

/** Two to this power is the number of addresses. */
export const hostBits = ({ network, prefixBits }: AddressRange): number => network.length * 8 - prefixBits

/** False for text that is no address. The zone of a link-local address (`fe80::1%eth0`) does not count. */
export const rangeContains = ({ network, prefixBits }: AddressRange, address: string): boolean => {
  const bytes = ipBytes(address.replace(/%.*$/, ""))
  if (bytes === null) return false
  const plain = isMapped(bytes) ? bytes.subarray(12) : bytes
  if (plain.length !== network.length) return false
  const wholeBytes = prefixBits >> 3
  const restBits = prefixBits & 7
  if (!plain.subarray(0, wholeBytes).equals(network.subarray(0, wholeBytes))) return false
  if (restBits === 0) return true
  const mask = 0xff << (8 - restBits)
  return ((plain[wholeBytes] ?? 0) & mask) === ((network[wholeBytes] ?? 0) & mask)
}
