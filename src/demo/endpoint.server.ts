/**
 * The TLS endpoint of the demo: a web server of one page that serves the pair of files in its folder and takes a new pair up
 * without dropping a connection, as NGINX does after a reload.
 */
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { join } from "node:path"
import { createServer as createTlsServer } from "node:tls"
import { AppError, messageOf } from "../errors"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { parseCertificate, splitChain } from "../pki/certificate"
import { generateKey, keysMatch, privateKeyPem, readPrivateKey, spkiOf } from "../pki/keys"

export const pairIn = (folder: string) => ({ certPath: join(folder, "site.pem"), keyPath: join(folder, "site.key") })

/** Where `reload` asks; nothing but a reread of the files can be had there, so anybody on this machine may. */
export const reloadPath = "/-/reload"

interface Pair {
  readonly cert: string
  readonly key: string
  readonly fingerprint: string
}

/** The pair on the disk. Throws `validation` unless certificate and key can be read, belong together and are valid now. */
export const readPair = (folder: string, now: Date): Pair => {
  const { certPath, keyPath } = pairIn(folder)
  try {
    const cert = readFileSync(certPath, "utf8")
    const key = readFileSync(keyPath, "utf8")
    const leaf = parseCertificate(splitChain(cert).leafPem)
    if (!keysMatch(readPrivateKey(key), leaf.der)) throw new AppError("validation", `${keyPath} is not its key`)
    if (now < leaf.notBefore || now >= leaf.notAfter) throw new AppError("validation", "it is not valid now")
    return { cert, key, fingerprint: leaf.fingerprint }
  } catch (error) {
    throw new AppError("validation", `${certPath} cannot be served: ${messageOf(error)}`, { cause: error })
  }
}

/** What is shown until the first deployment. */
const placeholder = async (now: Date): Promise<Pair> => {
  const hourMs = 3_600_000
  const validity = { notBefore: new Date(now.getTime() - hourMs), notAfter: new Date(now.getTime() + 24 * hourMs) }
  const commonName = "nothing deployed yet"
  const { certPem, privateKey } = await createRootAuthority({ keyType: "ecdsa-p256", commonName, ...validity })
  const key = await generateKey("ecdsa-p256")
  const leaf = await openAuthority({ certPem, chainPem: certPem, privateKey }).sign({
    spkiDer: spkiOf(key),
    subjectCommonName: commonName,
    sans: [],
    ekus: ["serverAuth"],
    ...validity,
  })
  return { cert: leaf.certPem, key: privateKeyPem(key), fingerprint: leaf.fingerprint }
}

const page = (fingerprint: string): string => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>certctl demo endpoint</title>
<h1>Served by the certctl demo endpoint</h1>
<p>This connection is secured by the certificate with the SHA-256 fingerprint</p>
<p><code>${fingerprint}</code></p>
</html>
`

export interface DemoEndpoint {
  readonly port: number
  close(): void
}

/** Listens on 127.0.0.1 at `port`, or at a free port where that one is taken. `now` is asked at every reload. */
export const startDemoEndpoint = async (folder: string, port: number, now: () => Date): Promise<DemoEndpoint> => {
  const pairAtStart = async (): Promise<Pair> => {
    try {
      return readPair(folder, now())
    } catch (error) {
      if (error instanceof AppError) return placeholder(now())
      throw error
    }
  }
  let pair = await pairAtStart()

  const reload = (response: ServerResponse): void => {
    try {
      pair = readPair(folder, now())
      tls.setSecureContext(pair)
      response.writeHead(200, { "content-type": "text/plain" }).end(`${pair.fingerprint}\n`)
    } catch (error) {
      response.writeHead(500, { "content-type": "text/plain" }).end(`${messageOf(error)}\n`)
    }
  }
  const http = createServer((request: IncomingMessage, response) => {
    request.resume()
    if (request.method === "POST" && request.url === reloadPath) return reload(response)
    const isPage = request.method === "GET" || request.method === "HEAD"
    const html = { "content-type": "text/html; charset=utf-8", "content-security-policy": "default-src 'none'" }
    if (isPage) response.writeHead(200, html).end(request.method === "GET" ? page(pair.fingerprint) : undefined)
    else response.writeHead(405).end()
  })
  // A TLS server in front of a plain one: Bun's node:https has no setSecureContext.
  const tls = createTlsServer({ cert: pair.cert, key: pair.key }, (socket) => {
    // Clients that go away in the middle are their own business.
    socket.on("error", () => socket.destroy())
    http.emit("connection", socket)
  })

  const listen = (at: number): Promise<number> => {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    tls.once("error", reject)
    tls.listen(at, "127.0.0.1", () => {
      tls.off("error", reject)
      const address = tls.address()
      resolve(typeof address === "object" && address !== null ? address.port : at)
    })
    return promise
  }
  const bound = await listen(port).catch((error) => {
    if (port !== 0 && error instanceof Error && "code" in error && error.code === "EADDRINUSE") return listen(0)
    throw error
  })
  return {
    port: bound,
    close() {
      http.closeAllConnections()
      tls.close()
    },
  }
}
