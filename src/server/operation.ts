/**
 * How a route is declared. `operation()` enforces the role it names and documents the route; `input()` validates and types what
 * the handler reads. The OpenAPI document, the MCP tools and the CLI's client are made from these declarations.
 */
import { isDeepStrictEqual } from "node:util"
import type { Context, Env, MiddlewareHandler, ValidationTargets } from "hono"
import { uniqueSymbol } from "hono-openapi"
import * as v from "valibot"
import type { Actor } from "../access/actor"
import { AppError } from "../errors"
import { phraseOf } from "./error-answers"
import { documentSchema } from "./json-schema"
import type { Exchange } from "./listener"
import { complaintsOf, parseInput, withoutNul } from "./validation"

export interface ApiEnv {
  Variables: {
    /** UUID of this request; also in the `X-Request-ID` header and in every log line. */
    requestId: string
    /** Who asks. Set on every path that needs a key; a `public` operation must not read it. */
    actor: Actor
    /** Address of the client, behind trusted proxies the one they name. */
    clientAddress: string
    /** The request came through a proxy whose headers are believed. */
    isFromTrustedProxy: boolean
    /** The session behind a cookie; absent for Bearer keys. */
    session?: SessionFacts
    /** Whether the credentials of this request would still be accepted now; long streams ask again. */
    isStillAllowed?: () => Promise<boolean>
    /** Tests: every successful answer is compared with its schema. */
    checksAnswers?: boolean
  }
  /** What the listener knows about the connection; tests call the app without one. */
  Bindings: Partial<Exchange>
}

export interface SessionFacts {
  /** SHA-256 of the cookie's value, as stored. */
  readonly idHash: string
  /** The session ends then, however busy it is. */
  readonly expiresAt: Date
}

/** `agent`: an operator's key, or the agent's own key on its own routes. `public`: no credentials at all. */
export type OperationRole = "viewer" | "operator" | "admin" | "agent" | "public"

export interface OperationFacts {
  /** snake_case verb and object, unique: `revoke_certificate`. */
  readonly id: string
  /** One sentence, imperative. */
  readonly summary: string
  readonly role: OperationRole
  /** Wire schema of the successful answer, without transformations; absent: no body. */
  readonly returns?: v.GenericSchema
  /** Of the successful answer. Default 200, without `returns` and `produces` 204. */
  readonly status?: number
  /** Further answers with a body of their own, by status; null: without a body. */
  readonly otherwise?: Readonly<Record<number, v.GenericSchema | null>>
  /** Media type of an answer that is not JSON. */
  readonly produces?: string
  /** Default: the first part of the path. */
  readonly tags?: readonly string[]
  readonly description?: string
  /**
   * Refusals that the declaration does not imply, each with the case in which it happens: 409, 410, 422, 501, and 500 or 503 where
   * something outside fails or is not set up. Implied are 400 (there is input), 401, 403, 404 (there is an id in the path), 413 and 429.
   */
  readonly errors?: Readonly<Record<number, string>>
  /** An `admin` operation that stays open when authentication is off. */
  readonly openWithoutAuthentication?: boolean
}

const operationSymbol = Symbol("operation")
const inputSymbol = Symbol("input")

export interface InputFacts {
  readonly target: InputTarget
  readonly schema: v.GenericSchema
}

/** The declaration behind a route's middleware, if it is one made by `operation()`. */
export const operationFactsOf = (handler: object): OperationFacts | undefined => Reflect.get(handler, operationSymbol)
/** The declaration behind a route's middleware, if it is one made by `input()`. */
export const inputFactsOf = (handler: object): InputFacts | undefined => Reflect.get(handler, inputSymbol)

export const successStatusOf = ({ status, returns, produces }: OperationFacts): number =>
  status ?? (returns === undefined && produces === undefined ? 204 : 200)

const rank = { viewer: 1, operator: 2, admin: 3 } as const

/** Throws `forbidden` unless the actor may call an operation of this role. */
export const authorise = (
  { role, openWithoutAuthentication = false }: Pick<OperationFacts, "role" | "openWithoutAuthentication">,
  actor: Actor | undefined,
  path: { readonly pathname: string; readonly id: string | undefined },
): void => {
  if (role === "public") return
  if (actor === undefined) throw new AppError("unauthenticated", "authentication is required")
  if (actor.role === "agent") {
    if (role !== "agent") throw new AppError("forbidden", "an agent's key is only valid on its own agent routes")
    // On other paths (the verification of a job) the service knows whose row it is.
    if (path.pathname.startsWith("/api/v1/agents/") && path.id !== actor.agentId) {
      throw new AppError("forbidden", "an agent's key is only valid for its own agent id")
    }
    return
  }
  if (actor.role === "none") {
    if (role === "admin" && !openWithoutAuthentication) {
      throw new AppError("forbidden", "administrator access required; it is not available while authentication is off")
    }
    return
  }
  const needed = role === "agent" ? "operator" : role
  if (rank[actor.role] < rank[needed]) {
    throw new AppError(
      "forbidden",
      needed === "admin" ? "administrator access required" : `${needed} access required; this key may only read`,
    )
  }
}

/** Any operation may fail with them: what came in, who asks, limits, and our own faults. */
const impliedFailures: ReadonlySet<number> = new Set([400, 401, 403, 404, 413, 429])

const isJson = (response: Response): boolean =>
  (response.headers.get("content-type") ?? "").split(";")[0]?.trim() === "application/json"

