/** Reads the answers of the API: a status and a schema when all is well, the API's error body as an AppError when not. */
import * as v from "valibot"
import { AppError, type ErrorCode } from "../errors"
import type { ApiResponse } from "./http-transport"

type Answer = Pick<ApiResponse, "status" | "statusText" | "text">

/** The API's error shapes: `message` for people where a handler spoke, `error` alone where something before it did. */
const ErrorBody = v.object({ error: v.nullish(v.string()), message: v.nullish(v.string()) })

const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  400: "validation",
  401: "unauthenticated",
  403: "forbidden",
  404: "not_found",
  405: "method_not_allowed",
  409: "conflict",
  410: "gone",
  413: "too_large",
  415: "unsupported_media_type",
  422: "unprocessable",
  429: "rate_limited",
  501: "not_supported",
  502: "unavailable",
  503: "unavailable",
  504: "unavailable",
}

const jsonIn = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    // Proxies answer in HTML: whoever asks gets the status instead.
    return undefined
  }
}

/** What the server said: its `message`, else its `error`, else the status in words. */
export const wordsIn = (response: Answer): string => {
  const body = v.safeParse(ErrorBody, jsonIn(response.text))
  const words = body.success ? body.output.message || body.output.error : null
  return words || `HTTP ${response.status}${response.statusText === "" ? "" : ` ${response.statusText}`}`
}

/** A refused call as an error: the code follows the status, the words are the server's. */
export const apiError = (response: Answer): AppError => {
  const words = wordsIn(response)
  if (response.status >= 300 && response.status < 400) {
    return new AppError("unavailable", "the server answered with a redirect: give the URL it really has")
  }
  const code = codeOfStatus[response.status] ?? (response.status >= 500 ? "internal" : "unavailable")
  const body = v.safeParse(v.record(v.string(), v.unknown()), jsonIn(response.text))
  return new AppError(code, words, body.success ? { body: body.output } : {})
}

/** The parsed body of an answer with the expected status; otherwise throws what the server said. */
export const answerIn = <S extends v.GenericSchema>(
  response: Answer,
  expected: number,
  schema: S,
): v.InferOutput<S> => {
  if (response.status !== expected) throw apiError(response)
  const parsed = v.safeParse(schema, jsonIn(response.text))
  if (parsed.success) return parsed.output
  // Whatever answers 200 with something else is not the API: a captive portal, a wrong path behind a proxy.
  throw new AppError(
    "unavailable",
    `the answer is not the API's (status ${response.status}): is this a certctl server?`,
  )
}
