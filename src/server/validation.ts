/**
 * What a caller is told about input that does not fit its schema: the field and what was expected, never what was sent, since it
 * may be a CA's password.
 */
import * as v from "valibot"
import { AppError } from "../errors"

type Issue = v.BaseIssue<unknown>

/** Enough for a form; a body of a thousand wrong fields gets no thousand lines. */
const mostProblems = 5

const fieldOf = (issue: Issue, whole: string): string => {
  const keys = (issue.path ?? []).map(({ key }) => (typeof key === "number" ? `[${key}]` : String(key)))
  return keys.length === 0 ? whole : keys.join(".").replaceAll(".[", "[")
}

/** `("a" | "b")` and `"a"`, as valibot writes them, to `a, b`. */
const optionsOf = (expected: string): string =>
  expected
    .replace(/^\(|\)$/g, "")
    .replaceAll(" | ", ", ")
    .replaceAll('"', "")

const expectedTypes: Record<string, string> = {
  string: "must be a string",
  number: "must be a number",
  bigint: "must be a number",
  boolean: "must be true or false",
  array: "must be a list",
  tuple: "must be a list",
  object: "must be an object",
  loose_object: "must be an object",
  strict_object: "must be an object",
  record: "must be an object",
  variant: "must be an object",
}

const choices = new Set(["picklist", "enum", "literal", "union", "variant"])

const limits: Record<string, (requirement: unknown, unit: string) => string> = {
  min_length: (n, unit) => `must be at least ${n} ${unit} long`,
  max_length: (n, unit) => `must be at most ${n} ${unit} long`,
  length: (n, unit) => `must be exactly ${n} ${unit} long`,
  min_bytes: (n) => `must be at least ${n} bytes long`,
  max_bytes: (n) => `must be at most ${n} bytes long`,
  min_value: (n) => `must be at least ${n}`,
  max_value: (n) => `must be at most ${n}`,
  gt_value: (n) => `must be greater than ${n}`,
  lt_value: (n) => `must be less than ${n}`,
}

const forms: Record<string, string> = {
  integer: "must be a whole number",
  safe_integer: "must be a whole number",
  finite: "must be a finite number",
  email: "must be a mail address",
  rfc_email: "must be a mail address",
  url: "must be a URL",
  ip: "must be an IP address",
  ipv4: "must be an IPv4 address",
  ipv6: "must be an IPv6 address",
  uuid: "must be a UUID",
  iso_timestamp: "must be an RFC 3339 time",
  iso_date: "must be a date (YYYY-MM-DD)",
  hexadecimal: "must be hexadecimal",
  base64: "must be base64",
  non_empty: "must not be empty",
}

const isEmptyText = (issue: Issue): boolean =>
  issue.input === "" && (issue.type === "non_empty" || (issue.type === "min_length" && issue.requirement === 1))

const complaintOf = (issue: Issue): string => {
  // A missing key, or an empty text where at least one character is asked for.
  if (issue.input === undefined || isEmptyText(issue)) return "is required"
  // valibot's own texts begin so and quote what was received; any other text was written by a schema's author.
  if (!issue.message.startsWith("Invalid ")) return issue.message
  if (choices.has(issue.type) && issue.expected !== null && /"/.test(issue.expected)) {
    return `must be one of ${optionsOf(issue.expected)}`
  }
  const unit = typeof issue.input === "string" ? "characters" : "entries"
  return (
    limits[issue.type]?.(issue.requirement, unit) ?? expectedTypes[issue.type] ?? forms[issue.type] ?? "must be valid"
  )
}

/** The complaints about one value, each `<field> is required` or `<field> must be …`. */
export const complaintsOf = (issues: readonly Issue[], whole = "request body"): string[] => {
  const lines = issues.map((issue) => `${fieldOf(issue, whole)} ${complaintOf(issue)}`)
  return [...new Set(lines)]
}

const objects = new Set(["object", "loose_object", "strict_object", "record"])

/** Where a list stands for an object: valibot takes it for one without entries. null: nowhere. */
const misplacedList = (schema: unknown, value: unknown, path: string): string | null => {
  if (typeof schema !== "object" || schema === null || typeof value !== "object" || value === null) return null
  if ("wrapped" in schema) return misplacedList(schema.wrapped, value, path)
  const type = "type" in schema ? String(schema.type) : ""
  const inner: [unknown, unknown, string][] = []
  if (type === "array" && "item" in schema && Array.isArray(value)) {
    for (const [index, entry] of value.entries()) inner.push([schema.item, entry, `${path}[${index}]`])
  }
  if (objects.has(type)) {
    if (Array.isArray(value)) return path
    const entries = "entries" in schema ? Object.entries(Object(schema.entries)) : []
    for (const [key, entry] of entries)
      inner.push([entry, Reflect.get(value, key), path === "" ? key : `${path}.${key}`])
  }
  for (const step of inner) {
    const found = misplacedList(...step)
    if (found !== null) return found
  }
  return null
}

/** PostgreSQL has no U+0000 in a text, and no name, address or PEM has one. */
const hasNul = (value: unknown): boolean => {
  if (typeof value === "string") return value.includes("\0")
  if (typeof value !== "object" || value === null) return false
  return Array.isArray(value)
    ? value.some(hasNul)
    : Object.entries(value).some(([key, inner]) => key.includes("\0") || hasNul(inner))
}

/** The same without U+0000, at any depth; keys stay as they are. */
export const withoutNul = (value: unknown): unknown => {
  if (typeof value === "string") return value.replaceAll("\0", "")
  if (typeof value !== "object" || value === null) return value
  return Array.isArray(value)
    ? value.map(withoutNul)
    : Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutNul(inner)]))
}

/**
 * Parses `value` or throws AppError `validation` that names the fields.
 * A schema's own messages (`v.check(isHost, "must be a host name")`) are predicates of the field: its name goes in front.
 */
export const parseInput = async <S extends v.GenericSchema | v.GenericSchemaAsync>(
  schema: S,
  value: unknown,
  whole = "request body",
): Promise<v.InferOutput<S>> => {
  if (hasNul(value)) throw new AppError("validation", `${whole} must not contain NUL characters`)
  const list = misplacedList(schema, value, "")
  if (list !== null) throw new AppError("validation", `${list === "" ? whole : list} must be an object`)
  const result = await v.safeParseAsync(schema, value, { abortPipeEarly: true })
  if (result.success) return result.output
  throw new AppError("validation", complaintsOf(result.issues, whole).slice(0, mostProblems).join("; "))
}