/** What is wrong with an answer, or null. Undocumented keys are wrong too: that is how secrets get out. */
const answerProblem = async (facts: OperationFacts, response: Response, error: unknown): Promise<string | null> => {
  if (!response.ok) {
    const isExpected = impliedFailures.has(response.status) || facts.errors?.[response.status] !== undefined
    // Our own faults and an outage may hit any operation; the document says so once.
    return isExpected || !(error instanceof AppError) || ["internal", "unavailable"].includes(error.code)
      ? null
      : `it answers ${response.status}, which its errors do not list`
  }
  const expected = successStatusOf(facts)
  const schema = response.status === expected ? facts.returns : facts.otherwise?.[response.status]
  if (response.status !== expected && schema === undefined) return `status ${response.status} is not declared`
  if (schema === undefined || schema === null) return null
  if (!isJson(response)) return facts.produces === undefined ? "the answer is not JSON" : null
  const body: unknown = await response.clone().json()
  const result = v.safeParse(schema, body)
  if (!result.success) return complaintsOf(result.issues, "answer").join("; ")
  return isDeepStrictEqual(result.output, body) ? null : "the answer has keys that its schema does not list"
}

const answersOf = (facts: OperationFacts) => {
  const success = successStatusOf(facts)
  const answers: [number, v.GenericSchema | null][] = [
    [success, facts.returns ?? null],
    ...Object.entries(facts.otherwise ?? {}).map(([status, schema]): [number, v.GenericSchema | null] => [
      Number(status),
      schema,
    ]),
  ]
  return Object.fromEntries(
    answers.map(([status, schema]) => {
      const content = {
        ...(schema === null ? {} : { "application/json": { schema: documented(schema, "output") } }),
        ...(status === success && facts.produces !== undefined
          ? { [facts.produces]: { schema: { type: "string" as const } } }
          : {}),
      }
      const description = status === success ? "Success" : status < 400 ? `Success (${status})` : phraseOf(status)
      return [status, Object.keys(content).length === 0 ? { description } : { description, content }]
    }),
  )
}

/** In the form in which hono-openapi asks for schemas, lazily: importing the routes must stay cheap. */
const documented = (schema: v.GenericSchema, side: "input" | "output") => ({
  vendor: "valibot",
  validate: schema["~standard"].validate,
  toJSONSchema: () => documentSchema(schema, side).schema,
  toOpenAPISchema: async () => {
    const { schema: documentedSchema, components } = documentSchema(schema, side)
    return { schema: documentedSchema, components: { schemas: components } }
  },
})

/**
 * The first middleware of every API route.
 * @throws AppError `forbidden` when the actor's role does not reach; `unauthenticated` when there is no actor
 */
export const operation = (facts: OperationFacts): MiddlewareHandler<ApiEnv> => {
  const middleware: MiddlewareHandler<ApiEnv> = async (c, next) => {
    authorise(facts, c.get("actor"), { pathname: c.req.path, id: c.req.param("id") })
    await next()
    if (c.get("checksAnswers") !== true) return
    const problem = await answerProblem(facts, c.res, c.error)
    if (problem !== null) c.res = new Response(`${facts.id}: ${problem}`, { status: 500 })
  }
  const spec = {
    operationId: facts.id,
    summary: facts.summary,
    ...(facts.description === undefined ? {} : { description: facts.description }),
    ...(facts.tags === undefined ? {} : { tags: [...facts.tags] }),
    ...(facts.role === "public" ? { security: [] } : {}),
    "x-role": facts.role,
    responses: answersOf(facts),
  }
  return Object.assign(middleware, { [operationSymbol]: facts, [uniqueSymbol]: { spec } })
}

export type InputTarget = "json" | "query" | "param" | "form"

/** Parsed whenever it is not empty, whatever its content type says; an empty body counts as `{}`. */
const readJson = async (c: Context): Promise<unknown> => {
  const text = await c.req.text()
  // White space of JSON (RFC 8259 §2): other characters that JavaScript would trim are no empty body.
  if (/^[ \t\r\n]*$/.test(text)) return {}
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError("validation", "request body must be valid JSON", { cause })
  }
}

const readers: Record<InputTarget, (c: Context) => Promise<unknown> | unknown> = {
  json: readJson,
  query: (c) => c.req.query(),
  param: (c) => c.req.param(),
  form: (c) => c.req.parseBody({ all: true }),
}

const wholeNames: Record<InputTarget, string> = { json: "request body", query: "query", param: "path", form: "form" }

/**
 * Validates one part of the request (`tellsOfOthers`: it reports what programs or files of a host say, which may hold any
 * characters; NULs are taken out rather than refused); the handler reads it with `c.req.valid(target)`.
 * @throws AppError `validation` naming the fields; what was sent is never repeated
 */
export const input = <
  Target extends InputTarget & keyof ValidationTargets,
  Schema extends v.GenericSchema<unknown, object>,
  E extends Env,
  P extends string,
  I extends { in: { [K in Target]: v.InferInput<Schema> }; out: { [K in Target]: v.InferOutput<Schema> } } = {
    in: { [K in Target]: v.InferInput<Schema> }
    out: { [K in Target]: v.InferOutput<Schema> }
  },
>(
  target: Target,
  schema: Schema,
  { tellsOfOthers = false }: { tellsOfOthers?: boolean } = {},
): MiddlewareHandler<E, P, I> => {
  const middleware: MiddlewareHandler<E, P, I> = async (c, next) => {
    const sent = await readers[target](c)
    c.req.addValidatedData(
      target,
      await parseInput(schema, tellsOfOthers ? withoutNul(sent) : sent, wholeNames[target]),
    )
    await next()
  }
  const facts: InputFacts = { target, schema }
  const description =
    target === "json"
      ? {
          spec: {
            requestBody: {
              required: !v.safeParse(schema, {}).success,
              content: { "application/json": { schema: documented(schema, "input") } },
            },
          },
        }
      : { target, ...documented(schema, "input") }
  return Object.assign(middleware, { [inputSymbol]: facts, [uniqueSymbol]: description })
}
