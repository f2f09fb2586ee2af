/** The OpenAPI document as tests read it: what each operation takes, and what may come back. */
import Ajv2020 from "ajv/dist/2020"
import addFormats from "ajv-formats"
import * as v from "valibot"

export type Schema = Readonly<Record<string, unknown>>

const SchemaShape = v.record(v.string(), v.unknown())

const Parameter = v.object({
  in: v.picklist(["path", "query"]),
  name: v.string(),
  required: v.optional(v.boolean(), false),
  schema: SchemaShape,
})

const Answer = v.object({
  description: v.string(),
  headers: v.optional(v.record(v.string(), SchemaShape), {}),
  content: v.optional(v.record(v.string(), v.object({ schema: SchemaShape })), {}),
})

const Operation = v.object({
  operationId: v.string(),
  "x-role": v.picklist(["viewer", "operator", "admin", "agent", "public"]),
  parameters: v.optional(v.array(Parameter), []),
  requestBody: v.optional(
    v.object({ required: v.boolean(), content: v.object({ "application/json": v.object({ schema: SchemaShape }) }) }),
  ),
  responses: v.record(v.string(), Answer),
})

/** What a test relies on; a document that lacks it cannot be read. */
const Document = v.looseObject({
  openapi: v.literal("3.1.0"),
  paths: v.record(v.string(), v.record(v.picklist(["get", "post", "put", "delete"]), Operation)),
  components: v.looseObject({ schemas: v.record(v.string(), SchemaShape), headers: v.record(v.string(), SchemaShape) }),
})

export interface DocumentedAnswer {
  readonly mediaTypes: readonly string[]
  /** Names of headers that every such answer has. */
  readonly headers: readonly string[]
}

export interface DocumentedOperation {
  readonly id: string
  /** Upper case. */
  readonly method: string
  /** With `{id}` for parameters. */
  readonly path: string
  readonly role: v.InferOutput<typeof Operation>["x-role"]
  readonly query: readonly { readonly name: string; readonly required: boolean; readonly schema: Schema }[]
  readonly parameters: readonly string[]
  /** null: it takes none. */
  readonly body: Schema | null
  readonly answers: ReadonlyMap<number, DocumentedAnswer>
}

const pointer = (...keys: readonly string[]): string =>
  keys.map((key) => `/${encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"))}`).join("")

export const readDocument = (json: unknown) => {
  const document = v.parse(Document, json)
  const { headers, schemas } = document.components

  // Formats of our own say what a text is, but not how to tell; `generate.ts` knows how to make one.
  const ajv = new Ajv2020({ strict: false, validateSchema: false, allErrors: false, logger: false })
  addFormats(ajv)
  ajv.addSchema({ $id: "document", ...document })

  const validators = new Map<string, (value: unknown) => string | null>()
  /** What is wrong with a value by the schema at a place of the document; null when nothing is. */
  const check = (place: string, value: unknown): string | null => {
    let validate = validators.get(place)
    if (validate === undefined) {
      const compiled = ajv.compile({ $ref: `document#${place}` })
      validate = (given) => (compiled(given) ? null : ajv.errorsText(compiled.errors, { dataVar: "body" }))
      validators.set(place, validate)
    }
    return validate(value)
  }

  const headersOf = (names: Readonly<Record<string, Schema>>): string[] =>
    Object.entries(names).flatMap(([name, header]) => {
      const known = headers[String(header.$ref).split("/").at(-1) ?? ""]
      if (known === undefined) throw new Error(`the header ${name} refers to nothing`)
      return known.required === true ? [name] : []
    })

  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, entry]): DocumentedOperation[] => {
      if (entry === undefined) return []
      return [
        {
          id: entry.operationId,
          method: method.toUpperCase(),
          path,
          role: entry["x-role"],
          query: entry.parameters.filter((parameter) => parameter.in === "query"),
          parameters: entry.parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name),
          body: entry.requestBody?.content["application/json"].schema ?? null,
          answers: new Map(
            Object.entries(entry.responses).map(([status, answer]) => [
              Number(status),
              { mediaTypes: Object.keys(answer.content), headers: headersOf(answer.headers) },
            ]),
          ),
        },
      ]
    }),
  )

  const place = ({ path, method }: DocumentedOperation) => pointer("paths", path, method.toLowerCase())

  return {
    operations,

    /** A schema without its reference. */
    resolve(schema: Schema): Schema {
      if (typeof schema.$ref !== "string") return schema
      const found = schemas[schema.$ref.replace("#/components/schemas/", "")]
      if (found === undefined) throw new Error(`${schema.$ref} leads nowhere`)
      return found
    },

    bodyProblem: (operation: DocumentedOperation, body: unknown): string | null =>
      check(`${place(operation)}${pointer("requestBody", "content", "application/json", "schema")}`, body),

    queryProblem(operation: DocumentedOperation, name: string, value: unknown): string | null {
      const index = document.paths[operation.path]?.[operation.method.toLowerCase() as "get"]?.parameters.findIndex(
        (parameter) => parameter.in === "query" && parameter.name === name,
      )
      return check(`${place(operation)}${pointer("parameters", String(index), "schema")}`, value)
    },

    answerProblem: (operation: DocumentedOperation, status: number, mediaType: string, body: unknown): string | null =>
      check(`${place(operation)}${pointer("responses", String(status), "content", mediaType, "schema")}`, body),
  }
}

export type ContractDocument = ReturnType<typeof readDocument>
