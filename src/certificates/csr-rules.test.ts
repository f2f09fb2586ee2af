import { describe, expect, test } from "bun:test"
import { buildCsr, parseCsr } from "../pki/csr"
import { generateKey, type KeyType } from "../pki/keys"
import { checkCsr, checkLifetime, type IssuanceRules, isShortLived } from "./csr-rules"

const keys = new Map<KeyType, Awaited<ReturnType<typeof generateKey>>>()
for (const type of ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"] as const) keys.set(type, await generateKey(type))

const csrOf = (commonName: string, sans: string[] = [], type: KeyType = "ecdsa-p256") => {
  const privateKey = keys.get(type)
  if (privateKey === undefined) throw new Error(`no key of type ${type}`)
  return parseCsr(buildCsr({ commonName, sans, privateKey }))
}

const profile = {
  id: "prof-1",
  enabled: true,
  allowedKeyAlgorithms: [],
  allowedEkus: [],
  maxTtlSeconds: 0,
  mustStaple: false,
  allowShortLived: false,
  requiredSanPatterns: [],
  spiffeUriPattern: "",
} satisfies IssuanceRules["profile"]

const rules = (given: Partial<NonNullable<IssuanceRules["profile"]>> = {}, sans: string[] = []): IssuanceRules => ({
  commonName: "web.example.com",
  sans: ["www.example.com", "192.0.2.7", "ops@example.com", ...sans],
  profile: { ...profile, ...given },
})

describe("the names of a CSR", () => {
  test("may be some of the certificate's, in any case", () => {
    checkCsr(csrOf("WEB.example.com", ["www.example.com", "192.0.2.7", "ops@example.com"]), rules())
    checkCsr(csrOf("web.example.com"), { ...rules(), profile: null })
  })

  test("must not be others, and the refusal names the one", () => {
    expect(() => checkCsr(csrOf("web.example.com", ["evil.example.com"]), rules())).toThrow("evil.example.com")
    expect(() => checkCsr(csrOf("other.example.com"), rules())).toThrow("common name web.example.com")
    expect(() => checkCsr(csrOf("", ["www.example.com"]), rules())).toThrow("not none")
  })
})

describe("the key of a CSR", () => {
  const ecOnly = { allowedKeyAlgorithms: [{ algorithm: "ECDSA", min_size: 384 }] as const }

  test("must be of an allowed algorithm and long enough", () => {
    checkCsr(csrOf("web.example.com", [], "ecdsa-p384"), rules(ecOnly))
    expect(() => checkCsr(csrOf("web.example.com"), rules(ecOnly))).toThrow("profile prof-1 allows ECDSA 384+")
    expect(() => checkCsr(csrOf("web.example.com", [], "rsa-2048"), rules(ecOnly))).toThrow("RSA 2048")
  })

  test("Ed25519 counts as 256 bits", () => {
    const ed = { allowedKeyAlgorithms: [{ algorithm: "Ed25519", min_size: 256 }] as const }
    checkCsr(csrOf("web.example.com", [], "ed25519"), rules(ed))
    checkCsr(csrOf("web.example.com", [], "ed25519"), rules())
  })
})

describe("the patterns of a profile", () => {
  test("must each be met by every DNS name, the common name included, and by no other name", () => {
    const within = { requiredSanPatterns: ["*.example.com", "[a-z]+\\.example\\.org"] }
    checkCsr(csrOf("web.example.com"), rules(within, ["shop.example.org"]))
    expect(() => checkCsr(csrOf("web.example.com"), rules(within, ["a.b.example.com"]))).toThrow("a.b.example.com")
    expect(() => checkCsr(csrOf("web.example.com"), rules({ requiredSanPatterns: ["www\\..*"] }))).toThrow(
      "web.example.com matches none",
    )
  })

  test("a SPIFFE pattern wants exactly one matching URI", () => {
    const spiffe = { spiffeUriPattern: "spiffe://example.org/ns/*/sa/web" }
    const good = "spiffe://example.org/ns/prod/sa/web"
    checkCsr(csrOf("web.example.com"), rules(spiffe, [good]))
    expect(() => checkCsr(csrOf("web.example.com"), rules(spiffe))).toThrow("exactly one URI")
    expect(() => checkCsr(csrOf("web.example.com"), rules(spiffe, [good, `${good}2`]))).toThrow("has 2")
    expect(() => checkCsr(csrOf("web.example.com"), rules(spiffe, ["spiffe://example.org/x"]))).toThrow(
      "does not match",
    )
  })

  test("a disabled profile signs nothing", () => {
    expect(() => checkCsr(csrOf("web.example.com"), rules({ enabled: false }))).toThrow("profile prof-1 is disabled")
  })
})

describe("the lifetime that a CA returned", () => {
  const now = new Date("2030-01-01T00:00:00.000Z")
  const after = (seconds: number) => new Date(now.getTime() + seconds * 1000)

  test("may be a minute longer than the profile allows, counted from now", () => {
    checkLifetime(after(3660), { ...profile, maxTtlSeconds: 3600 }, now)
    expect(() => checkLifetime(after(3661), { ...profile, maxTtlSeconds: 3600 }, now)).toThrow(
      "beyond the 3600 seconds",
    )
    checkLifetime(after(10 ** 9), profile, now)
    checkLifetime(after(10 ** 9), null, now)
  })

  test("short-lived is what the profile calls so and lasts less than an hour", () => {
    expect(isShortLived({ ...profile, allowShortLived: true, maxTtlSeconds: 3599 })).toBe(true)
    expect(isShortLived({ ...profile, allowShortLived: true, maxTtlSeconds: 3600 })).toBe(false)
    expect(isShortLived({ ...profile, maxTtlSeconds: 60 })).toBe(false)
    expect(isShortLived(null)).toBe(false)
  })
})
