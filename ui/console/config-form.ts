/** A connector's configuration as a form: the fields come from the schema that checks it. */
import type * as v from "valibot"
import { type ConfigField, type ConfigSchema, fieldsOf } from "../../src/connectors/config"
import { mask } from "../../src/connectors/stored-config"
import { AppError } from "../../src/errors"
import type { FormField, FormSection, FormValues } from "../parts/fields"

type Config = Readonly<Record<string, unknown>>

/** How a value is typed in: as one line, one of several, lines of text, or JSON where it has a structure of its own. */
type InputKind = "text" | "number" | "choice" | "flag" | "list" | "json"

type AnySchema = v.ObjectEntries[string]

/** What is inside `optional(…)` and the like. */
const innermost = (schema: AnySchema): AnySchema =>
  "wrapped" in schema ? innermost(schema.wrapped as AnySchema) : schema

const kindOf = (schema: AnySchema): InputKind => {
  const inner = innermost(schema)
  switch (inner.type) {
    case "number":
      return "number"
    case "boolean":
      return "flag"
    case "picklist":
    case "enum":
      return "choice"
    case "array":
      return "item" in inner && innermost(inner.item as AnySchema).type !== "string" ? "json" : "list"
    case "object":
    case "loose_object":
    case "strict_object":
    case "record":
    case "variant":
    case "unknown":
      return "json"
    default:
      return "text"
  }
}

const optionsIn = (schema: AnySchema): string[] => {
  const inner = innermost(schema)
  return "options" in inner && Array.isArray(inner.options) ? inner.options.map(String) : []
}

const defaultWords = ({ defaultValue }: ConfigField): string => {
  const value = typeof defaultValue === "function" ? undefined : defaultValue
  if (value === undefined || value === "") return ""
  return typeof value === "object"
    ? JSON.stringify(value)
    : value === true
      ? "yes"
      : value === false
        ? "no"
        : String(value)
}

const nameOf = (key: string): string => `config.${key}`

/** Keys and certificates as PEM have several lines. */
const holdsLines = (key: string): boolean => /(private_key|pem|credentials|kubeconfig)$/.test(key)

const formField = (field: ConfigField, isStored: boolean, example: unknown): FormField => {
  const { key, title, description, isRequired, isSecret, schema } = field
  const usual = defaultWords(field)
  const sample = usual === "" && typeof example === "string" ? example : usual
  const kept = isStored ? `${mask} keeps what is stored.` : ""
  const common = {
    name: nameOf(key),
    label: title || key,
    hint: [description, kept]
      .filter((part) => part !== "")
      .join(". ")
      .replaceAll("..", "."),
    ...(isRequired ? { required: true } : {}),
  }
  if (isSecret) return { ...common, kind: "secret", ...(holdsLines(key) ? { lines: true } : {}) }
  switch (kindOf(schema)) {
    case "number":
      return { ...common, kind: "number", ...(usual === "" ? {} : { placeholder: usual }) }
    case "choice":
      return {
        ...common,
        kind: "select",
        options: optionsIn(schema).map((value) => ({ value, label: value })),
        ...(isRequired ? {} : { empty: usual === "" ? "None" : `Default: ${usual}` }),
      }
    case "flag":
      return {
        ...common,
        kind: "select",
        options: [
          { value: "true", label: "Yes" },
          { value: "false", label: "No" },
        ],
        ...(isRequired ? {} : { empty: usual === "" ? "Not set" : `Default: ${usual}` }),
      }
    case "list":
      return { ...common, kind: "lines", hint: `${common.hint === "" ? "" : `${common.hint}. `}One per line` }
    case "json":
      return { ...common, kind: "lines", hint: `${common.hint === "" ? "" : `${common.hint}. `}As JSON` }
    case "text":
      return { ...common, kind: "text", mono: true, ...(sample === "" ? {} : { placeholder: sample }) }
  }
}

interface Connector {
  readonly config: ConfigSchema
  readonly example: Config
}

/** Optional settings in the open; more of them would hide what has to be filled in. */
const mostInTheOpen = 5

/** @param stored what the form holds of the stored configuration, its secrets masked; null while it is being made */
export const configSections = ({ config: schema, example }: Connector, stored: FormValues | null): FormSection[] => {
  const isStored = (key: string) => stored?.[nameOf(key)] === mask
  const fields = fieldsOf(schema)
  const needed = fields.filter(({ isRequired, isSecret }) => isRequired || isSecret)
  const optional = fields.filter((field) => !needed.includes(field))
  const open = [...needed, ...optional.slice(0, mostInTheOpen)]
  const further = optional.slice(mostInTheOpen)
  const drawn = (list: readonly ConfigField[]) =>
    list.map((field) => formField(field, isStored(field.key), example[field.key]))
  return [
    ...(open.length === 0 ? [] : [{ title: "Configuration", fields: drawn(open) }]),
    ...(further.length === 0 ? [] : [{ title: "More settings", fields: drawn(further), folded: true }]),
  ]
}

/** The stored configuration as its form shows it. */
export const configValues = (schema: ConfigSchema, stored: Config): FormValues =>
  Object.fromEntries(
    fieldsOf(schema).map(({ key, schema: entry }) => {
      const value = stored[key]
      if (value === undefined || value === null) return [nameOf(key), ""]
      if (kindOf(entry) === "list" && Array.isArray(value)) return [nameOf(key), value.map(String).join("\n")]
      return [nameOf(key), typeof value === "object" ? JSON.stringify(value) : String(value)]
    }),
  )

interface TypedConfig {
  text(name: string): string
  lines(name: string): string[]
}

/**
 * The configuration that was typed. What is left empty is left out, so that the connector's default counts.
 * @param stored keys that the form does not show are kept
 */
export const typedConfig = (schema: ConfigSchema, typed: TypedConfig, stored: Config): Record<string, unknown> => {
  const fields = fieldsOf(schema)
  const shown = new Set(fields.map(({ key }) => key))
  const config: Record<string, unknown> = Object.fromEntries(Object.entries(stored).filter(([key]) => !shown.has(key)))
  for (const { key, isSecret, schema: entry } of fields) {
    const text = typed.text(nameOf(key))
    if (text === "") continue
    config[key] = isSecret ? text : readValue(kindOf(entry), text, typed.lines(nameOf(key)), key)
  }
  return config
}

const readValue = (kind: InputKind, text: string, lines: readonly string[], key: string): unknown => {
  switch (kind) {
    case "number":
      return Number(text)
    case "flag":
      return text === "true"
    case "list":
      return lines
    case "json":
      try {
        return JSON.parse(text)
      } catch (error) {
        throw new AppError("validation", `${nameOf(key)} must be JSON`, { cause: error })
      }
    default:
      return text
  }
}

/** A stored configuration to look at, in the order of its form; further keys, which the form does not have, come last. */
export const configShown = (
  schema: ConfigSchema | null,
  stored: Config,
): (readonly [label: string, value: string])[] => {
  const titles = new Map(schema === null ? [] : fieldsOf(schema).map(({ key, title }) => [key, title || key]))
  const keys = [...titles.keys(), ...Object.keys(stored).filter((key) => !titles.has(key))]
  return keys.flatMap((key) => {
    const value = stored[key]
    if (value === undefined || value === null || value === "") return []
    return [[titles.get(key) ?? key, typeof value === "object" ? JSON.stringify(value) : String(value)] as const]
  })
}
