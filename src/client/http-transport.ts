/**
 * HTTP to a certctl server for the agent, the CLI and MCP: one place for trust roots, time limits and body limits.
 * Whatever status comes back is an answer; only not getting one is an error.
 */
import { rootCertificates } from "node:tls"
import { AppError, messageOf } from "../errors"
import { outboundProxy } from "./outbound-proxy"

export interface TransportOptions {
  /** As `serverUrl` returns it. */
  readonly server: string
  /** Sent as a bearer token. */
  readonly apiKey: string | null
  readonly trust: Trust
  readonly userAgent: string
  /** For every call that does not say otherwise; 30 s when left out. */
  readonly timeoutMs?: number
  /** 10 MiB when left out. */
  readonly maxBodyBytes?: number
}

export type Trust =
  /** The system's roots. */
  | { readonly kind: "system" }
  /** The system's roots and these. */
  | { readonly kind: "extra"; readonly caPem: string }
  /** These and nothing else. */
  | { readonly kind: "pinned"; readonly caPem: string }
  /** Anybody: only where an operator asked for it in so many words. */
  | { readonly kind: "none" }

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE"
  /** Begins with `/`; ids in it are encoded by the caller, see `pathOf`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly json?: unknown
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface ApiResponse {
  readonly status: number
  readonly statusText: string
  /** Without its parameters; empty when there is none. */
  readonly contentType: string
  readonly bytes: Buffer
  /** `bytes` as UTF-8. */
  readonly text: string
  /** The server's clock, to the second; null when it does not say. */
  readonly date: Date | null
  /** From Retry-After; null when there is none. */
  readonly retryAfterMs: number | null
}

/** Fails with `unavailable` when no whole answer came, in words that tell refused, untrusted and slow apart. */
export type Transport = (request: ApiRequest) => Promise<ApiResponse>

const lostCodes = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE"])

const tlsOptions = (trust: Trust) => {
  switch (trust.kind) {
    case "system":
      return {}
    case "extra":
      return { ca: [...rootCertificates, trust.caPem] }
    case "pinned":
      return { ca: trust.caPem }
    case "none":
      return { rejectUnauthorized: false }
  }
}

export const httpTransport = (options: TransportOptions): Transport => {
  const tls = tlsOptions(options.trust)
  const maxBodyBytes = options.maxBodyBytes ?? 10 * 1024 * 1024
  const proxy = outboundProxy(new URL(options.server), process.env)
  // The runtime reads the same variables by itself and knows fewer exceptions; false, which its types leave out, keeps it from that.
  const way = (proxy === null ? false : proxy.href) as string
  return async ({ method, path, query = {}, json, timeoutMs = options.timeoutMs ?? 30_000, signal }) => {
    const url = new URL(options.server + path)
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value)
    const limit = AbortSignal.timeout(timeoutMs)
    try {
      const response = await fetch(url, {
        method,
        // The content type is sent with GET too: servers in the field were written against clients that do.
        headers: {
          "content-type": "application/json",
          accept: "application/json",
          "user-agent": options.userAgent,
          ...(options.apiKey === null ? {} : { authorization: `Bearer ${options.apiKey}` }),
        },
        body: json === undefined ? undefined : JSON.stringify(json),
        // A redirect would carry the key to another host.
        redirect: "manual",
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
        tls,
        proxy: way,
      })
      const bytes = await boundedBytes(response, maxBodyBytes)
      return {
        status: response.status,
        statusText: response.statusText,
        contentType: (response.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "",
        bytes,
        text: bytes.toString("utf8"),
        date: dateIn(response.headers.get("date")),
        retryAfterMs: retryAfterIn(response.headers.get("retry-after")),
      }
    } catch (error) {
      if (error instanceof AppError) throw error
      const through = proxy === null ? "" : ` (through the proxy ${proxy.host})`
      const words = `${method} ${options.server}${path}: ${connectionProblem(error, timeoutMs)}${through}`
      throw new AppError("unavailable", words, { cause: error })
    }
  }
}

/**
 * Whether an error of a transport says that there is no server at the moment: the connection was refused, reset or closed. Not that it
 * was slow, and not that it is not trusted.
 */
export const isConnectionLost = (error: unknown): boolean => {
  const code = error instanceof AppError ? (error.cause as { code?: unknown } | undefined)?.code : undefined
  return typeof code === "string" && lostCodes.has(code)
}

const boundedBytes = async (response: Response, maxBytes: number): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    // Leaving the loop cancels the stream.
    if (size > maxBytes) throw new AppError("unavailable", `the server's answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Seconds, or an HTTP date, which is not worth a clock: null. */
const retryAfterIn = (header: string | null): number | null =>
  header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : null

const dateIn = (header: string | null): Date | null => {
  const date = new Date(header ?? "")
  return Number.isNaN(date.getTime()) ? null : date
}

const connectionProblem = (error: unknown, timeoutMs: number): string => {
  const name = error instanceof Error ? error.name : ""
  const code = (error as { code?: unknown }).code
  if (name === "TimeoutError") return `no answer within ${timeoutMs / 1000} s`
  if (name === "AbortError") return "cancelled"
  const words = messageOf(error)
  const isTrust = typeof code === "string" && /CERT|SIGNATURE|ALTNAME|SELF_SIGNED/.test(code)
  return isTrust
    ? `the server's certificate is not trusted (${words}); give its CA with --ca-bundle, or join again if it was replaced`
    : words
}

/** Joins path segments, encoding each. Fails with `validation` for what a URL would read as "here" or "one up". */
export const pathOf = (...segments: readonly string[]): string =>
  segments
    .map((segment) => {
      if (segment === "" || segment === "." || segment === "..") {
        throw new AppError("validation", `${JSON.stringify(segment)} is no id`)
      }
      return `/${encodeURIComponent(segment)}`
    })
    .join("")
