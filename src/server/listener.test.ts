import { afterAll, expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import https from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "node:tls"
import type { Clock } from "../clock"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { openCertificateFiles } from "./certificate-files"
import { type Exchange, startListener } from "./listener"
import { openOwnCertificate } from "./own-certificate"

const folder = mkdtempSync(join(tmpdir(), "certctl-listener-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const dayMs = 24 * 3_600_000
const silent = { info() {}, warn() {}, error() {} }
const unexpected = (error: unknown): never => {
  throw error
}

const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> => {
  const deadline = performance.now() + 60_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`)
    await Bun.sleep(5)
  }
}

/** A clock that begins in the past, so that what it lets expire and renew is valid to the clients, who know the real time. */
const clockSince = (daysAgo: number) => {
  let offsetMs = -daysAgo * dayMs
  const clock: Clock = { now: () => new Date(Date.now() + offsetMs) }
  const advanceTo = (days: number) => {
    offsetMs = -days * dayMs
  }
  return { clock, advanceTo }
}

const ownCertificate = async (clock: Clock, names: string[] = ["localhost", "127.0.0.1"]) =>
  openOwnCertificate({
    dataDir: mkdtempSync(join(folder, "data-")),
    names: () => names,
    lifetimeMs: 90 * dayMs,
    clock,
    log: { ...silent, error: (line) => unexpected(new Error(line)) },
  })

/** What a new connection is shown: the leaf's serial, and how long the chain is. */
const handshake = (port: number, ca: string): Promise<{ serial: string; chain: number }> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca, servername: "localhost" }, () => {
      const leaf = socket.getPeerCertificate(true)
      let chain = 1
      for (let at = leaf; at.issuerCertificate && at.issuerCertificate !== at; at = at.issuerCertificate) chain++
      socket.end()
      resolve({ serial: leaf.serialNumber, chain })
    })
    socket.on("error", reject)
  })

const serialOf = (pem: string): string => new X509Certificate(pem).serialNumber

const handler = async (request: Request, exchange: Exchange): Promise<Response> => {
  const { pathname } = new URL(request.url)
  if (pathname === "/fails") throw new Error("on purpose")
  if (pathname === "/poll") {
    exchange.keepOpen()
    const { promise, resolve } = Promise.withResolvers<void>()
    exchange.draining.addEventListener("abort", () => resolve(), { once: true })
    request.signal.addEventListener("abort", () => resolve(), { once: true })
    if (!exchange.draining.aborted) await promise
    return Response.json({ jobs: [] })
  }
  if (pathname === "/events") {
    let timer: Timer | undefined
    const body = new ReadableStream({
      start(controller) {
        const end = () => {
          clearInterval(timer)
          controller.close()
        }
        timer = setInterval(() => controller.enqueue("data: tick\n\n"), 5)
        if (exchange.draining.aborted) end()
        else exchange.draining.addEventListener("abort", end, { once: true })
      },
      cancel: () => clearInterval(timer),
    })
    return new Response(body, { headers: { "content-type": "text/event-stream" } })
  }
  return Response.json({ address: exchange.remoteAddress, length: (await request.text()).length })
}

const wasReset = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ECONNRESET"

/**
 * Ordinary clients: kept-alive connections that obey `connection: close`, polls and streams that resume when they end. What was
 * reset before it was answered they ask once more: Linux resets connections that are still being opened when a listening socket
 * closes, and clients of any server have to expect that.
 */
const load = (port: number, ca: string) => {
  const counts = { kept: 0, fetched: 0, polls: 0, streams: 0, events: 0 }
  const failures: string[] = []
  const over = new AbortController()
  const agent = new https.Agent({ keepAlive: true, ca, maxSockets: 100 })
  const base = `https://127.0.0.1:${port}`

  const get = (path: string, eachChunk: () => void): Promise<number> =>
    new Promise((resolve, reject) => {
      const request = https.request(`${base}${path}`, { agent, signal: over.signal }, (response) => {
        response.on("data", eachChunk)
        response.on("end", () => resolve(response.statusCode ?? 0))
        response.on("error", reject)
      })
      request.on("error", (error) => reject(request.reusedSocket ? `on a connection in use: ${error.message}` : error))
      request.end()
    })
  const repeat = async (what: string, once: () => Promise<number>, count: () => void) => {
    while (!over.signal.aborted) {
      try {
        const status = await once().catch((error) => {
          if (!wasReset(error) || over.signal.aborted) throw error
          return once()
        })
        if (status === 200) count()
        else failures.push(`${what}: status ${status}`)
      } catch (error) {
        if (!over.signal.aborted) failures.push(`${what}: ${error}`)
      }
    }
  }
  const nothing = () => {}
  const event = () => void counts.events++
  const fetchOnce = async () => {
    const response = await fetch(`${base}/`, {
      method: "POST",
      body: "x".repeat(1000),
      tls: { ca },
      signal: over.signal,
    })
    await response.text()
    return response.status
  }
  const clients = [
    ...Array.from({ length: 6 }, () =>
      repeat(
        "kept",
        () => get("/", nothing),
        () => void counts.kept++,
      ),
    ),
    ...Array.from({ length: 6 }, () => repeat("fetch", fetchOnce, () => void counts.fetched++)),
    ...Array.from({ length: 20 }, () =>
      repeat(
        "poll",
        () => get("/poll", nothing),
        () => void counts.polls++,
      ),
    ),
    ...Array.from({ length: 10 }, () =>
      repeat(
        "stream",
        () => get("/events", event),
        () => void counts.streams++,
      ),
    ),
  ]
  return {
    counts,
    failures,
    async end() {
      over.abort()
      await Promise.all(clients)
      agent.destroy()
    },
  }
}

test("a due certificate is renewed and swapped under load without a failed request", async () => {
  const { clock, advanceTo } = clockSince(88)
  const names = ["localhost", "127.0.0.1"]
  const source = await ownCertificate(clock, names)
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: source,
    fetch: handler,
    onError: unexpected,
    settleMs: 200,
  })
  const before = serialOf(source.current().certificatePem)
  expect(await handshake(listener.port, source.caCertificatePem)).toEqual({ serial: before, chain: 2 })

  const { counts, failures, end } = load(listener.port, source.caCertificatePem)
  try {
    await until("all clients are busy", () => counts.kept > 300 && counts.fetched > 300 && counts.events > 100)
    expect({ polls: counts.polls, streams: counts.streams }).toEqual({ polls: 0, streams: 0 })

    const reasons = [() => advanceTo(27), () => names.push("certctl.example")]
    for (const [index, reason] of reasons.entries()) {
      const swap = index + 1
      const former = serialOf(source.current().certificatePem)
      reason()
      await source.check()
      const renewed = serialOf(source.current().certificatePem)
      expect(renewed).not.toBe(former)
      // Every poll and stream was ended politely once and came back.
      await until("polls and streams resumed", () => counts.polls >= 20 * swap && counts.streams >= 10 * swap)
      let inARow = 0
      await until("new connections see only the new certificate", async () => {
        inARow = (await handshake(listener.port, source.caCertificatePem)).serial === renewed ? inARow + 1 : 0
        return inARow === 30
      })
      const { kept, fetched, events } = counts
      await until("load goes on", () => {
        return counts.kept > kept + 300 && counts.fetched > fetched + 300 && counts.events > events + 100
      })
    }
  } finally {
    await end()
    source.close()
    await listener.stop(5_000)
  }
  expect(failures).toEqual([])
}, 120_000)

test("a pair of files that changes is swapped in, and a broken one is not", async () => {
  const own = mkdtempSync(join(folder, "files-"))
  const validity = { notBefore: new Date(Date.now() - dayMs), notAfter: new Date(Date.now() + dayMs) }
  const [certPath, keyPath] = [join(own, "cert.pem"), join(own, "key.pem")]
  const { certPem, privateKey } = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Root", ...validity })
  const root = openAuthority({ certPem, chainPem: "", privateKey })
  const write = async (commonName: string) => {
    const key = await generateKey("ecdsa-p256")
    const { certPem: leafPem } = await root.sign({
      spkiDer: spkiOf(key),
      subjectCommonName: commonName,
      sans: [{ type: "dns", value: commonName }],
      ekus: ["serverAuth"],
      ...validity,
    })
    writeFileSync(keyPath, privateKeyPem(key), { mode: 0o600 })
    writeFileSync(certPath, leafPem)
    return leafPem
  }
  // A connection that is still shaking hands when the former server stops is reset: null, and the caller tries again.
  const served = (port: number): Promise<string | null> =>
    new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().serialNumber)
        socket.end()
      })
      socket.on("error", () => resolve(null))
    })

  const first = await write("first")
  const errors: string[] = []
  const source = await openCertificateFiles({
    certPath,
    keyPath,
    log: { ...silent, error: (line) => errors.push(line) },
  })
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: source,
    fetch: handler,
    onError: unexpected,
    settleMs: 0,
  })
  try {
    expect(await served(listener.port)).toBe(serialOf(first))

    writeFileSync(certPath, "half of a certif")
    await source.check()
    expect(source.current().certificatePem).toBe(first)
    expect(errors.join("\n")).toContain("CERTCTL_SERVER_TLS_CERT_PATH")
    expect(await served(listener.port)).toBe(serialOf(first))

    writeFileSync(keyPath, privateKeyPem(privateKey))
    writeFileSync(certPath, certPem)
    await source.check()
    expect(source.current().certificatePem).toBe(first)

    const second = await write("second")
    await source.check()
    await until("the new pair is served", async () => (await served(listener.port)) === serialOf(second))
  } finally {
    source.close()
    await listener.stop(1_000)
  }
})

