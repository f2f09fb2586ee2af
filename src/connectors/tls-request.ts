/**
 * HTTPS to a product that the agent's owner named: private networks are what it is for. The server's certificate is checked against
 * the given authorities or the usual ones, redirects are not followed, and every answer is bounded in time and size.
 */
import type { IncomingHttpHeaders } from "node:http"
import { request as httpsRequest } from "node:https"
import { isIP } from "node:net"
import { AppError, messageOf } from "../errors"

export interface TlsPeer {
  /** Name or IP literal, with or without brackets. */
  readonly host: string
  readonly port: number
  /** Authorities (PEM) to trust in place of the usual ones. */
  readonly ca?: string
  /** A client certificate with its key (PEM). */
  readonly client?: { readonly cert: string; readonly key: string }
  /** The name its certificate must have, where it is not the host's. */
  readonly serverName?: string
  /** Takes whatever certificate the server shows. */
  readonly isUnchecked?: boolean
  readonly timeoutMs: number
}

export interface TlsRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  /** From the slash on. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

export interface TlsAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

const mostBytes = 10 * 1024 * 1024

/** Any answer resolves, whatever its status. Fails with `upstream` when there is none. */
export const tlsRequest = async (peer: TlsPeer, { method, path, headers, body }: TlsRequest): Promise<TlsAnswer> => {
  const host = peer.host.replace(/^\[(.*)\]$/, "$1")
  const name = peer.serverName ?? host
  const { promise, resolve, reject } = Promise.withResolvers<TlsAnswer>()
  const request = httpsRequest(
    {
      host,
      port: peer.port,
      method,
      path,
      headers: {
        "user-agent": "certctl",
        ...headers,
        ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
      },
      // A kept connection would belong to former settings.
      agent: false,
      minVersion: "TLSv1.2",
      rejectUnauthorized: peer.isUnchecked !== true,
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(peer.ca === undefined ? {} : { ca: peer.ca }),
      ...peer.client,
    },
    (response) => {
      const chunks: Buffer[] = []
      let size = 0
      response.on("data", (chunk: Buffer) => {
        size += chunk.length
        if (size > mostBytes) {
          reject(new AppError("upstream", `the answer is longer than ${mostBytes} bytes`))
          request.destroy()
        } else chunks.push(chunk)
      })
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      )
      response.on("error", reject)
      response.on("aborted", () => reject(new AppError("upstream", "the answer was cut off")))
    },
  )
  const timer = setTimeout(() => {
    reject(new AppError("upstream", `no answer within ${peer.timeoutMs / 1000} s`))
    request.destroy()
  }, peer.timeoutMs)
  request.on("error", reject)
  request.end(body)
  try {
    return await promise
  } catch (error) {
    // The path names objects only; neither header nor body is repeated.
    const words = `${method} https://${peer.host}:${peer.port}${path}: ${messageOf(error)}`
    throw new AppError("upstream", words, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}
