/**
 * What the fakes of HTTP vendors share: a TLS socket, a record of what arrived, and faults to switch on. A path, a method or a
 * content type that the vendor does not know is refused before the vendor's own rules are asked.
 */
import { createServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import { text as readText } from "node:stream/consumers"
import { type FakeTls, fakeTls } from "./tls.fake"

export interface FakeRequest {
  readonly path: string
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: JSON as it arrived; each fake checks what it needs
  readonly json: any
}

export type Fault =
  | {
      readonly kind: "status"
      readonly status: number
      readonly headers?: Record<string, string>
      readonly body?: string
    }
  /** No answer until the fake stops. */
  | { readonly kind: "hang" }
  /** The answer breaks off in the middle. */
  | { readonly kind: "reset" }

export interface VendorFake {
  /** https://localhost:<port> */
  readonly url: string
  readonly tls: FakeTls
  /** fetch that trusts this fake and nothing else. */
  readonly fetch: typeof globalThis.fetch
  /** Every request, also those that were refused. */
  readonly requests: readonly FakeRequest[]
  /** Requests that the vendor took. */
  readonly accepted: readonly FakeRequest[]
  /** Requests that hang now. */
  readonly hanging: () => number
  /** The next `times` requests fail so; without a number all, until `recover()`. */
  fail(fault: Fault, times?: number): void
  recover(): void
  stop(): Promise<void>
}

interface Vendor {
  readonly path: (path: string) => boolean
  /** Null when the request is good, else the vendor's refusal. */
  readonly judge: (request: FakeRequest) => Response | null
  readonly success: () => Response
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

export const startVendor = async ({ path, judge, success }: Vendor): Promise<VendorFake> => {
  const tls = await fakeTls()
  const requests: FakeRequest[] = []
  const accepted: FakeRequest[] = []
  let fault: { what: Fault; left: number } | null = null
  let hanging = 0

  const answerOf = (method: string, seen: FakeRequest): Response => {
    if (!path(seen.path.split("?")[0] ?? "")) return new Response("not found", { status: 404 })
    if (method !== "POST") return new Response("method not allowed", { status: 405 })
    if (seen.headers.get("content-type")?.split(";")[0] !== "application/json") {
      return new Response("unsupported media type", { status: 415 })
    }
    const refusal = judge(seen)
    if (refusal === null) accepted.push(seen)
    return refusal ?? success()
  }

  /** Null: no answer. */
  const faulty = (what: Fault, socket: Socket): Response | null => {
    if (what.kind === "status") return new Response(what.body ?? "", { status: what.status, headers: what.headers })
    if (what.kind === "hang") hanging += 1
    else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{", () => socket.destroy())
    return null
  }

  const server = createServer({ cert: tls.cert, key: tls.key }, async (request, response) => {
    const text = await readText(request)
    const headers = new Headers(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
    const seen = { path: request.url ?? "", headers, text, json: parsed(text) }
    let answer: Response | null
    if (request.method === "HEAD") answer = new Response(null, { status: 405 })
    else {
      requests.push(seen)
      if (fault !== null && fault.left > 0) {
        fault.left -= 1
        answer = faulty(fault.what, request.socket)
      } else answer = answerOf(request.method ?? "", seen)
    }
    if (answer === null) return
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.end(Buffer.from(await answer.arrayBuffer()))
  })
  const { promise: listening, resolve: listens } = Promise.withResolvers<void>()
  server.listen(0, "localhost", listens)
  await listening
  const { port } = server.address() as AddressInfo

  return {
    url: `https://localhost:${port}`,
    tls,
    fetch: Object.assign(
      (url: string | URL | Request, init?: RequestInit) => fetch(url, { ...init, tls: { ca: tls.ca } } as RequestInit),
      { preconnect: fetch.preconnect },
    ),
    requests,
    accepted,
    hanging: () => hanging,
    fail(what, times = Number.POSITIVE_INFINITY) {
      fault = { what, left: times }
    },
    recover() {
      fault = null
    },
    async stop() {
      const { promise: closed, resolve } = Promise.withResolvers<void>()
      server.close(() => resolve())
      server.closeAllConnections()
      await closed
    },
  }
}

/** A fake started by hand says where it is and runs until it is interrupted. */
export const runByHand = async (start: () => Promise<VendorFake>): Promise<void> => {
  const fake = await start()
  console.log(`${fake.url}\n${fake.tls.ca}`)
}