test("without TLS it speaks plain HTTP and tells the handler the peer's address", async () => {
  const listener = startListener({ host: "127.0.0.1", port: 0, tls: null, fetch: handler, onError: unexpected })
  try {
    expect(listener.url).toBe(`http://127.0.0.1:${listener.port}`)
    const response = await fetch(listener.url, { method: "POST", body: "hello" })
    expect(await response.json()).toEqual({ address: "127.0.0.1", length: 5 })
    expect(response.headers.get("connection")).not.toBe("close")
  } finally {
    await listener.stop(1_000)
  }
})

test("a second listener on the same port is refused with one line", async () => {
  const { clock } = clockSince(0)
  const source = await ownCertificate(clock)
  const options = { host: "127.0.0.1", tls: source, fetch: handler, onError: unexpected }
  const listener = startListener({ ...options, port: 0 })
  try {
    expect(() => startListener({ ...options, port: listener.port })).toThrow(
      `cannot listen on 127.0.0.1:${listener.port} (CERTCTL_SERVER_HOST, CERTCTL_SERVER_PORT): the port is in use, perhaps by another certctl server`,
    )
  } finally {
    source.close()
    await listener.stop(1_000)
  }
  const again = startListener({ ...options, port: listener.port })
  await again.stop(1_000)
})

