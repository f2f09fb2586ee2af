/** A server under test, asked one request at a time, with every answer compared with the document. */
import type { ContractDocument, DocumentedOperation } from "./document"

export interface Request {
  readonly method: string
  readonly path: string
  /** null: none. */
  readonly key: string | null
  /** Text goes out as it is, everything else as JSON. */
  readonly body?: unknown
}

export type Send = (request: Request) => Promise<Response>

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Parsed where it is JSON, else the text. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer is said where it is used
  readonly body: any
}

/** Sends to an application in this process. */
export const sendTo =
  (app: { request(path: string, init: RequestInit): Response | Promise<Response> }): Send =>
  async ({ method, path, key, body }) =>
    app.request(path, {
      method,
      headers: key === null ? {} : { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    })

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const mediaTypeOf = (headers: Headers): string => (headers.get("content-type") ?? "").split(";")[0]?.trim() ?? ""

export const readAnswer = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  const isJson = mediaTypeOf(response.headers) === "application/json" && text !== ""
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}

/** What every answer keeps, whatever it says. */
export const conventionProblems = ({ status, headers, body }: Answer): string[] => {
  const requestId = headers.get("x-request-id") ?? ""
  const named = typeof body === "object" && body !== null ? Reflect.get(body, "request_id") : undefined
  return [
    ...(uuid.test(requestId) ? [] : [`X-Request-ID is ${JSON.stringify(requestId)}`]),
    ...(named !== undefined && named !== requestId ? ["request_id differs from X-Request-ID"] : []),
    ...(status === 204 && body !== "" ? ["a 204 has a body"] : []),
    ...(status === 401 && !headers.get("www-authenticate")?.startsWith("Bearer ") ? ["a 401 without a challenge"] : []),
    ...(status === 429 && !/^[1-9]\d*$/.test(headers.get("retry-after") ?? "") ? ["a 429 without Retry-After"] : []),
    ...(status === 405 && headers.get("allow") === null ? ["a 405 without Allow"] : []),
  ]
}

/** What of an answer the document does not say. */
export const answerProblems = (
  document: ContractDocument,
  operation: DocumentedOperation,
  answer: Answer,
): string[] => {
  const { status, headers, body } = answer
  const documented = operation.answers.get(status)
  if (documented === undefined) return [`${status} is not documented`]
  const problems = conventionProblems(answer)
  for (const name of documented.headers) if (!headers.has(name)) problems.push(`the header ${name} is missing`)
  const mediaType = mediaTypeOf(headers)
  if (documented.mediaTypes.length === 0) return body === "" ? problems : [...problems, "it has a body"]
  if (!documented.mediaTypes.includes(mediaType)) return [...problems, `${mediaType} is not documented`]
  const problem = document.answerProblem(operation, status, mediaType, body)
  return problem === null ? problems : [...problems, problem]
}
