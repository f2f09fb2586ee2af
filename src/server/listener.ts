/**
 * The HTTPS listener: one Bun.serve, replaced by another on the same port whenever its certificate changes. `server.reload` does not
 * swap TLS material, so the new one is opened beside the old one (`reusePort`), which then tells its clients to come back on new
 * connections and stops when they have gone.
 */
import { AppError, messageOf } from "../errors"
import type { TlsMaterial, TlsSource } from "./tls-source"

/** What a handler may know and do about the connection behind its request. */
export interface Exchange {
  /** The peer's address, as the socket knows it; null when it has gone already. */
  readonly remoteAddress: string | null
  /** Aborted when this request should come to its end: a long poll answers "nothing yet", an event stream closes. Clients resume. */
  readonly draining: AbortSignal
  /** Lifts the time limit until the handler has answered. Event streams need not ask. */
  keepOpen(): void
}

export type FetchHandler = (request: Request, exchange: Exchange) => Response | Promise<Response>

export interface ListenerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** null: plain HTTP. */
  readonly tls: TlsSource | null
  readonly fetch: FetchHandler
  /** Bodies beyond it are cut by the listener itself, whatever length they claimed. The application refuses far smaller ones. */
  readonly maxRequestBytes?: number
  /** A handler that threw, or a certificate that could not be taken into use (the former one stays). */
  readonly onError: (error: unknown) => void
  /** How long a replaced server sends its clients away politely before it ends their long polls and streams. */
  readonly settleMs?: number
  /** How long it then waits for what is still running. */
  readonly retireMs?: number
}

export interface Listener {
  readonly port: number
  readonly url: string
  /** Ends long polls and event streams, and sends clients away; requests are still answered. The first half of a shutdown. */
  drain(): void
  /** Stops accepting, waits at most `graceMs` for running requests, then cuts them. */
  stop(graceMs: number): Promise<void>
}

/** One Bun.serve with one certificate. */
interface Generation {
  readonly server: Bun.Server<undefined>
  /** Every answer says `connection: close`. */
  retiring: boolean
  readonly ending: AbortController
}

/**
 * Seconds from a request (or the end of the last one) until Bun cuts the connection. It counts from the start of the request, whether
 * or not bytes keep arriving, so a body that trickles in is cut too; Bun cannot be given a shorter limit for bodies alone.
 */
const idleSeconds = 60
const defaultMaxRequestBytes = 16 * 1024 * 1024

/** TLS 1.3 only. Bun takes the version as a number (and only so), which its types do not know. */
const tlsOptions = (material: TlsMaterial): Bun.TLSOptions & { minVersion: number } => ({
  cert: material.certificatePem,
  key: material.privateKeyPem,
  minVersion: 0x0304,
})

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

/** `reusePort` would let a second process bind unnoticed and take half of the connections; a plain bind tells. */
const refuseTakenPort = (host: string, port: number): void => {
  try {
    Bun.listen({ hostname: host, port, socket: { data() {} } }).stop(true)
  } catch (error) {
    throw cannotListen(host, port, error)
  }
}

const cannotListen = (host: string, port: number, error: unknown): AppError => {
  if (String(codeOf(error)).startsWith("ERR_SSL_")) {
    return new AppError("validation", `the server certificate cannot be used: ${messageOf(error)}`, { cause: error })
  }
  const where = `${host.includes(":") ? `[${host}]` : host}:${port}`
  const reason =
    codeOf(error) === "EADDRINUSE" ? "the port is in use, perhaps by another certctl server" : messageOf(error)
  return new AppError("conflict", `cannot listen on ${where} (CERTCTL_SERVER_HOST, CERTCTL_SERVER_PORT): ${reason}`, {
    cause: error,
  })
}

const withConnectionClose = (response: Response): Response => {
  // A new one, since the headers of a Response may be immutable. HTTP/2 has no such header, and Bun leaves it out there.
  const closing = new Response(response.body, response)
  closing.headers.set("connection", "close")
  return closing
}

const isEventStream = (response: Response): boolean =>
  response.headers.get("content-type")?.startsWith("text/event-stream") ?? false

const within = async (work: Promise<void>, limitMs: number): Promise<boolean> => {
  const { promise: limit, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), limitMs)
  try {
    return await Promise.race([work.then(() => true), limit])
  } finally {
    clearTimeout(timer)
  }
}

/** Throws `conflict` with one line when the port cannot be had. */
export const startListener = (options: ListenerOptions): Listener => {
  const { host, tls, fetch, onError, settleMs = 5_000, retireMs = 30_000 } = options
  if (options.port !== 0) refuseTakenPort(host, options.port)

  const answer = async (generation: Generation, request: Request): Promise<Response> => {
    const { server, ending } = generation
    const response = await fetch(request, {
      remoteAddress: server.requestIP(request)?.address ?? null,
      draining: ending.signal,
      keepOpen: () => server.timeout(request, 0),
    })
    const isStream = isEventStream(response)
    // The limit belongs to the connection: left at "none", it would never time out between requests.
    server.timeout(request, isStream ? 0 : idleSeconds)
    // A stream may end when its server retires, and what the client asked next on that connection would be lost.
    return generation.retiring || isStream ? withConnectionClose(response) : response
  }

  const open = (port: number, material: TlsMaterial | null): Generation => {
    const ending = new AbortController()
    const server = Bun.serve({
      hostname: host,
      port,
      reusePort: true,
      idleTimeout: idleSeconds,
      maxRequestBodySize: options.maxRequestBytes ?? defaultMaxRequestBytes,
      // Browsers open at most six HTTP/1.1 connections per host, and every event stream takes one.
      ...(material === null ? {} : { http2: true, tls: tlsOptions(material) }),
      fetch: (request): Promise<Response> => answer(generation, request),
      error(error) {
        onError(error)
        return Response.json({ error: "Internal Server Error" }, { status: 500 })
      },
    })
    const generation: Generation = { server, retiring: false, ending }
    return generation
  }

  const openFirst = (): Generation => {
    try {
      return open(options.port, tls?.current() ?? null)
    } catch (error) {
      throw codeOf(error) === undefined ? error : cannotListen(host, options.port, error)
    }
  }

  let current = openFirst()
  const port = current.server.port ?? options.port
  const generations = new Set([current])
  let stopping = false

  const stopGeneration = async (generation: Generation, graceMs: number): Promise<void> => {
    generation.retiring = true
    generation.ending.abort()
    if (!(await within(generation.server.stop(), graceMs))) await generation.server.stop(true)
    generations.delete(generation)
  }

  const retire = async (generation: Generation): Promise<void> => {
    generation.retiring = true
    await Bun.sleep(settleMs)
    // After a stop() there is nothing left to do politely.
    if (generations.has(generation) && !stopping) await stopGeneration(generation, retireMs)
  }

  const unsubscribe = tls?.onChange(() => {
    if (stopping) return
    try {
      const former = current
      current = open(port, tls.current())
      generations.add(current)
      retire(former).catch(onError)
    } catch (error) {
      onError(error)
    }
  })

  const drain = (): void => {
    stopping = true
    unsubscribe?.()
    for (const generation of generations) {
      generation.retiring = true
      generation.ending.abort()
    }
  }

  return {
    port,
    url: `${tls === null ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
    drain,
    async stop(graceMs) {
      drain()
      await Promise.all([...generations].map((generation) => stopGeneration(generation, graceMs)))
    },
  }
}
