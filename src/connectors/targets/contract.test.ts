/** What holds for every target connector, whichever is added next. */
import { describe, expect, test } from "bun:test"
import * as v from "valibot"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import { testTargetDeps } from "../../testing/deploying"
import { fieldsOf, optionalSecret, parseConfig, secret, secretKeysOf } from "../config"
import { targetConnector, targetConnectors } from "./catalog"
import { endpointIn } from "./endpoint"

const deps = testTargetDeps("/nonexistent")

test("types are unique, and an unknown one names the known ones", () => {
  expect(new Set(targetConnectors.map(({ type }) => type)).size).toBe(targetConnectors.length)
  expect(() => targetConnector("nginx")).toThrow(/type must be one of .*NGINX.*, not "nginx"/)
})

for (const connector of targetConnectors) {
  describe(connector.type, () => {
    test("opens with its example", () => {
      expect(connector.open(connector.example, deps).plan).toBeFunction()
    })

    test("describes every key to a person", () => {
      for (const field of fieldsOf(connector.config)) {
        expect([field.key, field.title.length > 0, field.description.length > 0]).toEqual([field.key, true, true])
      }
    })

    test("repeats no value in the error about it", () => {
      const wrong = Object.fromEntries(fieldsOf(connector.config).map(({ key }) => [key, { hunter2: "hunter2" }]))
      const problem = (() => {
        try {
          connector.open(wrong, deps)
        } catch (error) {
          return String(error)
        }
      })()
      expect(problem).toContain(" must be ")
      expect(problem).not.toContain("hunter2")
    })

    test("plans the same files for the same material", async () => {
      const authority = await testAuthority()
      const { certPem, keyPem } = await testLeaf(authority, ["site.example"])
      const material = { certificateId: "mc", jobId: "job", certPem, chainPem: authority.certPem, keyPem }
      const target = connector.open(connector.example, deps)
      const [one, two] = [await target.plan(material), await target.plan(material)]
      expect(one.files).toEqual(two.files)
      const places = (plan: typeof one) => (plan.mergedFiles ?? []).map(({ merge: _, ...place }) => place)
      expect(places(one)).toEqual(places(two))
      expect(one.files.length + places(one).length + one.steps.length).toBeGreaterThan(0)
      for (const { bytes, isKey, defaultMode } of one.files) {
        if (Buffer.from(bytes).includes(keyPem.trimEnd())) expect([isKey, defaultMode & 0o007]).toEqual([true, 0])
      }
    })
  })
}

test("secrets are found however they are declared, and errors keep them", () => {
  const schema = v.object({ user: v.string(), password: secret("P", "p"), token: optionalSecret("T", "t") })
  expect(secretKeysOf(schema)).toEqual(["password", "token"])
  expect(fieldsOf(schema).map(({ isRequired }) => isRequired)).toEqual([true, true, false])
  expect(() => parseConfig(schema, { user: 7, token: ["hunter2"] })).toThrow(
    "user must be string; password is required; token must be string",
  )
})

describe("the endpoint", () => {
  const cases: [config: Record<string, unknown>, endpoint: unknown][] = [
    [{}, null],
    [{ host: "" }, null],
    [{ host: "h" }, { host: "h", port: 443 }],
    [
      { address: "a", target: "t", port: 8443 },
      { host: "t", port: 8443 },
    ],
    [
      { host: "h", port: "8443" },
      { host: "h", port: 8443 },
    ],
    [
      { host: "h", port: 0 },
      { host: "h", port: 443 },
    ],
    [
      { host: "h", verify_host: "v", verify_server_name: "s" },
      { host: "v", port: 443, serverName: "s" },
    ],
    [
      { host: "h", post_deploy_verify: { endpoint: "p:993" } },
      { host: "p", port: 993 },
    ],
    [{ post_deploy_verify: { endpoint: "[::1]:993", server_name: "s" } }, { host: "::1", port: 993, serverName: "s" }],
    [{ verify_host: "[::1]" }, { host: "::1", port: 443 }],
    [
      { verify_host: "m", verify_starttls: "smtp" },
      { host: "m", port: 25, startTls: "smtp" },
    ],
    [
      { verify_host: "m", verify_port: 587, verify_starttls: "smtp" },
      { host: "m", port: 587, startTls: "smtp" },
    ],
    [
      { post_deploy_verify: { endpoint: "db", starttls: "postgres" } },
      { host: "db", port: 5432, startTls: "postgres" },
    ],
  ]
  for (const [config, endpoint] of cases) {
    test(`of ${JSON.stringify(config)}`, () => expect(endpointIn(config)).toEqual(endpoint as never))
  }
  test("of what is managed remotely is only the explicit one", () => {
    expect(endpointIn({ host: "h" }, true)).toBeNull()
    expect(endpointIn({ host: "h", verify_host: "v" }, true)).toEqual({ host: "v", port: 443 })
  })
})
