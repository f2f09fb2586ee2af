import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { hostBits, parseRange, rangeContains } from "./address-range"
import { type GroupCandidate, type GroupCriteria, isMember } from "./group-membership"

const contains = (cidr: string, address: string): boolean => {
  const range = parseRange(cidr)
  if (range === null) throw new Error(`${cidr} is no range`)
  return rangeContains(range, address)
}

describe("an address range", () => {
  test("contains the addresses of its prefix, in both families", () => {
    expect(contains("10.0.0.0/8", "10.255.0.1")).toBe(true)
    expect(contains("10.0.0.0/8", "11.0.0.1")).toBe(false)
    expect(contains("192.168.1.64/26", "192.168.1.127")).toBe(true)
    expect(contains("192.168.1.64/26", "192.168.1.128")).toBe(false)
    expect(contains("0.0.0.0/0", "203.0.113.9")).toBe(true)
    expect(contains("2001:db8::/33", "2001:db8:7fff::1")).toBe(true)
    expect(contains("2001:db8::/33", "2001:db8:8000::1")).toBe(false)
    expect(contains("::/0", "2001:db8::1")).toBe(true)
  })

  test("of one address alone is that address, however it is written", () => {
    expect(contains("10.0.0.5", "10.0.0.5")).toBe(true)
    expect(contains("10.0.0.5", "10.0.0.50")).toBe(false)
    expect(contains("2001:db8::1", "2001:0DB8:0:0::0001")).toBe(true)
    expect(contains("fe80::1", "fe80::1%eth0")).toBe(true)
  })

  test("does not mix the families, but for IPv4 addresses in IPv6 notation", () => {
    expect(contains("0.0.0.0/0", "2001:db8::1")).toBe(false)
    expect(contains("::/0", "10.0.0.1")).toBe(false)
    expect(contains("10.0.0.0/8", "::ffff:10.1.2.3")).toBe(true)
    expect(contains("::ffff:10.0.0.0/104", "10.1.2.3")).toBe(true)
  })

  test("is not made of anything else", () => {
    for (const text of ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.0/", "10.0.0.0/8/8", "web", "10.0.0.0/-1"]) {
      expect(parseRange(text)).toBeNull()
    }
    expect(contains("10.0.0.0/8", "")).toBe(false)
    expect(contains("10.0.0.0/8", "unknown")).toBe(false)
  })

  test("contains exactly the addresses whose leading bits are its own", () => {
    const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
    const bitsOf = (parts: number[]) => parts.map((part) => part.toString(2).padStart(8, "0")).join("")
    fc.assert(
      fc.property(octets, octets, fc.nat(32), (network, address, prefix) => {
        const cidr = `${network.join(".")}/${prefix}`
        const range = parseRange(cidr)
        expect(range === null ? null : hostBits(range)).toBe(32 - prefix)
        expect(contains(cidr, address.join("."))).toBe(
          bitsOf(network).slice(0, prefix) === bitsOf(address).slice(0, prefix),
        )
        expect(contains(cidr, network.join("."))).toBe(true)
      }),
    )
  })
})

const agent: GroupCandidate = {
  id: "agent-1",
  os: "linux",
  architecture: "amd64",
  version: "1.2.0",
  ipAddress: "10.1.2.3",
  retiredAt: null,
}
const group: GroupCriteria = { enabled: true, matchOs: "", matchArchitecture: "", matchVersion: "", matchIpCidr: "" }

describe("an agent", () => {
  test("belongs to a group when it meets every criterion that is given", () => {
    const belongs = (criteria: Partial<GroupCriteria>) => isMember(agent, { ...group, ...criteria }, null)
    expect(belongs({ matchOs: "linux" })).toBe(true)
    expect(belongs({ matchOs: "Linux" })).toBe(false)
    expect(belongs({ matchOs: "linux", matchArchitecture: "arm64" })).toBe(false)
    expect(belongs({ matchVersion: "1.2.0", matchIpCidr: "10.0.0.0/8" })).toBe(true)
    expect(belongs({ matchVersion: "1.2" })).toBe(false)
    expect(belongs({ matchIpCidr: "10.1.2.4" })).toBe(false)
    expect(belongs({})).toBe(false)
  })

  test("is included and excluded by its own row, whatever the criteria say", () => {
    expect(isMember(agent, group, "include")).toBe(true)
    expect(isMember(agent, { ...group, matchOs: "windows" }, "include")).toBe(true)
    expect(isMember(agent, { ...group, matchOs: "linux" }, "exclude")).toBe(false)
  })

  test("never belongs when it is retired or built in, nor to a group that is disabled", () => {
    const linux = { ...group, matchOs: "linux" }
    expect(isMember({ ...agent, retiredAt: new Date() }, linux, "include")).toBe(false)
    expect(isMember({ ...agent, id: "server-scanner" }, linux, "include")).toBe(false)
    expect(isMember(agent, { ...linux, enabled: false }, "include")).toBe(false)
  })
})
