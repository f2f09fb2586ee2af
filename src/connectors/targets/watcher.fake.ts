/**
 * A server that watches the files of its certificate, as Traefik's file provider and Envoy's secret discovery do: it acts when a
 * watched file is moved into place, not on what is written in place, reads certificate and key then, takes them only as a
 * pair, and serves that pair. What it refuses it logs, and goes on with what it had.
 *
 * Start by hand: `bun src/connectors/targets/watcher.fake.ts FOLDER [sds]` watches cert.pem and key.pem in it.
 */
import { X509Certificate } from "node:crypto"
import { type FSWatcher, readFileSync, statSync, watch } from "node:fs"
import type { AddressInfo } from "node:net"
import { isAbsolute, join } from "node:path"
import { createServer } from "node:tls"
import * as v from "valibot"
import { messageOf } from "../../errors"
import { readPrivateKey } from "../../pki/keys"
import { certificateBlocks } from "../../pki/pem"

/** DiscoveryResponse with one Secret, as the documentation of Envoy shows it. Unknown fields are an error there, so they are here. */
const filename = v.strictObject({ filename: v.pipe(v.string(), v.check(isAbsolute, "must be absolute")) })
const SecretFile = v.strictObject({
  version_info: v.optional(v.string()),
  resources: v.tuple([
    v.strictObject({
      "@type": v.literal("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"),
      name: v.literal("server_cert"),
      tls_certificate: v.strictObject({ certificate_chain: filename, private_key: filename }),
    }),
  ]),
})

export interface WatcherOptions {
  readonly folder: string
  /** Watches `sds.json` alone, which names certificate and key. */
  readonly readsSds?: boolean
  readonly certFile?: string
  readonly keyFile?: string
}

export interface Watcher {
  readonly port: number
  /** What it took up, oldest first: the serial numbers of the leaves. */
  readonly taken: readonly string[]
  readonly refused: readonly string[]
  close(): Promise<void>
}

/** Fails when what is there at the start is no pair. */
export const startWatcher = async (options: WatcherOptions, port = 0): Promise<Watcher> => {
  const { folder, readsSds = false, certFile = "cert.pem", keyFile = "key.pem" } = options
  const at = (name: string) => join(folder, name)
  const sdsPath = at("sds.json")
  const watched = readsSds ? ["sds.json"] : [certFile, keyFile]
  const taken: string[] = []
  const refused: string[] = []

  const currentPair = () => {
    let paths = { cert: at(certFile), key: at(keyFile) }
    if (readsSds) {
      const { tls_certificate } = v.parse(SecretFile, JSON.parse(readFileSync(sdsPath, "utf8"))).resources[0]
      paths = { cert: tls_certificate.certificate_chain.filename, key: tls_certificate.private_key.filename }
    }
    const cert = readFileSync(paths.cert, "utf8")
    const key = readFileSync(paths.key, "utf8")
    const [leaf] = certificateBlocks(cert).map((der) => new X509Certificate(der))
    if (leaf === undefined) throw new Error(`${paths.cert} holds no certificate`)
    if (!leaf.checkPrivateKey(readPrivateKey(key))) throw new Error("certificate and key do not match")
    return { cert, key, serial: leaf.serialNumber }
  }

  const first = currentPair()
  taken.push(first.serial)
  const server = createServer(first, (socket) => socket.end("ok"))
  // A client that leaves in the middle of a handshake is its own affair.
  server.on("tlsClientError", () => undefined)

  const inodeOf = (name: string) => statSync(at(name), { throwIfNoEntry: false })?.ino
  const inodes = new Map(watched.map((name) => [name, inodeOf(name)]))
  const onEvent = (name: string) => {
    const inode = inodeOf(name)
    // Written in place, the file is still the same one: no move, no event for those who watch moves.
    if (inode === undefined || inode === inodes.get(name)) return
    inodes.set(name, inode)
    try {
      const pair = currentPair()
      if (pair.serial === taken.at(-1)) return
      server.setSecureContext(pair)
      taken.push(pair.serial)
    } catch (error) {
      refused.push(messageOf(error))
    }
  }
  const watcher: FSWatcher = watch(folder, (_kind, name) => {
    if (name !== null && watched.includes(name)) onEvent(name)
  })
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve))

  return {
    port: (server.address() as AddressInfo).port,
    taken,
    refused,
    async close() {
      watcher.close()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

if (import.meta.main) {
  const [folder = ".", kind] = process.argv.slice(2)
  const { port } = await startWatcher({ folder, readsSds: kind === "sds" })
  console.log(`https://127.0.0.1:${port}/`)
}
