import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type RuleSubject, ruleCheck, ruleTypes } from "./policy-rules"

const now = new Date("2030-01-01T12:00:00Z")
const inDays = (days: number) => new Date(now.getTime() + days * 86_400_000)

const subject: RuleSubject = {
  issuerId: "iss-1",
  sans: ["www.example.com"],
  environment: "production",
  tags: { owner: "web" },
  expiresAt: inDays(60),
  newest: { notBefore: inDays(-30), notAfter: inDays(60) },
}

const verdict = (type: string, config: Record<string, unknown>, changes: Partial<RuleSubject> = {}) =>
  ruleCheck(type, config)({ ...subject, ...changes }, now)

describe("AllowedIssuers", () => {
  test("is violated by an issuer that is not in the list, and by none", () => {
    expect(verdict("AllowedIssuers", { allowed_issuer_ids: ["iss-1"] })).toBeNull()
    expect(verdict("AllowedIssuers", { allowed_issuer_ids: ["iss-2", "iss-3"] })).toBe(
      "issuer iss-1 is not allowed; allowed: iss-2, iss-3",
    )
    expect(verdict("AllowedIssuers", { allowed_issuer_ids: [] })).toBeNull()
    expect(verdict("AllowedIssuers", {}, { issuerId: "" })).toContain("no issuer")
  })
})

describe("AllowedDomains", () => {
  const allows = (allowed: string[], ...sans: string[]) =>
    verdict("AllowedDomains", { allowed_domains: allowed }, { sans }) === null

  test("takes an entry as that name only, and a wildcard as exactly one label more", () => {
    expect(allows(["example.com"], "example.com")).toBe(true)
    expect(allows(["example.com"], "www.example.com")).toBe(false)
    expect(allows(["*.example.com"], "www.example.com")).toBe(true)
    expect(allows(["*.example.com"], "*.example.com")).toBe(true)
    expect(allows(["*.example.com"], "example.com")).toBe(false)
    expect(allows(["*.example.com"], "a.b.example.com")).toBe(false)
    expect(allows(["*.example.com"], "wwwexample.com")).toBe(false)
  })

  test("ignores case and the way an address is written, and does not take a mailbox for a host", () => {
    expect(allows(["*.Example.com"], "WWW.example.COM")).toBe(true)
    expect(allows(["2001:db8::1"], "2001:DB8:0::1")).toBe(true)
    expect(allows(["*.example.com"], "ops@mail.example.com")).toBe(false)
    expect(allows(["ops@example.com"], "ops@example.com")).toBe(true)
  })

  test("names what is outside, and is violated by a certificate without names", () => {
    expect(verdict("AllowedDomains", { allowed_domains: ["a.test"] }, { sans: ["a.test", "b.test"] })).toBe(
      "not among the allowed domains: b.test; allowed: a.test",
    )
    expect(allows([], "anything.test")).toBe(true)
    expect(allows([])).toBe(false)
  })

  test("holds for any names whose own parents are allowed, and not when one label is put in front", () => {
    const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/)
    const name = fc.array(label, { minLength: 3, maxLength: 5 })
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), label, (names, more) => {
        const sans = names.map((labels) => labels.join("."))
        const parents = names.map((labels) => `*.${labels.slice(1).join(".")}`)
        expect(allows(parents, ...sans)).toBe(true)
        expect(allows(sans, ...sans.map((san) => san.toUpperCase()))).toBe(true)
        const [first = ""] = sans
        const [parent = ""] = parents
        expect(allows([parent], `${more}.${first}`)).toBe(false)
      }),
    )
  })
})

describe("RequiredMetadata", () => {
  test("is violated by each missing key and by a certificate without tags", () => {
    expect(verdict("RequiredMetadata", { required_keys: ["owner"] })).toBeNull()
    expect(verdict("RequiredMetadata", { required_keys: ["owner", "cost", "tier"] })).toBe(
      "tags that are required are missing: cost, tier",
    )
    expect(verdict("RequiredMetadata", {}, { tags: {} })).toBe("the certificate has no tags")
    expect(verdict("RequiredMetadata", { required_keys: ["toString"] })).toContain("toString")
  })
})

