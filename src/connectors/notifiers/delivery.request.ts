/** One HTTP delivery: JSON out, any of the accepted statuses back, everything else as a `deliveryError` without secrets. */
import { AppError, messageOf } from "../../errors"
import { deliveryError, type FailureClass } from "./contract"

/** Of a vendor's words this much is shown; a proxy's error page would be longer. */
const longestReason = 200
const mostBytes = 65_536

export const failureOf = (status: number): FailureClass => {
  if (status === 401 || status === 403) return "auth"
  if (status === 408 || status === 504) return "timeout"
  if (status === 429) return "rate_limited"
  if (status === 400 || status === 422) return "validation"
  return status >= 500 ? "upstream_5xx" : status >= 400 ? "upstream_4xx" : "other"
}

/** Seconds of a Retry-After header (RFC 9110 section 10.2.3), a number or a date. */
export const retryAfterSeconds = (header: string | null | undefined, now: Date): number | undefined => {
  if (header === null || header === undefined) return undefined
  if (/^\d{1,9}$/.test(header.trim())) return Number(header)
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now.getTime()) / 1000))
}

/** Vendors quote what they were sent; what must not be shown is cut out of their words. */
export const masked = (text: string, secrets: readonly string[]): string =>
  secrets.reduce((shown, secret) => (secret === "" ? shown : shown.replaceAll(secret, "********")), text)

/** One line without control characters, fit for a table. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
export const oneLine = (text: string): string => text.replace(/[\u0000-\u001f\u007f]+/g, " ").trim()

const isTimeout = (error: unknown): boolean =>
  error instanceof Error && (error.name === "TimeoutError" || ("code" in error && error.code === "ETIMEDOUT"))

/** The error of a request that got no answer. Its cause is left out: it may hold the whole URL. */
export const connectionError = (error: unknown, timeoutMs: number, secrets: readonly string[]): AppError => {
  if (isTimeout(error)) return deliveryError("timeout", `no answer within ${timeoutMs / 1000} s`)
  if (error instanceof AppError) {
    const failure = error.code === "validation" ? "validation" : "network"
    return deliveryError(failure, masked(error.message, secrets))
  }
  return deliveryError("network", oneLine(masked(messageOf(error), secrets)))
}

/** The error of an answer that is no success. `words`: the body, as far as it may be shown. */
export const refusal = (
  status: number,
  words: string,
  secrets: readonly string[],
  retryAfter?: number | undefined,
): AppError => {
  const reason = oneLine(masked(words, secrets)).slice(0, longestReason)
  return deliveryError(failureOf(status), `HTTP ${status}${reason === "" ? "" : `: ${reason}`}`, retryAfter)
}

const boundedText = async (response: Response): Promise<string> => {
  const reader = response.body?.getReader()
  if (reader === undefined) return ""
  const chunks: Uint8Array[] = []
  for (let size = 0; size < mostBytes; ) {
    const { done, value } = await reader.read()
    if (done) break
    chunks.push(value)
    size += value.length
  }
  await reader.cancel()
  return Buffer.concat(chunks).toString("utf8")
}

interface Delivery {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: unknown
  /** Statuses that mean the channel has the notice. */
  readonly accepted: readonly number[]
  readonly timeoutMs: number
  /** What must not be shown: keys, and the paths that are keys. */
  readonly secrets: readonly string[]
  readonly now: Date
}

/** Posts JSON. Redirects are not followed: the body and the path are meant for this server only. */
export const postJson = async (fetch: typeof globalThis.fetch, delivery: Delivery): Promise<void> => {
  const { url, headers, body, accepted, timeoutMs, secrets, now } = delivery
  const answered = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "user-agent": "certctl-notifier/1.0", ...headers },
    body: JSON.stringify(body),
    redirect: "manual",
    signal: AbortSignal.timeout(timeoutMs),
  })
    .then(async (response) => ({ response, text: await boundedText(response) }))
    .catch((error: unknown) => {
      throw connectionError(error, timeoutMs, secrets)
    })
  const { response, text } = answered
  if (accepted.includes(response.status)) return
  throw refusal(response.status, text, secrets, retryAfterSeconds(response.headers.get("retry-after"), now))
}

/** Any HTTP answer shows that the server can be reached. */
export const askReachable = async (
  fetch: typeof globalThis.fetch,
  { url, timeoutMs, secrets }: Pick<Delivery, "url" | "timeoutMs" | "secrets">,
): Promise<void> => {
  await fetch(url, { method: "HEAD", redirect: "manual", signal: AbortSignal.timeout(timeoutMs) }).catch(
    (error: unknown) => {
      throw connectionError(error, timeoutMs, secrets)
    },
  )
}

/** The parts of a URL that are the key to it: path and query. */
export const secretsOfUrl = (url: string): string[] => {
  const { pathname, search } = new URL(url)
  return [url, `${pathname}${search}`, ...pathname.split("/").filter((part) => part.length > 7)].filter(
    (secret) => secret !== "/",
  )
}
