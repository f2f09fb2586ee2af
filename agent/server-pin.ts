/**
 * Meets a server whose CA this host does not know yet. The join token names the SHA-256 of that CA's certificate, and came
 * from a person: the server is believed when its chain leads to exactly that CA and carries the name it was called by.
 * Nothing is sent on this connection.
 */
import { timingSafeEqual } from "node:crypto"
import { isIP } from "node:net"
import { checkServerIdentity, connect, type TLSSocket } from "node:tls"
import { outboundProxy, tunnel } from "../src/client/outbound-proxy"
import type { Clock } from "../src/clock"
import { peerChain } from "../src/connectors/probe"
import { AppError, messageOf } from "../src/errors"
import { fingerprintOf } from "../src/pki/certificate"
import { toPem } from "../src/pki/pem"
import { chainOf, verifyChain } from "../src/pki/trust"

const timeoutMs = 10_000

/** The CA's certificate, PEM. Fails with `unavailable` when the server cannot be reached or is not the one of the token. */
export const pinnedAuthority = async (server: string, pin: string, clock: Clock): Promise<string> => {
  const url = new URL(server)
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  const { chain, nameProblem } = await presentedBy(
    host,
    url.port === "" ? 443 : Number(url.port),
    outboundProxy(url, process.env),
  )
  const leaf = chain[0]
  const authority = chain.find((der) => isPinned(der, pin))
  if (leaf === undefined || authority === undefined) {
    throw new AppError(
      "unavailable",
      `${server} is not the server this token was made for: it does not show the CA certificate the token names (${pin}). Check the URL, or make a new token (certctl agents token create)`,
    )
  }
  const path = leaf.equals(authority) ? [] : chainOf(leaf, chain.slice(1))
  const isComplete = leaf.equals(authority) || path.some((der) => der.equals(authority))
  const problem = isComplete ? verifyChain(leaf, path, clock.now()) : "it was not issued by the CA it is sent with"
  if (problem !== null) {
    throw new AppError(
      "unavailable",
      `the certificate of ${server} cannot be trusted: ${problem} (this host's clock says ${clock.now().toISOString()})`,
    )
  }
  if (nameProblem !== null) {
    throw new AppError("unavailable", `${server} must be called by a name of its certificate: ${nameProblem}`)
  }
  return toPem("CERTIFICATE", authority)
}

const isPinned = (der: Buffer, pin: string): boolean =>
  timingSafeEqual(Buffer.from(fingerprintOf(der), "hex"), Buffer.from(pin, "hex"))

const presentedBy = async (
  host: string,
  port: number,
  proxy: URL | null,
): Promise<{ chain: Buffer[]; nameProblem: string | null }> => {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>()
  const way =
    proxy === null ? { host, port } : { socket: await tunnel(proxy, host, port, AbortSignal.timeout(timeoutMs)) }
  const socket = connect({ ...way, servername: isIP(host) === 0 ? host : "", rejectUnauthorized: false })
  const timer = setTimeout(() => reject(new Error(`no TLS handshake within ${timeoutMs / 1000} s`)), timeoutMs)
  socket.once("secureConnect", () => resolve(socket))
  socket.on("error", reject)
  try {
    await promise
    const nameProblem = checkServerIdentity(host, socket.getPeerCertificate())
    return { chain: peerChain(socket), nameProblem: nameProblem === undefined ? null : nameProblem.message }
  } catch (error) {
    throw new AppError("unavailable", `cannot reach ${host}:${port}: ${messageOf(error)}`, { cause: error })
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}