describe("AllowedEnvironments", () => {
  test("is violated by another environment and by none", () => {
    expect(verdict("AllowedEnvironments", { allowed: ["production"] })).toBeNull()
    expect(verdict("AllowedEnvironments", { allowed: ["staging"] })).toContain("production is not allowed")
    expect(verdict("AllowedEnvironments", { allowed: [] }, { environment: "" })).toContain("no environment")
  })
})

describe("RenewalLeadTime", () => {
  const at = (days: number, config = {}) => verdict("RenewalLeadTime", config, { expiresAt: inDays(days) })

  test("is violated between the lead time and the expiry, thirty days where none is given", () => {
    expect(at(30)).toBeNull()
    expect(at(29.9)).toBe("expires on 2030-01-31: less than 30 days ahead and not renewed")
    expect(at(0)).toBeNull()
    expect(at(-5)).toBeNull()
    expect(at(20, { lead_time_days: 14 })).toBeNull()
    expect(at(13, { lead_time_days: 14 })).not.toBeNull()
    expect(at(29, { lead_time_days: -1 })).not.toBeNull()
    expect(verdict("RenewalLeadTime", {}, { expiresAt: null })).toBeNull()
  })

  test("is violated exactly when less than the lead time is left, in the same words from day to day", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.double({ min: -10, max: 500, noNaN: true }), (lead, days) => {
        const expiresAt = inDays(days)
        const left = (expiresAt.getTime() - now.getTime()) / 86_400_000
        const check = ruleCheck("RenewalLeadTime", { lead_time_days: lead })
        const words = check({ ...subject, expiresAt }, now)
        expect(words !== null).toBe(left > 0 && left < lead)
        if (left > 1 && words !== null) expect(check({ ...subject, expiresAt }, inDays(1))).toBe(words)
      }),
    )
  })
})

describe("CertificateLifetime", () => {
  test("counts whole days, so that backdating makes no day", () => {
    const of = (days: number, most: number) =>
      verdict("CertificateLifetime", { max_days: most }, { newest: { notBefore: inDays(0), notAfter: inDays(days) } })
    expect(of(90.02, 90)).toBeNull()
    expect(of(91, 90)).toBe("the newest version is valid for 91 days; at most 90 are allowed")
    expect(of(4000, 0)).toBeNull()
    expect(of(4000, -3)).toBeNull()
    expect(verdict("CertificateLifetime", { max_days: 1 }, { newest: null })).toBeNull()
  })
})

describe("a rule's configuration", () => {
  test("is refused with the name of the key that does not fit", () => {
    const refusal = (type: string, config: Record<string, unknown>) => {
      try {
        ruleCheck(type, config)
        return null
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(refusal("NoSuchType", {})).toBe(`type must be one of ${ruleTypes.join(", ")}`)
    expect(refusal("AllowedIssuers", { allowed_issuer_ids: "iss-1" })).toBe("config.allowed_issuer_ids must be a list")
    expect(refusal("RequiredMetadata", { required_keys: [1] })).toBe("config.required_keys[0] must be a string")
    expect(refusal("AllowedDomains", { allowed_domains: ["*.*.example.com"] })).toBe(
      "config.allowed_domains[0] must be a name such as example.com or *.example.com",
    )
    expect(refusal("AllowedEnvironments", { allowed_environments: ["x"] })).toBe(
      "config.allowed is required for a rule of type AllowedEnvironments",
    )
    expect(refusal("CertificateLifetime", { max_days: "90" })).toBe("config.max_days must be a number")
    expect(refusal("RenewalLeadTime", { lead_time_days: 1.5 })).toBe("config.lead_time_days must be a whole number")
    expect(refusal("AllowedIssuers", { allowed_issuer_ids: [], comment: "kept" })).toBeNull()
  })

  test("may be empty for every type", () => {
    for (const type of ruleTypes) expect(typeof ruleCheck(type, {})).toBe("function")
  })
})
