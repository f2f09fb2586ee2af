/** Input made from JSON schemas: what a schema allows, and what it forbids in one place. */
import fc from "fast-check"
import type { Schema } from "./document"

export interface Sources {
  resolve(schema: Schema): Schema
  /** The ids that exist, for a property that refers to another row; undefined for any other property. */
  idsOf(property: string): readonly string[] | undefined
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value)
const schemasIn = (value: unknown): Schema[] => (Array.isArray(value) ? value.filter(isSchema) : [])
const numberOr = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise)

const letters = "abcdefghijklmnopqrstuvwxyz"
const label = fc.string({ unit: fc.constantFrom(...letters), minLength: 3, maxLength: 12 })
const hostName = fc.tuple(label, label).map(([host, domain]) => `${host}.${domain}.example`)

/** By `format`, the standard ones and ours. */
const formats: Readonly<Record<string, fc.Arbitrary<string>>> = {
  "date-time": fc
    .date({ min: new Date("2026-01-01"), max: new Date("2035-01-01"), noInvalidDate: true })
    .map((date) => date.toISOString()),
  date: fc.constantFrom("2026-02-28", "2030-12-31"),
  email: hostName.map((host) => `someone@${host}`),
  name: fc.tuple(label, fc.nat(1e9)).map(([word, number]) => `${word} ${number}`),
  "common-name": hostName,
  san: hostName,
  endpoint: fc.tuple(hostName, fc.integer({ min: 1, max: 65_535 })).map(([host, port]) => `${host}:${port}`),
  "address-range": fc.tuple(fc.nat(255), fc.nat(255)).map(([a, b]) => `10.${a}.${b}.0/24`),
  "name-pattern": fc.constantFrom("^[a-z.]+$", "\\.example$"),
  "time-zone": fc.constantFrom("UTC", "Europe/Berlin", "America/New_York"),
  "spiffe-pattern": fc.constantFrom("", "spiffe://example.org/*"),
  uri: hostName.map((host) => `https://${host}/`),
  uuid: fc.uuid({ version: 4 }),
}

const text = (schema: Schema): fc.Arbitrary<string> => {
  const format = typeof schema.format === "string" ? formats[schema.format] : undefined
  if (format !== undefined) return format
  if (typeof schema.pattern === "string") {
    const most = numberOr(schema.maxLength, Number.POSITIVE_INFINITY)
    return fc.stringMatching(new RegExp(schema.pattern, "u")).filter((found) => found.length <= most)
  }
  const minLength = numberOr(schema.minLength, 0)
  return fc.string({ minLength, maxLength: Math.min(numberOr(schema.maxLength, 40), minLength + 40) })
}

/** Values that a schema allows. */
export const valuesOf = (given: Schema, sources: Sources, property = ""): fc.Arbitrary<unknown> => {
  const ids = sources.idsOf(property)
  const schema = sources.resolve(given)
  const each = (inner: unknown, name = property) => valuesOf(isSchema(inner) ? inner : {}, sources, name)
  if ("const" in schema) return fc.constant(schema.const)
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum)
  const choices = [...schemasIn(schema.anyOf), ...schemasIn(schema.oneOf)]
  const { type } = schema
  if (choices.length > 0 && type === undefined) return fc.oneof(...choices.map((choice) => each(choice)))
  if (type === "string") return ids === undefined || ids.length === 0 ? text(schema) : fc.constantFrom(...ids)
  if (type === "integer" || type === "number") {
    const min = numberOr(schema.minimum, 0)
    return fc.integer({ min, max: Math.max(min, numberOr(schema.maximum, 1000)) })
  }
  if (type === "boolean") return fc.boolean()
  if (type === "null") return fc.constant(null)
  if (type === "array") {
    const minLength = numberOr(schema.minItems, 0)
    return fc.array(each(schema.items), { minLength, maxLength: Math.min(numberOr(schema.maxItems, 3), minLength + 3) })
  }
  if (type === "object" || isSchema(schema.properties)) {
    const properties = Object.entries(isSchema(schema.properties) ? schema.properties : {})
    if (properties.length === 0) {
      const { additionalProperties: values = {} } = schema
      const keys = isSchema(schema.propertyNames) ? each(schema.propertyNames, "").map(String) : label
      return fc.dictionary(keys, values === false ? fc.constant("") : each(values, ""), { maxKeys: 3 })
    }
    const required = Array.isArray(schema.required) ? schema.required.map(String) : []
    return fc.record(Object.fromEntries(properties.map(([name, inner]) => [name, each(inner, name)])), {
      requiredKeys: required,
      noNullPrototype: true,
    })
  }
  return fc.oneof(fc.string({ maxLength: 10 }), fc.nat(), fc.boolean())
}

export interface Mutation {
  /** What is wrong, for the report. */
  readonly what: string
  readonly body: unknown
}

const otherTypes: readonly unknown[] = ["no such value", 7, 1.5, true, null, ["a"], { a: {} }]

/** Values next to what a schema allows: the bounds overstepped, the wrong type. Not all are wrong: ask the schema. */
const suspects = (schema: Schema): unknown[] => [
  ...otherTypes,
  "",
  numberOr(schema.minimum, 0) - 1,
  numberOr(schema.maximum, 1e15) + 1,
  "x".repeat(Math.min(numberOr(schema.maxLength, 0), 100_000) + 1),
  Array.from({ length: Math.min(numberOr(schema.maxItems, 0), 10_000) + 1 }, () => "x"),
]

/** Bodies that differ from a good one in one place. */
export const mutationsOf = (given: Schema, good: unknown, sources: Pick<Sources, "resolve">): Mutation[] => {
  const schema = sources.resolve(given)
  const whole = ["text", 7, true, null, ["a"]].map((body) => ({ what: `the body is ${JSON.stringify(body)}`, body }))
  if (!isSchema(schema.properties) || !isSchema(good)) return whole
  const required = Array.isArray(schema.required) ? schema.required.map(String) : []
  return [
    ...whole,
    ...required.map((name) => {
      const { [name]: _, ...rest } = good
      return { what: `${name} is missing`, body: rest }
    }),
    ...Object.entries(schema.properties).flatMap(([name, inner]) =>
      suspects(sources.resolve(isSchema(inner) ? inner : {})).map((value) => ({
        what: `${name} is ${JSON.stringify(value)?.slice(0, 40)}`,
        body: { ...good, [name]: value },
      })),
    ),
  ]
}
