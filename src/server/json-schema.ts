/**
 * JSON Schema (draft 2020-12, as OpenAPI 3.1 wants it) of our valibot schemas. `v.metadata({ ref: "Certificate" })` makes a named
 * component; `documentedAs({ type: "integer" })` says what a value looks like on the wire where a transformation hides it.
 */
import { type JsonSchema, toJsonSchema } from "@valibot/to-json-schema"
import * as v from "valibot"

export interface DocumentedSchema {
  readonly schema: JsonSchema
  /** Named parts, by name; `schema` refers to them as `#/components/schemas/<name>`. */
  readonly components: Record<string, JsonSchema>
}

const wireKey = "documentedAs"

/** Replaces the generated JSON Schema of what stands before it in a pipe; put it in front of the transformation. */
export const documentedAs = <T>(schema: JsonSchema) =>
  v.metadata<T, { documentedAs: JsonSchema }>({ [wireKey]: schema })

/** For query values that are never refused: whatever does not fit `schema` counts as absent. */
export const documentedLoosely = <T>(schema: JsonSchema) =>
  documentedAs<T>({ anyOf: [schema, { type: "string", description: "Anything else counts as absent" }] })

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const isWholeNumber = ({ type, anyOf }: JsonSchema): boolean =>
  type === "integer" || (anyOf ?? []).some((choice) => typeof choice === "object" && choice.type === "integer")

/** `input`: what a caller may send. `output`: what an answer holds. */
export const documentSchema = (schema: v.GenericSchema, side: "input" | "output"): DocumentedSchema => {
  const components: Record<string, JsonSchema> = {}
  const generated = toJsonSchema(schema, {
    typeMode: side,
    target: "draft-2020-12",
    // Checks and transformations have no JSON Schema; the text of the field says what they ask for.
    errorMode: "ignore",
    // The default of a query value is text, as the value itself is.
    overrideSchema: ({ jsonSchema }) =>
      typeof jsonSchema.default === "string" && isWholeNumber(jsonSchema)
        ? { ...jsonSchema, default: Number(jsonSchema.default) }
        : undefined,
    overrideAction: ({ valibotAction, jsonSchema }) => {
      if (valibotAction.kind !== "metadata" || valibotAction.type !== "metadata") return undefined
      const metadata: unknown = Reflect.get(valibotAction, "metadata")
      if (!isRecord(metadata)) return undefined
      if (isRecord(metadata[wireKey])) return { ...metadata[wireKey] }
      if (typeof metadata.ref !== "string") return undefined
      components[metadata.ref] = jsonSchema
      return { $ref: `#/components/schemas/${metadata.ref}` }
    },
  })
  const { $schema: _, ...rest } = generated
  return { schema: rest, components }
}
