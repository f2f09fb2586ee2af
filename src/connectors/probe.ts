/**
 * Asks an endpoint for the certificate it serves. Nothing is trusted and nothing is sent after the handshake: the answer
 * is an observation, whether it is a good certificate is for the caller to say.
 */
import { createHash, X509Certificate } from "node:crypto"
import { isIP, connect as openConnection, type Socket } from "node:net"
import { connect, type PeerCertificate, type TLSSocket } from "node:tls"
import { messageOf } from "../errors"
import { askForTls } from "./start-tls"

/** Protocols that begin in clear and change to TLS on the same connection. */
export const startTlsProtocols = ["smtp", "imap", "pop3", "ldap", "postgres"] as const
export type StartTls = (typeof startTlsProtocols)[number]

export interface ProbeRequest {
  /** Name or IP literal, without brackets. */
  readonly host: string
  readonly port: number
  /** Sent as SNI instead of the host. An IP literal is never sent (RFC 6066 section 3). */
  readonly serverName?: string
  /** Spoken before the handshake; left out, TLS begins at once. */
  readonly startTls?: StartTls
  /** Covers name lookup, connection, prologue and handshake together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface ServedCertificate {
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string
  /** "TLSv1.2" or "TLSv1.3"; empty when the handshake failed after the certificate had arrived. */
  readonly tlsVersion: string
  /** IANA name. */
  readonly cipherSuite: string
  /** Common names; empty when there is none. */
  readonly subject: string
  readonly issuer: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** Lower-case hex without leading zeros. */
  readonly serial: string
  /** Leaf first, as the server sent them. */
  readonly chainDer: readonly Buffer[]
}

export type ProbeResult = { readonly address: string; readonly responseMs: number } & (
  | { readonly ok: true; readonly served: ServedCertificate }
  | { readonly ok: false; readonly error: string }
)

/** `host:port`, with brackets round IPv6 literals. */
export const addressOf = (host: string, port: number): string => `${isIP(host) === 6 ? `[${host}]` : host}:${port}`

/** Never rejects: what went wrong is part of the result. */
export const probe = async (request: ProbeRequest): Promise<ProbeResult> => {
  const address = addressOf(request.host, request.port)
  const started = performance.now()
  const outcome = await handshake(request)
  const responseMs = Math.round(performance.now() - started)
  return typeof outcome === "string"
    ? { address, responseMs, ok: false, error: outcome }
    : { address, responseMs, ok: true, served: outcome }
}

const handshake = ({
  host,
  port,
  serverName,
  startTls,
  timeoutMs,
  signal,
}: ProbeRequest): Promise<ServedCertificate | string> => {
  const { promise, resolve } = Promise.withResolvers<ServedCertificate | string>()
  const name = serverName ?? host
  let plain: Socket | null = null
  let secure: TLSSocket | null = null
  let isOver = false
  const fail = (reason: string) => {
    try {
      resolve((secure === null ? null : certificateOf(secure)) ?? reason)
    } catch (error) {
      resolve(`the server's certificate cannot be read: ${messageOf(error)}`)
    }
  }
  const beginTls = () => {
    if (isOver) return
    secure = connect({
      ...(plain === null ? { host, port } : { socket: plain }),
      servername: isIP(name) === 0 ? name : "",
      rejectUnauthorized: false,
      minVersion: "TLSv1",
      checkServerIdentity: () => undefined,
    })
    secure.once("secureConnect", () => fail("the server sent no certificate"))
    // A server that demands a client certificate (TLS 1.2) fails the handshake after it has shown its own.
    secure.on("error", (error) => fail(messageOf(error)))
    secure.once("close", () => fail("the server closed the connection during the handshake"))
  }
  const timer = setTimeout(() => fail(`no TLS handshake within ${timeoutMs / 1000} s`), timeoutMs)
  const onAbort = () => resolve("the probe was cancelled")
  signal?.addEventListener("abort", onAbort, { once: true })
  if (signal?.aborted) onAbort()

  if (startTls === undefined) {
    beginTls()
  } else {
    plain = openConnection({ host, port })
    // Errors after the prologue reach us through the TLS socket; this one keeps a late one from ending the process.
    plain.on("error", (error) => fail(messageOf(error)))
    askForTls(plain, startTls).then(beginTls, (error) => fail(messageOf(error)))
  }

  return promise.finally(() => {
    isOver = true
    clearTimeout(timer)
    signal?.removeEventListener("abort", onAbort)
    secure?.destroy()
    plain?.destroy()
  })
}

const certificateOf = (socket: TLSSocket): ServedCertificate | null => {
  const chainDer = peerChain(socket)
  const leafDer = chainDer[0]
  if (leafDer === undefined) return null
  const leaf = new X509Certificate(leafDer)
  return {
    fingerprint: createHash("sha256").update(leafDer).digest("hex"),
    tlsVersion: socket.getProtocol() ?? "",
    cipherSuite: socket.getCipher()?.standardName ?? "",
    subject: commonNameIn(leaf.subject),
    issuer: commonNameIn(leaf.issuer),
    notBefore: new Date(leaf.validFrom),
    notAfter: new Date(leaf.validTo),
    serial: leaf.serialNumber.toLowerCase().replace(/^0+(?=.)/, ""),
    chainDer,
  }
}

/** The certificates of the handshake, leaf first. The linked list ends with a certificate that names itself. */
export const peerChain = (socket: TLSSocket): Buffer[] => {
  const chain: Buffer[] = []
  const seen = new Set<string>()
  let current: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = socket.getPeerCertificate(true)
  while (current?.raw !== undefined && !seen.has(current.fingerprint256)) {
    seen.add(current.fingerprint256)
    chain.push(Buffer.from(current.raw))
    current = current.issuerCertificate
  }
  return chain
}

/** The first CN of OpenSSL's one-attribute-per-line form. */
const commonNameIn = (name: string | undefined): string => /^CN=(.*)$/m.exec(name ?? "")?.[1] ?? ""
