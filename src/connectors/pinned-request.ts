/**
 * HTTP to an address somebody chose: the name is resolved once, every address of it is checked, and the connection goes to one of
 * those. `fetch` resolves by itself and cannot be told, hence node:https. An outbound proxy is not used: it would resolve for us.
 */
import { type RequestOptions as HttpOptions, request as httpRequest } from "node:http"
import { request as httpsRequest } from "node:https"
import { isIP } from "node:net"
import { AppError } from "../errors"
import { type OutboundRules, outboundUrl, type ResolveHost, resolveOutbound } from "./outbound-address"

export interface PinnedRequest {
  readonly url: string
  readonly method: "GET" | "HEAD" | "POST"
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Ends everything, name lookup included. */
  readonly signal: AbortSignal
  /** Followed for GET and HEAD only, each checked like the first. Default 0. */
  readonly mostRedirects?: number
  /** The rest of a longer body is thrown away. */
  readonly mostBytes?: number
  readonly rules?: OutboundRules
  readonly resolve?: ResolveHost
  /** CA certificates (PEM) to trust in place of the usual ones. */
  readonly ca?: string
  /** Whatever certificate an https server shows is good enough: nothing is told to it, and what it answers is checked otherwise. */
  readonly anyCertificate?: boolean
}

export interface PinnedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

const defaultMostBytes = 65_536
const redirects = [301, 302, 303, 307, 308]

const send = (
  url: URL,
  addresses: readonly string[],
  { method, headers, body, signal, ca, anyCertificate, mostBytes = defaultMostBytes }: PinnedRequest,
): Promise<PinnedAnswer> => {
  const { promise, resolve, reject } = Promise.withResolvers<PinnedAnswer>()
  const pinned = addresses.map((address) => ({ address, family: isIP(address) }))
  const [first] = pinned
  const options: HttpOptions & { ca?: string; rejectUnauthorized?: boolean } = {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }) },
    // A kept connection would outlive the check of its address.
    agent: false,
    signal,
    lookup: (_host, { all }, answer) =>
      all === true ? answer(null, pinned) : answer(null, first?.address ?? "", first?.family),
    ...(ca === undefined ? {} : { ca }),
    ...(anyCertificate === true ? { rejectUnauthorized: false } : {}),
  }
  const start = url.protocol === "https:" ? httpsRequest : httpRequest
  const request = start(url, options, (response) => {
    const chunks: Buffer[] = []
    let size = 0
    const finish = () =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) })
    response.on("data", (chunk: Buffer) => {
      chunks.push(chunk.subarray(0, mostBytes - size))
      size += chunk.length
      if (size < mostBytes) return
      finish()
      request.destroy()
    })
    response.on("end", finish)
    response.on("error", reject)
  })
  request.on("error", reject)
  request.end(body)
  return promise
}

/** Rejects as soon as the signal does: looking up a name cannot be aborted. */
const unlessAborted = async <R>(work: Promise<R>, signal: AbortSignal): Promise<R> => {
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  if (signal.aborted) abort()
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

/**
 * Any answer resolves, whatever its status. Rejects with the reason of the signal when it aborts, and with the error of the socket.
 * @throws AppError `validation` refused address, `upstream` unknown name or too many redirects
 */
export const pinnedRequest = async (asked: PinnedRequest): Promise<PinnedAnswer> => {
  let url = outboundUrl(asked.url)
  for (let left = asked.mostRedirects ?? 0; ; left -= 1) {
    const addresses = await unlessAborted(resolveOutbound(url.hostname, asked.rules, asked.resolve), asked.signal)
    const answer = await unlessAborted(send(url, addresses, asked), asked.signal)
    const location = answer.headers.location
    const isFollowed = asked.mostRedirects !== undefined && asked.method !== "POST" && typeof location === "string"
    if (!redirects.includes(answer.status) || !isFollowed) return answer
    if (left <= 0) throw new AppError("upstream", "the server redirects too often")
    url = outboundUrl(URL.canParse(location, url.href) ? new URL(location, url).href : "")
  }
}
