/** Against the values that [MS-NLMP] 4.2.4 publishes for NTLMv2. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { ntlmAuthenticate, ntlmNegotiate, ntlmPasswordKey, ntlmSession, splitAccount } from "./ntlm"

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
const sessionKey = Buffer.alloc(16, 0x55)

/** The challenge message of 4.2.4.3. */
const challenge = hex(
  "4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef00000000000000002400240044000000" +
    "06007017 0000000f53006500720076006500720002000c0044006f006d00610069006e0001000c00530065007200760065007200 00000000",
)

describe("NTLM", () => {
  test("has the published password key", () => {
    expect(ntlmPasswordKey("User", "Domain", "Password").toString("hex")).toBe("0c868a403bfd7a93a3001ef22ef02e3f")
  })

  test("answers the published challenge with the published proof and session key", () => {
    const { message } = ntlmAuthenticate(ntlmNegotiate(), challenge, {
      username: "Domain\\User",
      password: "Password",
      now: new Date(-11_644_473_600_000),
      channelBindings: null,
      random: { clientChallenge: Buffer.alloc(8, 0xaa), sessionKey },
    })
    const part = (field: number) => {
      const [length, at] = [message.readUInt16LE(field), message.readUInt32LE(field + 4)]
      return message.subarray(at, at + length).toString("hex")
    }
    expect(part(20).slice(0, 32)).toBe("68cd0ab851e51c96aabc927bebef6a1c")
    expect(part(12)).toBe("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa")
    expect(part(52)).toBe("c5dad2544fc9799094ce1ce90bc9d03e")
    expect(part(28)).toBe(Buffer.from("Domain", "utf16le").toString("hex"))
    expect(part(36)).toBe(Buffer.from("User", "utf16le").toString("hex"))
  })

  test("seals as published", () => {
    const { signature, sealed } = ntlmSession(sessionKey, "client").seal(Buffer.from("Plaintext", "utf16le"))
    expect(sealed.toString("hex")).toBe("54e50165bf1936dc996020c1811b0f06fb5f")
    expect(signature.toString("hex")).toBe("010000007fb38ec5c55d497600000000")
  })

  test("both sides understand each other, in order, and nothing that was changed gets through", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 5 }), (messages) => {
        const [client, server] = [ntlmSession(sessionKey, "client"), ntlmSession(sessionKey, "server")]
        for (const message of messages) {
          expect(server.unseal(client.seal(message))).toEqual(Buffer.from(message))
          expect(client.unseal(server.seal(message))).toEqual(Buffer.from(message))
        }
        const { signature, sealed } = client.seal(Buffer.from("last"))
        sealed[0] = (sealed[0] ?? 0) ^ 1
        expect(() => server.unseal({ signature, sealed })).toThrow("changed on its way")
      }),
    )
  })

  test("refuses weak offers and challenges that end early", () => {
    const login = { username: "u", password: "p", now: new Date(0), channelBindings: null }
    const weak = Buffer.from(challenge)
    weak.writeUInt32LE(0x00008201, 20)
    expect(() => ntlmAuthenticate(ntlmNegotiate(), weak, login)).toThrow("does not offer 128-bit sealing")
    for (let length = 0; length < challenge.length; length++) {
      expect(() => ntlmAuthenticate(ntlmNegotiate(), challenge.subarray(0, length), login)).toThrow("cannot be read")
    }
  })

  test("splits accounts", () => {
    expect(splitAccount("DOMAIN\\user")).toEqual({ domain: "DOMAIN", user: "user" })
    expect(splitAccount("user@example.com")).toEqual({ domain: "", user: "user@example.com" })
  })
})