test("clients below TLS 1.3 are refused, and HTTP/2 is offered", async () => {
  const { clock } = clockSince(0)
  const source = await ownCertificate(clock)
  const listener = startListener({ host: "127.0.0.1", port: 0, tls: source, fetch: handler, onError: unexpected })
  const negotiate = (more: object): Promise<string> =>
    new Promise((resolve) => {
      const settings = { host: "127.0.0.1", port: listener.port, ca: source.caCertificatePem, ...more }
      const socket = connect(settings, () => {
        resolve(`${socket.getProtocol()} ${socket.alpnProtocol}`)
        socket.end()
      })
      socket.on("error", () => resolve("refused"))
    })
  try {
    expect(await negotiate({ ALPNProtocols: ["h2", "http/1.1"] })).toBe("TLSv1.3 h2")
    expect(await negotiate({ ALPNProtocols: ["http/1.1"] })).toBe("TLSv1.3 http/1.1")
    expect(await negotiate({ maxVersion: "TLSv1.2" })).toBe("refused")
  } finally {
    source.close()
    await listener.stop(1_000)
  }
})

test("a handler that throws is answered in general words and reported", async () => {
  const errors: unknown[] = []
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: null,
    fetch: handler,
    onError: (error) => errors.push(error),
  })
  try {
    const response = await fetch(`${listener.url}/fails`)
    expect(response.status).toBe(500)
    expect(await response.json()).toEqual({ error: "Internal Server Error" })
    expect(errors.map(String)).toEqual(["Error: on purpose"])
  } finally {
    await listener.stop(1_000)
  }
})

