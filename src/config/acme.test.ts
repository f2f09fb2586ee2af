import { describe, expect, test } from "bun:test"
import { readConfig } from "../config"
import { AppError } from "../errors"

describe("ACME configuration", () => {
  const refusal = (env: Record<string, string>): string => {
    try {
      readConfig({ CERTCTL_DATA_DIR: "/tmp/none", CERTCTL_ACME_SERVER_ENABLED: "true", ...env })
      return "accepted"
    } catch (error) {
      if (error instanceof AppError) return error.message
      throw error
    }
  }
  const cases: [string, Record<string, string>, string][] = [
    ["an unknown mode", { CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "none" }, "trust_authenticated, challenge"],
    ["a resolver by name", { CERTCTL_ACME_SERVER_DNS01_RESOLVER: "dns.example" }, "an IP address and a port"],
    ["terms that are no URL", { CERTCTL_ACME_SERVER_TOS_URL: "terms" }, "http or https URL"],
    ["a negative limit", { CERTCTL_ACME_SERVER_RATE_LIMIT_ORDERS_PER_HOUR: "-1" }, "at least 0"],
    ["no validation at once", { CERTCTL_ACME_SERVER_HTTP01_CONCURRENCY: "0" }, "at least 1"],
  ]
  for (const [what, env, words] of cases) {
    test(`${what} is refused at the start`, () => expect(refusal(env)).toContain(words))
  }
  test("issuing to everybody is warned of", () => {
    const warned = (env: Record<string, string>) =>
      readConfig({ CERTCTL_DATA_DIR: "/tmp/none", CERTCTL_ACME_SERVER_ENABLED: "true", ...env }).warnings.some((line) =>
        line.includes("whoever reaches it"),
      )
    expect(warned({})).toBe(true)
    expect(warned({ CERTCTL_ACME_SERVER_EAB_REQUIRED: "true" })).toBe(false)
    expect(warned({ CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "challenge" })).toBe(false)
  })
})
