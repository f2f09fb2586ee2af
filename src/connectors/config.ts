/**
 * How a connector describes its configuration. The schema is the only description: the API's check, the console's form,
 * the documentation table, redaction and sealing all read it from here.
 */
import * as v from "valibot"
import { AppError } from "../errors"

/** One key with the words a person sees beside it. Wrap the whole entry, `v.optional(…)` included. */
export const field = <S extends v.GenericSchema>(schema: S, title: string, description: string) =>
  v.pipe(schema, v.title(title), v.description(description))

/** A key whose value is masked in every answer and sealed at rest. The value may be a reference (`env:NAME`, `file:/path`). */
export const secret = (title: string, description: string) =>
  v.pipe(
    v.string(),
    v.nonEmpty("must not be empty"),
    v.title(title),
    v.description(description),
    v.metadata({ secret: true }),
  )

/** A secret that may be left out. */
export const optionalSecret = (title: string, description: string) =>
  v.pipe(v.optional(v.string()), v.title(title), v.description(description), v.metadata({ secret: true }))

/** A schema with named entries: what every connector's `config` is. Pipes over an object keep the entries. */
export type ConfigSchema = v.GenericSchema & { readonly entries: v.ObjectEntries }

export interface ConfigField {
  readonly key: string
  readonly title: string
  readonly description: string
  readonly isSecret: boolean
  readonly isRequired: boolean
  /** The value used when the key is left out; undefined when there is none. */
  readonly defaultValue: unknown
  /** The entry's schema, for forms that want the kind of input (`type`, `options`). */
  readonly schema: v.ObjectEntries[string]
}

/** Every key of a connector's configuration in the order in which it was declared. */
export const fieldsOf = (config: ConfigSchema): ConfigField[] =>
  Object.entries(config.entries).map(([key, schema]) => ({
    key,
    title: v.getTitle(schema as v.GenericSchema) ?? "",
    description: v.getDescription(schema as v.GenericSchema) ?? "",
    isSecret: v.getMetadata(schema as v.GenericSchema).secret === true,
    isRequired: !["optional", "exact_optional", "nullish"].includes(schema.type),
    defaultValue: "default" in schema ? schema.default : undefined,
    schema,
  }))

/** The names of the keys made with `secret()` or `optionalSecret()`. */
export const secretKeysOf = (config: ConfigSchema): string[] =>
  fieldsOf(config)
    .filter(({ isSecret }) => isSecret)
    .map(({ key }) => key)

/**
 * Parses a stored or submitted configuration. Unknown keys are ignored here and kept in storage by the caller.
 * Fails with `validation`, naming every bad key and what was expected, never the value: it may be a password.
 */
export const parseConfig = <S extends ConfigSchema>(schema: S, raw: unknown): v.InferOutput<S> => {
  const parsed = v.safeParse(schema, raw)
  if (parsed.success) return parsed.output
  const problems = parsed.issues.map((issue) => {
    const path = v.getDotPath(issue) ?? "config"
    // Stock texts of valibot quote what was received; ours begin with "must".
    return issue.message.startsWith("must ")
      ? `${path} ${issue.message}`
      : issue.received === "undefined"
        ? `${path} is required`
        : `${path} must be ${issue.expected ?? "valid"}`
  })
  throw new AppError("validation", problems.join("; "))
}
