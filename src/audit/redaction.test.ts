import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { credentialMark, personalMark, redactDetails } from "./redaction"

test("masks credentials and personal data at any depth, by whole key names without case", () => {
  expect(
    redactDetails({
      Password: "x",
      serial: "01",
      owner: { email: "a@b.example", id: "o-1", keys: [{ private_key: "PEM" }, { token_id: "t" }] },
    }),
  ).toEqual({
    Password: credentialMark,
    serial: "01",
    owner: { email: personalMark, id: "o-1", keys: [{ private_key: credentialMark }, { token_id: "t" }] },
    redacted_keys: ["Password", "email", "private_key"],
  })
})

test("leaves everything else as it is", () => {
  const details = { count: 1, list: ["a", null], at: new Date(0), none: null, nested: { reason: "superseded" } }
  expect(redactDetails(details)).toEqual(details)
})

test("no value under such a key survives", () => {
  const secret = "s3cr3t-value"
  const tree = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: "small" },
      fc.constant("plain"),
      fc.array(tie("node"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("a", "b", "list"), tie("node"), { maxKeys: 3 }),
      fc.constantFrom({ api_key: secret }, { TOKEN: [secret] }, { email: { work: secret } }),
    ),
  })).node
  fc.assert(
    fc.property(tree, (node) => {
      expect(JSON.stringify(redactDetails({ node }))).not.toContain(secret)
    }),
  )
})
