/** The REST API as a typed client: its methods and shapes come from the routes, its trust and limits from the transport. */
import { hc } from "hono/client"
import { apiError } from "../client/api-answer"
import { type ApiRequest, type ApiResponse, httpTransport, type Transport } from "../client/http-transport"
import { AppError } from "../errors"
import { version } from "../version"
import type { Api } from "../wiring/api"
import type { Connection } from "./connection"

/** Long lists of certificates are large; more than this is no answer to a person any more. */
const maxBodyBytes = 100 * 1024 * 1024

/** Of a call that the rate limit refuses. */
const mostTries = 5
const longestPauseMs = 10_000

/** What helps, after the server's words. */
const explained = (error: AppError, { apiKey, server, isAssumed }: Connection): AppError => {
  const advice =
    error.code === "unauthenticated"
      ? apiKey === null
        ? "give a key with CERTCTL_API_KEY or --api-key file:PATH"
        : `${server} does not know this key, or it was disabled`
      : error.code === "unavailable" && isAssumed
        ? "name the server with CERTCTL_SERVER_URL or --server, or start it here"
        : null
  return advice === null
    ? error
    : new AppError(error.code, `${error.message} (${advice})`, { cause: error, body: error.body })
}

/** Of the answers that are files. */
const fileTypes = new Set(["application/x-pem-file", "application/x-pkcs12"])

const checked = (response: ApiResponse): ApiResponse => {
  if (response.status < 200 || response.status > 299) throw apiError(response)
  if (response.text === "" || fileTypes.has(response.contentType)) return response
  try {
    JSON.parse(response.text)
  } catch {
    // A captive portal, a wrong path behind a proxy: whatever it is, it is not ours to show.
    throw new AppError(
      "unavailable",
      `the answer is not the API's (status ${response.status}): is this a certctl server?`,
    )
  }
  return response
}

const methods = ["GET", "POST", "PUT", "DELETE"] as const
const methodOf = (text: string | undefined): ApiRequest["method"] => methods.find((method) => method === text) ?? "GET"

export type ApiClient = ReturnType<typeof apiClient>["api"]

/**
 * `api` mirrors the routes; its calls fail with AppError for every answer that is no success, in words that say what to do.
 * `send` is for the few paths outside the API.
 */
export const apiClient = (connection: Connection, options: { readonly timeoutMs?: number } = {}) => {
  const transport = httpTransport({
    ...connection,
    ...options,
    maxBodyBytes,
    userAgent: `certctl/${version.version}`,
  })
  /** A call that was refused for coming too early has had no effect: it is made again when the server says so. */
  const patiently: Transport = async (request) => {
    for (let tries = 1; ; tries++) {
      const response = await transport(request)
      const pauseMs = response.retryAfterMs ?? 1000
      if (response.status !== 429 || tries === mostTries || pauseMs > longestPauseMs) return response
      await Bun.sleep(pauseMs)
    }
  }
  const send: Transport = async (request) => {
    try {
      return checked(await patiently(request))
    } catch (error) {
      throw error instanceof AppError ? explained(error, connection) : error
    }
  }

  const throughTransport = async (url: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const json: unknown = typeof init?.body === "string" ? JSON.parse(init.body) : undefined
    const { status, bytes } = await send({ method: methodOf(init?.method), path: String(url), json })
    return new Response(bytes.length === 0 ? null : new Uint8Array(bytes), { status })
  }
  return {
    send,
    api: hc<Api>("/api/v1", { fetch: Object.assign(throughTransport, { preconnect: () => undefined }) }),
  }
}
