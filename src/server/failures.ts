/** Which failures the OpenAPI document lists for an operation, and how they look. */
import { phraseOf } from "./error-answers"
import { documentSchema } from "./json-schema"
import type { DeclaredOperation } from "./openapi"
import type { InputFacts } from "./operation"
import { isRateLimited } from "./path-kinds"

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** Many query values are never refused: what cannot be read counts as absent. */
const takesAnyText = (schema: unknown): boolean => {
  if (!isRecord(schema)) return true
  if (Array.isArray(schema.anyOf)) return schema.anyOf.some(takesAnyText)
  const isText = schema.type === undefined || schema.type === "string"
  return isText && !["pattern", "format", "enum", "const", "minLength", "maxLength"].some((key) => key in schema)
}

const isRefusable = ({ target, schema }: InputFacts): boolean => {
  if (target === "json" || target === "form") return true
  const { properties, required = [] } = documentSchema(schema, "input").schema
  return (target === "query" && required.length > 0) || Object.values(properties ?? {}).some((s) => !takesAnyText(s))
}

/** Its failures: the status and when it happens. */
export const failuresOf = ({ role, inputs, method, path, errors = {} }: DeclaredOperation): [number, string][] => {
  const implied: [number, string, boolean][] = [
    [400, "The input is not valid", inputs.some(isRefusable)],
    [401, "The key is missing, unknown or disabled", role !== "public"],
    [403, "The key's role does not reach", role !== "public"],
    [404, "There is no such object", path.includes("{")],
    [413, "The body is too large", method !== "GET"],
    [429, "Too many requests", isRateLimited(path)],
  ]
  const listed = Object.entries(errors).map(([status, when]): [number, string] => [Number(status), when])
  return [
    ...implied.flatMap(([status, when, applies]): [number, string][] =>
      applies && errors[status] === undefined ? [[status, when]] : [],
    ),
    ...listed,
  ]
}

const requestId = { type: "string" as const, format: "uuid", description: "Equal to the X-Request-ID header" }

export const failureSchemas = {
  Error: {
    type: "object" as const,
    required: ["error", "message", "request_id"],
    properties: {
      error: { type: "string" as const, description: "The status phrase, or a code where one is documented" },
      message: { type: "string" as const, description: "What is wrong and what helps, for people" },
      request_id: requestId,
    },
  },
  Problem: {
    type: "object" as const,
    description: "A problem document (RFC 7807) for ACME clients",
    required: ["type", "detail", "status"],
    properties: {
      type: { type: "string" as const, description: "An error type of RFC 8555 section 6.7" },
      detail: { type: "string" as const },
      status: { type: "integer" as const },
    },
  },
  Refusal: {
    type: "object" as const,
    description: "What is answered before an operation is reached",
    required: ["error", "request_id"],
    properties: { error: { type: "string" as const }, request_id: requestId },
  },
}

const ref = (kind: "schemas" | "headers", name: string) => ({ $ref: `#/components/${kind}/${name}` })

/** Every answer has it. */
export const requestIdHeader = { "X-Request-ID": ref("headers", "RequestId") }

export const answerHeaders = {
  RequestId: {
    description: "Names the request in the log",
    required: true,
    schema: { type: "string" as const, format: "uuid" },
  },
  Challenge: { description: "How to authenticate", required: true, schema: { type: "string" as const } },
  RetryAfter: {
    description: "Seconds to wait before the next try",
    required: true,
    schema: { type: "integer" as const, minimum: 1 },
  },
}

const headersOf = (status: number) => ({
  ...requestIdHeader,
  ...(status === 401 ? { "WWW-Authenticate": ref("headers", "Challenge") } : {}),
  ...(status === 429 ? { "Retry-After": ref("headers", "RetryAfter") } : {}),
})

const isRefusal = (status: number): boolean => status === 401 || status === 413 || status === 429

export const failureAnswer = (path: string, status: number, when: string) => ({
  description: `${phraseOf(status)}. ${when}.`,
  headers: headersOf(status),
  content: path.startsWith("/acme/")
    ? { "application/problem+json": { schema: ref("schemas", "Problem") } }
    : { "application/json": { schema: ref("schemas", isRefusal(status) ? "Refusal" : "Error") } },
})