test("a shutdown answers long polls, closes event streams and lets running requests finish", async () => {
  const release = Promise.withResolvers<void>()
  let arrived = 0
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: null,
    onError: unexpected,
    async fetch(request, exchange) {
      arrived++
      if (!request.url.endsWith("/slow")) return handler(request, exchange)
      await release.promise
      return new Response("finished")
    },
  })
  const poll = fetch(`${listener.url}/poll`)
  const slow = fetch(`${listener.url}/slow`)
  const events = await fetch(`${listener.url}/events`)
  expect(events.headers.get("connection")).toBe("close")
  await until("all three arrived", () => arrived === 3)

  listener.drain()
  expect(await (await poll).json()).toEqual({ jobs: [] })
  expect(await events.text()).toStartWith("data: tick")
  expect((await fetch(`${listener.url}/`)).headers.get("connection")).toBe("close")

  const stopped = listener.stop(10_000)
  release.resolve()
  expect(await (await slow).text()).toBe("finished")
  await stopped
  expect(fetch(listener.url)).rejects.toThrow()
})

test("a request that outlives the grace period is cut", async () => {
  const entered = Promise.withResolvers<void>()
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: null,
    onError: unexpected,
    fetch: () => {
      entered.resolve()
      return new Promise<Response>(() => {})
    },
  })
  const cut = fetch(listener.url).then(
    () => "answered",
    () => "cut",
  )
  await entered.promise
  await listener.stop(10)
  expect(await cut).toBe("cut")
})

test("a client that leaves an event stream ends it", async () => {
  const cancelled = Promise.withResolvers<void>()
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: null,
    onError: unexpected,
    fetch: () => {
      let timer: Timer | undefined
      const body = new ReadableStream({
        start(controller) {
          timer = setInterval(() => controller.enqueue("data: tick\n\n"), 5)
        },
        cancel() {
          clearInterval(timer)
          cancelled.resolve()
        },
      })
      return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } })
    },
  })
  const leave = new AbortController()
  const events = await fetch(listener.url, { signal: leave.signal })
  await events.body?.getReader().read()
  leave.abort()
  await cancelled.promise
  await listener.stop(1_000)
})

test("a certificate that cannot be served leaves the former one in place", async () => {
  const { clock } = clockSince(0)
  const own = await ownCertificate(clock)
  const hearers = new Set<() => void>()
  let material = own.current()
  const errors: unknown[] = []
  const listener = startListener({
    host: "127.0.0.1",
    port: 0,
    tls: {
      current: () => material,
      onChange(hear) {
        hearers.add(hear)
        return () => void hearers.delete(hear)
      },
      check: async () => {},
      close() {},
    },
    fetch: handler,
    onError: (error) => errors.push(error),
  })
  try {
    material = { certificatePem: "nonsense", privateKeyPem: "nonsense" }
    for (const hear of hearers) hear()
    expect(errors).toHaveLength(1)
    const expected = { serial: serialOf(own.current().certificatePem), chain: 2 }
    for (let i = 0; i < 5; i++) expect(await handshake(listener.port, own.caCertificatePem)).toEqual(expected)
  } finally {
    own.close()
    await listener.stop(1_000)
  }
  expect(hearers.size).toBe(0)
})
