/**
 * HTTP/1.1 on one connection that is never shared: what NTLM authenticates is the connection, so a pool would hand one user's
 * rights to the next request, and a request on another connection would have none. One request at a time; no redirects.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net"
import { connect as connectTls, type TLSSocket } from "node:tls"
import { AppError, messageOf } from "../errors"

export interface ConnectionOptions {
  readonly host: string
  readonly port: number
  readonly isTls: boolean
  /** No check of the server's certificate. */
  readonly isAnyCertificateGood: boolean
  /** For the connection, and again for every answer. */
  readonly timeoutMs: number
}

export interface Answer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly body: Buffer
}

export interface SingleConnection {
  /** `headers` are trusted: no caller passes on input without having encoded it. */
  post(path: string, headers: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer>
  /** DER of the server's certificate; null without TLS. */
  readonly peerCertificate: Buffer | null
  close(): void
}

const mostHeaderBytes = 64 * 1024
const mostBodyBytes = 10 * 1024 * 1024

/** Fails with `upstream`, naming the address. */
export const openConnection = async (options: ConnectionOptions): Promise<SingleConnection> => {
  const { host, port, isTls, isAnyCertificateGood, timeoutMs } = options
  const address = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
  const socket: Socket | TLSSocket = isTls
    ? connectTls({
        host,
        port,
        servername: isIP(host) === 0 ? host : "",
        rejectUnauthorized: !isAnyCertificateGood,
        minVersion: "TLSv1.2",
      })
    : connectTcp({ host, port })

  let received = Buffer.alloc(0)
  let isEnded = false
  let problem: string | null = null
  let wake: (() => void) | null = null
  const onNews = () => {
    wake?.()
    wake = null
  }
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    // Nobody asked for so much: the reader takes it piece by piece.
    if (received.length > mostBodyBytes + mostHeaderBytes) {
      problem = "the answer is too large"
      socket.destroy()
    }
    onNews()
  })
  socket.on("error", (error) => {
    problem ??= messageOf(error)
    onNews()
  })
  socket.on("close", () => {
    isEnded = true
    onNews()
  })

  const failure = (words: string) => new AppError("upstream", `${address}: ${words}`)

  /** Waits until `isThere` or the end of time, connection or patience. */
  const waitFor = async (isThere: () => boolean, deadline: number): Promise<void> => {
    while (!isThere()) {
      if (problem !== null) throw failure(problem)
      if (isEnded) throw failure("the connection was closed before the answer was complete")
      const left = deadline - performance.now()
      if (left <= 0) {
        socket.destroy()
        throw failure(`no answer within ${timeoutMs / 1000} s`)
      }
      const { promise, resolve } = Promise.withResolvers<void>()
      wake = resolve
      const timer = setTimeout(resolve, left)
      await promise
      clearTimeout(timer)
    }
  }

  const take = async (length: number, deadline: number): Promise<Buffer> => {
    await waitFor(() => received.length >= length, deadline)
    const taken = received.subarray(0, length)
    received = received.subarray(length)
    return taken
  }

  const takeUntil = async (end: string, most: number, deadline: number): Promise<string> => {
    await waitFor(() => received.includes(end) || received.length > most, deadline)
    const at = received.indexOf(end)
    if (at < 0 || at > most) throw failure("the answer's header is too large")
    return (await take(at + end.length, deadline)).subarray(0, at).toString("latin1")
  }

  const takeChunks = async (deadline: number): Promise<Buffer> => {
    const chunks: Buffer[] = []
    let total = 0
    for (;;) {
      const line = await takeUntil("\r\n", 1024, deadline)
      const size = /^([0-9a-fA-F]{1,7})\s*(;|$)/.exec(line)?.[1]
      if (size === undefined) throw failure("the answer's chunks cannot be read")
      const length = Number.parseInt(size, 16)
      total += length
      if (total > mostBodyBytes) throw failure("the answer is too large")
      if (length === 0) break
      chunks.push(Buffer.from(await take(length, deadline)))
      if ((await take(2, deadline)).toString("latin1") !== "\r\n") throw failure("the answer's chunks cannot be read")
    }
    while ((await takeUntil("\r\n", mostHeaderBytes, deadline)) !== "");
    return Buffer.concat(chunks)
  }

  const takeAnswer = async (deadline: number): Promise<Answer> => {
    const [first = "", ...lines] = (await takeUntil("\r\n\r\n", mostHeaderBytes, deadline)).split("\r\n")
    const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1]
    if (status === undefined) throw failure("what answers is not an HTTP server")
    const headers = new Map<string, string[]>()
    for (const line of lines) {
      const colon = line.indexOf(":")
      if (colon <= 0) throw failure("the answer's header cannot be read")
      const name = line.slice(0, colon).toLowerCase()
      headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()])
    }
    if (status === "100") return takeAnswer(deadline)
    if (headers.get("transfer-encoding")?.join().toLowerCase() === "chunked") {
      return { status: Number(status), headers, body: await takeChunks(deadline) }
    }
    const length = Number(headers.get("content-length")?.[0] ?? (status === "204" ? "0" : ""))
    if (!Number.isInteger(length) || length < 0 || !(headers.has("content-length") || status === "204")) {
      throw failure("the answer does not say how long it is")
    }
    if (length > mostBodyBytes) throw failure("the answer is too large")
    return { status: Number(status), headers, body: Buffer.from(await take(length, deadline)) }
  }

  let isConnected = false
  socket.once(isTls ? "secureConnect" : "connect", () => {
    isConnected = true
    onNews()
  })
  try {
    await waitFor(() => isConnected, performance.now() + timeoutMs)
  } catch (error) {
    socket.destroy()
    throw error
  }
  const certificate = isTls ? (socket as TLSSocket).getPeerCertificate()?.raw : undefined

  return {
    peerCertificate: certificate === undefined ? null : Buffer.from(certificate),
    async post(path, headers, body) {
      const all = { Host: address, "User-Agent": "certctl", "Content-Length": String(body.length), ...headers }
      const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
      socket.write(Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${head.join("")}\r\n`, "latin1"), body]))
      return takeAnswer(performance.now() + timeoutMs)
    },
    close: () => socket.destroy(),
  }
}
