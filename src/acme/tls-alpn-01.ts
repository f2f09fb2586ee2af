/** Proof in a TLS handshake (RFC 8737): a self-signed certificate that holds the digest of the key authorization. */
import { timingSafeEqual } from "node:crypto"
import { connect, type TLSSocket } from "node:tls"
import { type OutboundRules, type ResolveHost, resolveOutbound } from "../connectors/outbound-address"
import { openFrame, parseCertificate } from "../pki/certificate"
import { DerReader, tags } from "../pki/der.reader"
import { readExtensions } from "../pki/extensions"
import { digestOf, ValidationError, type Validator } from "./validation"

interface Options {
  /** 443; another one in tests. */
  readonly port?: number
  readonly rules?: OutboundRules
  readonly resolve?: ResolveHost
}

const protocol = "acme-tls/1"
const acmeIdentifier = "1.3.6.1.5.5.7.1.31"
const refuse = (detail: string, cause?: unknown) => new ValidationError("incorrectResponse", detail, { cause })

/** DER of the leaf that is shown for the name. */
const leafOf = (host: string, port: number, name: string, signal: AbortSignal): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const socket: TLSSocket = connect({
    host,
    port,
    servername: name,
    ALPNProtocols: [protocol],
    // Self-signed by design: its content is the proof.
    rejectUnauthorized: false,
  })
  const abort = () => reject(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  if (signal.aborted) abort()
  socket.once("secureConnect", () => {
    if (socket.alpnProtocol !== protocol) reject(refuse(`the server does not speak ${protocol}`))
    else {
      const { raw } = socket.getPeerCertificate(true)
      if (raw === undefined) reject(refuse("the server showed no certificate"))
      else resolve(Buffer.from(raw))
    }
  })
  socket.once("error", (cause) => {
    const isTls = "code" in cause && /SSL|TLS/i.test(String(cause.code))
    reject(isTls ? new ValidationError("tls", "the TLS handshake failed", { cause }) : cause)
  })
  return promise.finally(() => {
    signal.removeEventListener("abort", abort)
    socket.destroy()
  })
}

/**
 * RFC 8737 section 3: one name, the digest in a critical extension, nothing else counts.
 * @throws ValidationError
 */
export const checkProofCertificate = (der: Buffer, name: string, keyAuthorization: string): void => {
  const { sans, otherNames } = parseCertificate(der)
  const [san] = sans
  if (sans.length !== 1 || otherNames.length > 0 || san?.type !== "dns" || san.value.toLowerCase() !== name) {
    throw refuse(`the certificate must have ${name} as its only name`)
  }
  const { extensionsDer } = openFrame(der)
  const list =
    extensionsDer === null
      ? []
      : readExtensions(new DerReader(extensionsDer, "extensions").enter(tags.sequence), "extensions")
  const found = list.filter(({ oid }) => oid === acmeIdentifier)
  const [extension] = found
  if (extension === undefined || found.length > 1)
    throw refuse("the certificate must have one acmeIdentifier extension")
  if (!extension.critical) throw refuse("the acmeIdentifier extension must be critical")
  const reader = new DerReader(extension.value, "acmeIdentifier")
  const digest = reader.next(tags.octetString).content
  reader.end()
  const wanted = digestOf(keyAuthorization)
  if (digest.length !== wanted.length || !timingSafeEqual(digest, wanted)) {
    throw refuse("the acmeIdentifier extension is not the digest of the key authorization")
  }
}

export const tlsAlpn01 =
  ({ port = 443, rules, resolve }: Options = {}): Validator =>
  async ({ name, keyAuthorization, signal }) => {
    const addresses = await resolveOutbound(name, rules, resolve)
    let der: Buffer | undefined
    let failure: unknown
    for (const address of addresses.slice(0, 4)) {
      try {
        der = await leafOf(address, port, name, signal)
        break
      } catch (error) {
        // The next address is for one that cannot be reached; a wrong answer is an answer.
        if (error instanceof ValidationError || signal.aborted) throw error
        failure = error
      }
    }
    if (der === undefined) throw failure
    try {
      checkProofCertificate(der, name, keyAuthorization)
    } catch (cause) {
      throw cause instanceof ValidationError ? cause : refuse("the certificate could not be read", cause)
    }
  }
