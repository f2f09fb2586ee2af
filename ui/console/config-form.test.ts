import { expect, test } from "bun:test"
import * as v from "valibot"
import { field, optionalSecret, secret } from "../../src/connectors/config"
import { issuerDefinitions } from "../../src/connectors/issuers/catalog"
import { targetConnectors } from "../../src/connectors/targets/catalog"
import { type FormValues, fieldsOfSections, textOf } from "../parts/fields"
import { configSections, configShown, configValues, typedConfig } from "./config-form"

/** The form as a browser sends it back untouched. */
const untouched = (values: FormValues) => ({
  text: (name: string) => textOf(values, name),
  lines: (name: string) =>
    textOf(values, name)
      .split("\n")
      .filter((line) => line !== ""),
})

for (const { type, config, example } of [...issuerDefinitions, ...targetConnectors]) {
  test(`${type}: its example survives its form`, () => {
    const values = configValues(config, example)
    expect(typedConfig(config, untouched(values), {})).toEqual({ ...example })
  })

  test(`${type}: every key has a field with a name for people`, () => {
    const fields = fieldsOfSections(configSections({ config, example }, null))
    expect(fields.map(({ name }) => name).sort()).toEqual(
      Object.keys(config.entries)
        .map((key) => `config.${key}`)
        .sort(),
    )
    for (const { name, label } of fields) expect(`config.${label}`).not.toBe(name)
  })
}

const schema = v.object({
  addr: field(v.string(), "Address", "Where it is"),
  token: secret("Token", "Lets us in"),
  private_key: optionalSecret("Private key", "As PEM"),
  mode: field(v.optional(v.picklist(["mtls", "oauth2"]), "mtls"), "Mode", "How we are let in"),
  insecure: field(v.optional(v.boolean(), false), "Insecure", "Believes any certificate"),
  tries: field(v.optional(v.pipe(v.number(), v.integer())), "Tries", "How often"),
  hosts: field(v.optional(v.array(v.string())), "Hosts", "Who else"),
  labels: field(v.optional(v.record(v.string(), v.string())), "Labels", "Put on it"),
})

const values = (more: FormValues): FormValues => ({ "config.addr": "a", "config.token": "t", ...more })

test("each kind of value has its kind of field, and what is left empty is left out", () => {
  const fields = fieldsOfSections(configSections({ config: schema, example: {} }, null))
  expect(Object.fromEntries(fields.map(({ name, kind }) => [name, kind]))).toEqual({
    "config.addr": "text",
    "config.token": "secret",
    "config.private_key": "secret",
    "config.mode": "select",
    "config.insecure": "select",
    "config.tries": "number",
    "config.hosts": "lines",
    "config.labels": "lines",
  })
  expect(typedConfig(schema, untouched(values({})), {})).toEqual({ addr: "a", token: "t" })
  expect(
    typedConfig(
      schema,
      untouched(
        values({
          "config.mode": "oauth2",
          "config.insecure": "false",
          "config.tries": "3",
          "config.hosts": "b\nc",
          "config.labels": '{"x":"y"}',
        }),
      ),
      {},
    ),
  ).toEqual({ addr: "a", token: "t", mode: "oauth2", insecure: false, tries: 3, hosts: ["b", "c"], labels: { x: "y" } })
})

test("keys that the form does not have are kept, and what is no JSON is refused by name", () => {
  expect(typedConfig(schema, untouched(values({})), { host: "h", tries: 5 })).toEqual({
    addr: "a",
    token: "t",
    host: "h",
  })
  expect(() => typedConfig(schema, untouched(values({ "config.labels": "{" })), {})).toThrow(
    "config.labels must be JSON",
  )
})

test("a configuration is shown with the names of its form, keys it does not know by their own", () => {
  expect(configShown(schema, { token: "********", extra: 1, addr: "a", hosts: ["b"], mode: "" })).toEqual([
    ["Address", "a"],
    ["Token", "********"],
    ["Hosts", '["b"]'],
    ["extra", "1"],
  ])
})
