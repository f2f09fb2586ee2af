/**
 * The way out where hosts may not talk to the server directly: HTTPS_PROXY, HTTP_PROXY and NO_PROXY as curl and Go read them. The
 * proxy carries bytes (CONNECT, RFC 9110 section 9.3.6): the server's certificate is verified through it as without it.
 */
import { BlockList, connect, isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { AppError } from "../errors"
import { isLoopback } from "./server-url"

type Env = Readonly<Record<string, string | undefined>>

/** Both spellings are in use; an empty value means "none". */
const variable = (env: Env, name: string): string => (env[name.toLowerCase()] ?? env[name] ?? "").trim()

const bare = (host: string): string => host.replace(/^\[(.*)\]$/, "$1").toLowerCase()

const isInRange = (host: string, range: string): boolean => {
  const [, network = "", bits = ""] = /^(.+)\/(\d{1,3})$/.exec(range) ?? []
  const kind = isIP(network)
  if (kind === 0 || isIP(host) !== kind || Number(bits) > (kind === 4 ? 32 : 128)) return false
  const family = kind === 4 ? "ipv4" : "ipv6"
  const list = new BlockList()
  list.addSubnet(network, Number(bits), family)
  return list.check(host, family)
}

/** Whether an entry of NO_PROXY means this host: `*`, a name and all names below it, an address, a range, each with or without port. */
const excepts = (entry: string, host: string, port: string): boolean => {
  if (entry === "*") return true
  if (entry.includes("/")) return isInRange(host, entry)
  const [, name = entry, only = ""] = isIP(entry) === 6 ? [] : (/^(.*?)(?::(\d+))?$/.exec(entry) ?? [])
  if (only !== "" && only !== port) return false
  const wanted = bare(name).replace(/^\*?\./, "")
  return wanted !== "" && (host === wanted || (isIP(host) === 0 && host.endsWith(`.${wanted}`)))
}

/** The proxy for a URL, or null. This machine is never reached through one. Fails with `validation` when it is no HTTP proxy. */
export const outboundProxy = (url: URL, env: Env): URL | null => {
  const name = url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY"
  const value = variable(env, name)
  if (value === "" || isLoopback(url.hostname)) return null
  const host = bare(url.hostname)
  const port = url.port || (url.protocol === "https:" ? "443" : "80")
  const exceptions = variable(env, "NO_PROXY")
    .toLowerCase()
    .split(/[\s,]+/)
  if (exceptions.some((entry) => entry !== "" && excepts(entry, host, port))) return null
  const proxy = URL.parse(value.includes("://") ? value : `http://${value}`)
  if (proxy === null || !/^https?:$/.test(proxy.protocol) || proxy.hostname === "") {
    // Its value may hold a password.
    throw new AppError("validation", `${name} must look like http://proxy.example:3128`)
  }
  return proxy
}

const longestAnswer = 8 * 1024

/** A connection to `host:port` through the proxy. Fails with `unavailable`; the time limit is the caller's. */
export const tunnel = async (proxy: URL, host: string, port: number, signal: AbortSignal): Promise<Socket> => {
  const socket =
    proxy.protocol === "https:"
      ? connectTls({ host: bare(proxy.hostname), port: Number(proxy.port || 443), servername: proxy.hostname })
      : connect({ host: bare(proxy.hostname), port: Number(proxy.port || 80) })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const fail = (words: string) => reject(new AppError("unavailable", `the proxy ${proxy.host} ${words}`))
  const onError = (error: Error) => fail(`cannot be used: ${error.message}`)
  const onAbort = () => fail("did not answer in time")
  let answer = ""
  const onData = (chunk: Buffer) => {
    answer += chunk.toString("latin1")
    const end = answer.indexOf("\r\n\r\n")
    if (end === -1) return answer.length > longestAnswer ? fail("does not speak HTTP") : undefined
    const [, status = ""] = /^HTTP\/1\.[01] (\d{3})/.exec(answer) ?? []
    if (status === "407") return fail("wants a user and a password (http://user:password@proxy:port)")
    if (!status.startsWith("2")) return fail(`refused the connection to ${host}:${port}: ${answer.split("\r\n")[0]}`)
    return answer.length > end + 4 ? fail("sent what nobody asked for") : resolve()
  }
  socket
    .on("data", onData)
    .on("error", onError)
    .once("close", () => fail("closed the connection"))
  signal.addEventListener("abort", onAbort, { once: true })
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
  const credentials =
    proxy.username === ""
      ? ""
      : `Proxy-Authorization: Basic ${Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString("base64")}\r\n`
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${credentials}\r\n`)
  try {
    await promise
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener("abort", onAbort)
    socket.off("data", onData)
  }
  socket.pause()
  return socket
}
