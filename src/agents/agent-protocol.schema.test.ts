import { describe, expect, test } from "bun:test"
import { toJsonSchema } from "@valibot/to-json-schema"
import * as v from "valibot"
import * as protocol from "./agent-protocol.schema"

const schemas = Object.values(protocol).filter((part) => typeof part === "object" && "~standard" in part)

test("every message can be documented", () => {
  expect(schemas.length).toBeGreaterThan(10)
  for (const schema of schemas as v.GenericSchema[])
    expect(toJsonSchema(schema, { errorMode: "ignore" }).type).toBe("object")
})

test("every message may carry keys of a newer version", () => {
  const beat = v.parse(protocol.HeartbeatBody, { version: "9", mood: "good" })
  expect(beat).toEqual({ version: "9" })
})

describe("agents of other makes", () => {
  test("may send null for what they leave out", () => {
    expect(v.is(protocol.HeartbeatBody, { version: null, hostname: null })).toBe(true)
    expect(v.is(protocol.DiscoveryBody, { agent_id: "a", certificates: null, errors: null, directories: null })).toBe(
      true,
    )
    expect(v.is(protocol.StatusReport, { status: "Failed", error: null })).toBe(true)
  })
})

describe("a refused body names its field", () => {
  const cases: [schema: v.GenericSchema, body: unknown, words: string][] = [
    [protocol.CsrBody, {}, "csr_pem"],
    [protocol.CsrBody, { csr_pem: "" }, "csr_pem is required"],
    [protocol.StatusReport, { status: "Done" }, "status must be Running, Completed or Failed"],
    [protocol.StatusReport, { status: "" }, "status must be Running, Completed or Failed"],
    [protocol.RegistrationBody, { name: "", hostname: "h" }, "name is required"],
    [
      protocol.VerifyBody,
      { target_id: "", expected_fingerprint: "a", actual_fingerprint: "a", verified: true },
      "target_id",
    ],
    [
      protocol.VerifyBody,
      { target_id: "t", expected_fingerprint: "a", actual_fingerprint: "", verified: false },
      "required unless error is given",
    ],
  ]
  for (const [schema, body, words] of cases) {
    test(JSON.stringify(body), () => {
      const parsed = v.safeParse(schema, body)
      const said = (parsed.issues ?? []).map((issue) => `${v.getDotPath(issue) ?? ""} ${issue.message}`).join("; ")
      expect(said).toContain(words)
    })
  }
})

test("a failed probe is a verification too", () => {
  const body = { target_id: "t", expected_fingerprint: "", actual_fingerprint: "", verified: false, error: "refused" }
  expect(v.is(protocol.VerifyBody, body)).toBe(true)
})
