import { afterEach, describe, expect, test } from "bun:test"
import { createServer as createHttpsServer } from "node:https"
import { type AddressInfo, connect, createServer, type Server } from "node:net"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { httpTransport } from "./http-transport"
import { outboundProxy, tunnel } from "./outbound-proxy"

describe("the proxy for a URL", () => {
  const proxied = (url: string, env: Record<string, string>) =>
    outboundProxy(new URL(url), env)?.href.replace(/\/$/, "") ?? null
  const env = { HTTPS_PROXY: "http://proxy:3128" }

  test("is that of its scheme, in either spelling", () => {
    expect(proxied("https://a.example", env)).toBe("http://proxy:3128")
    expect(proxied("http://a.example", env)).toBeNull()
    expect(proxied("http://a.example", { http_proxy: "proxy:8080" })).toBe("http://proxy:8080")
    expect(proxied("https://a.example", { ...env, https_proxy: "" })).toBeNull()
  })

  test("is none for this machine", () => {
    for (const host of ["localhost", "127.0.0.1", "[::1]"]) expect(proxied(`https://${host}:8443`, env)).toBeNull()
  })

  for (const [exception, url, isDirect] of [
    ["*", "https://a.example", true],
    ["a.example", "https://a.example", true],
    ["a.example", "https://x.a.example", true],
    [".a.example", "https://x.a.example", true],
    ["*.a.example", "https://x.a.example", true],
    ["a.example", "https://ba.example", false],
    ["A.EXAMPLE, b.example", "https://a.example", true],
    ["a.example:8443", "https://a.example:8443", true],
    ["a.example:8443", "https://a.example", false],
    ["10.0.0.0/8", "https://10.1.2.3", true],
    ["10.0.0.0/8", "https://11.1.2.3", false],
    ["10.0.0.0/8", "https://a.example", false],
    ["10.0.0.0/99", "https://10.1.2.3", false],
    ["fd00::/8", "https://[fd00::1]:8443", true],
    ["fd00::1", "https://[fd00::1]", true],
    ["", "https://a.example", false],
  ] as const) {
    test(`NO_PROXY=${exception}: ${url} goes ${isDirect ? "directly" : "through it"}`, () => {
      expect(proxied(url, { ...env, NO_PROXY: exception }) === null).toBe(isDirect)
    })
  }

  test("that makes no sense is refused without repeating it", () => {
    for (const value of ["socks5://u:secret@p:1", "http://", "http://u:secret@"]) {
      const refuse = () => outboundProxy(new URL("https://a.example"), { HTTPS_PROXY: value })
      expect(refuse).toThrow("HTTPS_PROXY must look like")
      expect(refuse).not.toThrow("secret")
    }
  })
})

const hour = 3_600_000
const servers: Server[] = []
const before = { ...process.env }
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
  for (const name of ["HTTPS_PROXY", "NO_PROXY", "no_proxy"]) {
    if (before[name] === undefined) delete process.env[name]
    else process.env[name] = before[name]
  }
})
const listening = async (server: Server): Promise<number> => {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return (server.address() as AddressInfo).port
}

/** A server of a name that nobody but the proxy can look up. */
const scene = async (credentials: string | null) => {
  const span = { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + hour) }
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Proxied CA", ...span })
  const key = await generateKey("ecdsa-p256")
  const leaf = await openAuthority({ ...root, chainPem: "" }).sign({
    spkiDer: spkiOf(key),
    subjectCommonName: "certctl.test",
    sans: [sanOf("certctl.test")],
    ekus: ["serverAuth"],
    ...span,
  })
  const https = createHttpsServer({ key: privateKeyPem(key), cert: leaf.certPem }, (_, answer) =>
    answer.end('{"ok":1}'),
  )
  const port = await listening(https)
  const asked: string[] = []
  const proxy = createServer((socket) => {
    socket.on("error", () => undefined)
    socket.once("data", (chunk) => {
      const head = chunk.toString("latin1")
      asked.push(head.split("\r\n")[0] ?? "")
      const given = /^proxy-authorization: basic (.+)$/im.exec(head)?.[1]?.trim() ?? null
      const wanted = credentials === null ? null : Buffer.from(credentials).toString("base64")
      if (given !== wanted) return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
      const onward = connect(port, "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
        socket.pipe(onward).pipe(socket)
      })
      return onward.on("error", () => undefined)
    })
  })
  const proxyPort = await listening(proxy)
  return { port, proxyPort, asked, caPem: root.certPem }
}

const asking = (port: number, caPem: string) =>
  httpTransport({
    server: `https://certctl.test:${port}`,
    apiKey: "k",
    trust: { kind: "pinned", caPem },
    userAgent: "test",
    timeoutMs: 5000,
  })({ method: "GET", path: "/" })

describe("a server behind a proxy", () => {
  test("is reached with the credentials of the proxy's URL, and verified as ever", async () => {
    const { port, proxyPort, asked, caPem } = await scene("user:p@ss:word")
    process.env.HTTPS_PROXY = `http://user:p%40ss%3Aword@127.0.0.1:${proxyPort}`
    expect(await asking(port, caPem)).toMatchObject({ status: 200, text: '{"ok":1}' })
    expect(asked).toEqual([`CONNECT certctl.test:${port} HTTP/1.1`])
    const other = await scene(null)
    await expect(asking(port, other.caPem)).rejects.toThrow(
      new RegExp(`is not trusted.*\\(through the proxy 127.0.0.1:${proxyPort}\\)`),
    )
  })

  test("is not reached when the proxy refuses, and the words name the proxy, not its password", async () => {
    const { port, proxyPort, caPem } = await scene("user:right")
    process.env.HTTPS_PROXY = `http://user:wrong@127.0.0.1:${proxyPort}`
    const problem = await asking(port, caPem).then(
      ({ status }) => `status ${status}`,
      (error) => String(error),
    )
    expect(problem).toMatch(/407|proxy/i)
    expect(problem).not.toContain("wrong")
  })

  test("is asked directly where NO_PROXY says so, also by a range", async () => {
    const { proxyPort, asked, caPem } = await scene(null)
    process.env.HTTPS_PROXY = `http://127.0.0.1:${proxyPort}`
    process.env.NO_PROXY = "192.0.2.0/24"
    const direct = httpTransport({
      server: "https://192.0.2.1:1",
      apiKey: null,
      trust: { kind: "pinned", caPem },
      userAgent: "test",
      timeoutMs: 200,
    })
    await expect(direct({ method: "GET", path: "/" })).rejects.toThrow()
    expect(asked).toEqual([])
  })
})

test("a tunnel leads to the server or says what the proxy said", async () => {
  const { port, proxyPort, asked } = await scene("user:right")
  const through = (credentials: string) =>
    tunnel(new URL(`http://${credentials}@127.0.0.1:${proxyPort}`), "certctl.test", port, AbortSignal.timeout(5000))
  const socket = await through("user:right")
  socket.destroy()
  expect(asked).toEqual([`CONNECT certctl.test:${port} HTTP/1.1`])
  await expect(through("user:wrong")).rejects.toThrow("wants a user and a password")
  const nobody = new URL("http://127.0.0.1:1")
  await expect(tunnel(nobody, "a", 1, AbortSignal.timeout(5000))).rejects.toThrow(
    "the proxy 127.0.0.1:1 cannot be used",
  )
})
