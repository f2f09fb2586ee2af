/** The OpenAPI 3.1 document and the list of operations, both read off the routes. */
import type { Hono } from "hono"
import { findTargetHandler } from "hono/utils/handler"
import { generateSpecs } from "hono-openapi"
import { answerHeaders, failureAnswer, failureSchemas, failuresOf, requestIdHeader } from "./failures"
import { type ApiEnv, type InputFacts, inputFactsOf, type OperationFacts, operationFactsOf } from "./operation"

export interface DeclaredOperation extends OperationFacts {
  /** Upper case. */
  readonly method: string
  /** As in OpenAPI: `/api/v1/certificates/{id}`. */
  readonly path: string
  readonly inputs: readonly InputFacts[]
}

const documentedPath = (path: string): string => path.replace(/:([A-Za-z_]+)(\{[^}]*\})?\??/g, "{$1}")

/** Every declared operation, in the order of the routes. */
export const operationsOf = (app: Pick<Hono<ApiEnv>, "routes">): DeclaredOperation[] => {
  const found = new Map<string, { facts?: OperationFacts; inputs: InputFacts[]; method: string; path: string }>()
  for (const { method, path, handler } of app.routes) {
    const target = findTargetHandler(handler)
    const facts = operationFactsOf(target)
    const inputFacts = inputFactsOf(target)
    if (facts === undefined && inputFacts === undefined) continue
    const key = `${method} ${path}`
    const entry = found.get(key) ?? { inputs: [], method, path }
    if (facts !== undefined) entry.facts = facts
    if (inputFacts !== undefined) entry.inputs.push(inputFacts)
    found.set(key, entry)
  }
  return [...found.values()].flatMap(({ facts, inputs, method, path }) =>
    facts === undefined ? [] : [{ ...facts, method, path: documentedPath(path), inputs }],
  )
}

const tagOf = (path: string): string =>
  path
    .replace(/^\/api\/v1\//, "")
    .split("/")[0]
    ?.replaceAll("-", " ") || "server"

/** Path parameters that no schema describes are documented as plain text: the document must declare every one. */
const undeclaredParameters = (operation: DeclaredOperation, declared: readonly string[]) =>
  [...operation.path.matchAll(/\{([^}]+)\}/g)]
    .map(([, name = ""]) => name)
    .filter((name) => !declared.includes(name))
    .map((name) => ({ in: "path" as const, name, required: true, schema: { type: "string" as const } }))

export const openApiDocument = async (app: Hono<ApiEnv>, about: { version: string; url: string }) => {
  const document = await generateSpecs(app, {
    documentation: {
      openapi: "3.1.0",
      info: {
        title: "certctl",
        description: [
          "Certificate lifecycle: inventory, issuance, renewal, deployment and verification.",
          "Any operation refuses an address with a NUL character with 400.",
          "Beside what it lists, any operation may answer 500 (a fault on our side, which the log explains under the request id)",
          "and 503 (the database does not answer); both have the body of an Error or a Refusal.",
        ].join(" "),
        version: about.version,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      servers: [{ url: about.url }],
      security: [{ key: [] }],
      components: {
        schemas: failureSchemas,
        headers: answerHeaders,
        securitySchemes: { key: { type: "http", scheme: "bearer" } },
      },
    },
    defaultValidationErrorResponse: false,
    // They mean a dot in the last segment: /api/v1/openapi.json
    excludeStaticFile: false,
  })
  for (const operation of operationsOf(app)) {
    const entry = document.paths[operation.path]?.[operation.method.toLowerCase() as "get"]
    if (entry === undefined) continue
    entry.tags ??= [tagOf(operation.path)]
    const failures = failuresOf(operation).map(([status, when]) => [
      status,
      failureAnswer(operation.path, status, when),
    ])
    const successes = Object.entries(entry.responses ?? {}).map(([status, answer]) => [
      status,
      { ...answer, headers: requestIdHeader },
    ])
    // An operation may describe the body of a failure itself.
    entry.responses = Object.fromEntries([...failures, ...successes])
    const declared = (entry.parameters ?? []).flatMap((p) => ("in" in p && p.in === "path" ? [p.name] : []))
    const missing = undeclaredParameters(operation, declared)
    if (missing.length > 0) entry.parameters = [...(entry.parameters ?? []), ...missing]
  }
  return document
}
