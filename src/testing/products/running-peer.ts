/** A product started in a folder of its own, never the machine's service, and what a client of it sees. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import { probe } from "../../connectors/probe"
import type { Authority } from "../../pki/authority"
import type { Deployable } from "../deploying"
import { freePort } from "../free-port"
import type { Stage } from "../stage"
import { until } from "../until"
import { nameOf, type Peer, type PeerProduct, type PeerStage, serverName } from "./product"

export interface Load {
  readonly connections: number
  readonly failures: string[]
  /** Fingerprints. */
  readonly seen: ReadonlySet<string>
}

export interface RunningPeer<P extends Peer> {
  readonly stage: PeerStage
  /** Its configuration has what the proof on the wire needs, too. */
  readonly peer: P
  /** Of the first pair. */
  readonly authority: Authority
  leaf(): Promise<Deployable>
  /** What its configuration includes beside the certificate, when it reads it next; "" is what it begins with. */
  include(line: string): void
  /** Fingerprint of what a new connection is shown, or why there was none. */
  served(): Promise<string>
  serves(fingerprint: string): Promise<void>
  /** New connections, one after another, until it is stopped. */
  hammer(): { succeeded(): number; stop(): Promise<Load> }
}

/** Resolves when it serves its first certificate, if it has one. */
export const startPeer = async <P extends Peer>(stage: Stage, product: PeerProduct<P>): Promise<RunningPeer<P>> => {
  const { program, startTls, isBare = false } = product
  // Products drop their rights and still read their own files.
  chmodSync(stage.folder, 0o755)
  const authority = await testAuthority()
  const leaf = () => testLeaf(authority, [serverName])
  const initial = await leaf()
  const tls = stage.at("tls")
  mkdirSync(tls)
  const first = { cert: join(tls, "cert.pem"), key: join(tls, "key.pem"), combined: join(tls, "site.pem") }
  const peerStage: PeerStage = {
    ...stage,
    port: await freePort(),
    first,
    pair: { ...initial, chainPem: authority.certPem },
    extra: stage.at("extra.conf"),
    script(name, text) {
      const path = stage.at(name)
      writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
      return path
    },
  }
  writeFileSync(first.cert, initial.certPem + authority.certPem)
  writeFileSync(first.key, initial.keyPem, { mode: 0o600 })
  writeFileSync(first.combined, initial.certPem + authority.certPem + initial.keyPem, { mode: 0o600 })
  const include = (line: string) => writeFileSync(peerStage.extra, `${line}\n`)
  include("")
  const started = await product.start(peerStage, program ?? "")
  const config = {
    verify_host: "127.0.0.1",
    verify_port: peerStage.port,
    verify_server_name: serverName,
    ...(startTls === undefined ? {} : { verify_starttls: startTls }),
    // Workers of before a reload may take a last connection.
    post_deploy_verify_backoff: "50ms",
    post_deploy_verify_max_backoff: "500ms",
    post_deploy_verify_attempts: 15,
    ...started.config,
  }
  const look = (timeoutMs: number) =>
    probe({
      host: "127.0.0.1",
      port: peerStage.port,
      serverName,
      ...(startTls === undefined ? {} : { startTls }),
      timeoutMs,
    })
  const served = async () => {
    const result = await look(5000)
    return result.ok ? result.served.fingerprint : result.error
  }
  if (!isBare) await until(`${nameOf(product)} serves`, async () => /^[0-9a-f]{64}$/.test(await served()))
  return {
    stage: peerStage,
    peer: { ...started, config },
    authority,
    leaf,
    include,
    served,
    serves: (fingerprint) => until(`it serves ${fingerprint}`, async () => (await served()) === fingerprint),
    hammer() {
      let isOver = false
      let connections = 0
      const failures: string[] = []
      const seen = new Set<string>()
      const load = (async () => {
        while (!isOver) {
          const result = await look(20_000)
          connections++
          if (result.ok) seen.add(result.served.fingerprint)
          else failures.push(result.error)
        }
      })()
      return {
        succeeded: () => connections - failures.length,
        async stop() {
          isOver = true
          await load
          return { connections, failures, seen }
        },
      }
    },
  }
}

/** Whether a failure is one that the product's own way of reconfiguring explains. */
export const isExcused = ({ mayReset = false }: PeerProduct, failure: string): boolean =>
  mayReset && /ECONNRESET|closed/.test(failure)
