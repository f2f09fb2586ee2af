import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { mask, redactConfig, unmaskConfig } from "./stored-config"

const stored = {
  addr: "https://vault.example",
  token: "s3cret",
  client_key_path: "/etc/key.pem",
  winrm: { winrm_host: "h", winrm_password: "p4ss", winrm_port: 5986 },
  api_keys: ["one", "two"],
  note: "plain",
  empty_token: "",
}

describe("redaction", () => {
  test("masks every non-empty text under a key that sounds secret, at any depth", () => {
    expect(redactConfig(stored)).toEqual({
      ...stored,
      token: mask,
      client_key_path: mask,
      winrm: { winrm_host: "h", winrm_password: mask, winrm_port: 5986 },
      api_keys: [mask, mask],
    })
    expect(redactConfig({ Eab_HMAC: "x", PassPhrase: "y", CREDENTIALS: { user: "u" } })).toEqual({
      Eab_HMAC: mask,
      PassPhrase: mask,
      CREDENTIALS: { user: mask },
    })
  })

  test("masks what the connector calls secret, whatever its name", () => {
    expect(redactConfig({ url: "https://hooks.example/T0K3N" }, ["url"])).toEqual({ url: mask })
  })

  test("lets no secret through, whatever surrounds it", () => {
    const word = fc.constantFrom("password", "API_Key", "client_secret", "token", "hmac", "private", "credentials")
    fc.assert(
      fc.property(word, fc.array(fc.string()), fc.jsonValue(), (key, around, noise) => {
        let config: Record<string, unknown> = { [key]: "visible-secret", noise }
        for (const name of around) config = { [name]: [config] }
        expect(JSON.stringify(redactConfig(config))).not.toContain("visible-secret")
      }),
    )
  })
})

describe("a submitted configuration", () => {
  const keep = { sameReceiver: true }

  test("keeps stored secrets where it sends the mask, takes new ones and drops what is missing", () => {
    const shown = redactConfig(stored)
    expect(unmaskConfig(shown, stored, keep)).toEqual(stored)
    expect(unmaskConfig({ addr: stored.addr, token: "new", winrm: shown.winrm }, stored, keep)).toEqual({
      addr: stored.addr,
      token: "new",
      winrm: stored.winrm,
    })
  })

  test("must give secrets again when an address changes, but not paths", () => {
    const moved = { ...redactConfig(stored), addr: "https://evil.example" }
    expect(() => unmaskConfig(moved, stored, keep)).toThrow("config.token must be given again")
    const nested = { ...redactConfig(stored), winrm: { winrm_host: "evil", winrm_password: mask } }
    expect(() => unmaskConfig(nested, stored, keep)).toThrow("must be given again")
    expect(unmaskConfig({ addr: "https://new.example", client_key_path: mask, token: "given" }, stored, keep)).toEqual({
      addr: "https://new.example",
      client_key_path: "/etc/key.pem",
      token: "given",
    })
  })

  test("must give secrets again when a place that was not there before appears", () => {
    const added = { ...redactConfig(stored), base_url: "https://evil.example" }
    expect(() => unmaskConfig(added, stored, keep)).toThrow("must be given again")
  })

  test("must give secrets again when somebody else receives them", () => {
    expect(() => unmaskConfig(redactConfig(stored), stored, { sameReceiver: false })).toThrow(
      "config.token must be given again",
    )
  })

  test("cannot keep what was never stored", () => {
    expect(() => unmaskConfig({ token: mask }, null, keep)).toThrow("config.token must be given: nothing is stored")
    expect(() => unmaskConfig({ other_token: mask }, stored, keep)).toThrow("config.other_token must be given")
  })

  test("may hold the mask's characters where nothing is secret", () => {
    expect(unmaskConfig({ note: mask }, null, keep)).toEqual({ note: mask })
  })

  test("that is sent back as it was shown changes nothing", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (config) => {
        fc.pre(!JSON.stringify(config).includes(mask) && !JSON.stringify(config).includes("__proto__"))
        expect(unmaskConfig(redactConfig(config), config, keep)).toEqual(config)
      }),
    )
  })
})
