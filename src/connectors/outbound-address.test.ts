import { expect, test } from "bun:test"
import { AppError } from "../errors"
import { addressObjection, outboundUrl, resolveOutbound } from "./outbound-address"

const messageFrom = async (run: () => unknown): Promise<string> => {
  try {
    await run()
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`
    throw error
  }
  throw new Error("was not refused")
}

test.each([
  ["127.0.0.1", "is a loopback address"],
  ["127.255.255.254", "is a loopback address"],
  ["::1", "is a loopback address"],
  ["0:0:0:0:0:0:0:1", "is a loopback address"],
  ["0.0.0.0", "is an unspecified address"],
  ["0.1.2.3", "is an unspecified address"],
  ["::", "is an unspecified address"],
  ["169.254.169.254", "is a link-local address"],
  ["fe80::1", "is a link-local address"],
  ["fe80::1%eth0", "is a link-local address"],
  ["febf::1", "is a link-local address"],
  ["224.0.0.1", "is a multicast address"],
  ["239.255.255.255", "is a multicast address"],
  ["ff02::1", "is a multicast address"],
  ["255.255.255.255", "is a broadcast address"],
  ["::ffff:127.0.0.1", "is a loopback address"],
  ["::ffff:7f00:1", "is a loopback address"],
  ["0:0:0:0:0:ffff:a9fe:a9fe", "is a link-local address"],
  ["::ffff:0:0", "is an unspecified address"],
  ["64:ff9b::169.254.169.254", "is a link-local address"],
  ["localhost", "is no IP address"],
  ["", "is no IP address"],
])("%p %s", (address, objection) => {
  expect(addressObjection(address)).toBe(objection)
})

test.each([
  "10.0.0.1",
  "172.16.5.5",
  "192.168.1.1",
  "fd00::1",
  "8.8.8.8",
  "2606:4700::1111",
  "::ffff:8.8.8.8",
  "1.0.0.0",
])("%p may be asked", (address) => {
  expect(addressObjection(address)).toBeNull()
})

test("loopback can be allowed, in every spelling, and nothing else with it", () => {
  const rules = { allowLoopback: true }
  expect(["127.0.0.1", "::1", "::ffff:127.0.0.1"].map((address) => addressObjection(address, rules))).toEqual([
    null,
    null,
    null,
  ])
  expect(addressObjection("169.254.169.254", rules)).toBe("is a link-local address")
})

test.each([
  "ftp://example.com",
  "file:///etc/passwd",
  "gopher://x",
  "example.com",
  "",
  "https://user@example.com",
  "http://u:p@x",
])("%p is no address to ask", async (url) => {
  const message = await messageFrom(() => outboundUrl(url))
  expect(message).toStartWith("validation: the address must be ")
  expect(message).not.toContain("u:p")
})

test("numbers that URL reads as an IPv4 address are judged as that address", async () => {
  for (const url of ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/"]) {
    expect(await messageFrom(() => resolveOutbound(outboundUrl(url).hostname))).toContain("is a loopback address")
  }
})

test("one refused address among many refuses the name", async () => {
  const resolve = async () => ["203.0.113.7", "169.254.169.254"]
  expect(await messageFrom(() => resolveOutbound("hooks.test", {}, resolve))).toBe(
    "validation: hooks.test must not be asked: 169.254.169.254 is a link-local address",
  )
  expect(await resolveOutbound("hooks.test", {}, async () => ["203.0.113.7", "fd00::7"])).toEqual([
    "203.0.113.7",
    "fd00::7",
  ])
  expect(await resolveOutbound("[2001:db8::7]")).toEqual(["2001:db8::7"])
})

test("a name that does not resolve says so", async () => {
  expect(await messageFrom(() => resolveOutbound("hooks.test", {}, async () => []))).toBe(
    "upstream: hooks.test has no address",
  )
  expect(await messageFrom(() => resolveOutbound("hooks.test", {}, () => Promise.reject(new Error("ENOTFOUND"))))).toBe(
    "upstream: hooks.test does not resolve",
  )
})
