/** `certctl server`: the control plane in one process. */
import { randomUUID } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { systemClock } from "../clock"
import { type Config, readConfig } from "../config"
import { holdDataDirectory, prepareDataDirectory, writePrivateFile } from "../data-directory"
import { migrate } from "../db/migrate"
import { openDatabase } from "../db/open"
import { hasSealedRows, openOneSealedRow } from "../db/sealed-rows"
import { embeddedFolder } from "../embed"
import { configureLogging, logger } from "../logging"
import { knownEncryptionKey, loadOrCreateEncryptionKey } from "../secrets/encryption-key"
import { openSealer } from "../secrets/sealing"
import { startListener } from "../server/listener"
import { openTlsSource } from "../server/open-tls"
import { version } from "../version"
import { wire } from "../wiring"
import { nativeBindingIn } from "./native-binding"

/** Loops get this long to come to an end. */
const loopGraceMs = 30_000

/** Stays the same over restarts, so that a server finds the leases it held. */
const serverIdIn = (dataDir: string): string => {
  const path = join(dataDir, "server-id")
  if (existsSync(path)) return readFileSync(path, "utf8").trim()
  const id = `srv-${randomUUID()}`
  writePrivateFile(path, `${id}\n`)
  return id
}

/** An unreadable file is the later reader's to complain about. */
const knownKey = ({ dataDir, encryptionKey }: Config): string | null => {
  try {
    return knownEncryptionKey({ dataDir, configured: encryptionKey })
  } catch {
    return null
  }
}

export interface RunningServer {
  readonly url: string
  readonly config: Config
  /** The first admin key, when this start made it. */
  readonly firstKey: { readonly key: string; readonly path: string } | null
  readonly caCertificatePem: string | null
  readonly wired: ReturnType<typeof wire>
  stop(): Promise<void>
}

/**
 * Opens everything in order and listens. Throws AppError with one clear line, before anything listens, where the server must
 * not start.
 */
export const startServer = async (env: Readonly<Record<string, string | undefined>>): Promise<RunningServer> => {
  const config = readConfig(env)
  configureLogging(config.log)
  const log = logger("server")
  for (const warning of config.warnings) log.warn("{warning}", { warning })

  prepareDataDirectory(config.dataDir)
  const letGo = holdDataDirectory(config.dataDir, "server")
  // Deriving the key takes tens of milliseconds on another thread: begun before the database is opened, it costs nothing.
  const known = config.database.dialect === "sqlite" ? knownKey(config) : config.encryptionKey
  const earlySealer = known === null ? null : openSealer({ passphrase: known })
  const db = await openDatabase({
    url: config.database.url,
    dataDir: config.dataDir,
    maxConnections: config.database.maxConnections,
    nativeBinding: config.database.dialect === "sqlite" ? nativeBindingIn(config.dataDir) : undefined,
    logger: logger("db"),
  })
  try {
    const { applied } = await migrate(db, { folder: embeddedFolder("drizzle") })
    if (applied.length > 0) log.info("migrated the database: {applied}", { applied })
    const passphrase = loadOrCreateEncryptionKey({
      dataDir: config.dataDir,
      configured: config.encryptionKey,
      dialect: config.database.dialect,
      sealedRowsExist: await hasSealedRows(db),
    })
    const sealer = await (passphrase === known && earlySealer !== null ? earlySealer : openSealer({ passphrase }))
    // Proven before anything listens, on another thread while the rest is being opened.
    const proof = openOneSealedRow(db, sealer.unseal).then(
      () => null,
      (error: unknown) => ({ error }),
    )

    const { source: tls, ownCa } = await openTlsSource({
      tls: config.tls,
      dataDir: config.dataDir,
      host: config.server.host,
      publicUrl: config.server.publicUrl,
      clock: systemClock,
      log: {
        info: (line) => log.info("{line}", { line }),
        warn: (line) => log.warn("{line}", { line }),
        error: (line) => log.error("{line}", { line }),
      },
    })
    const wired = wire({
      config,
      db,
      sealer,
      clock: systemClock,
      serverId: serverIdIn(config.dataDir),
      caFingerprint: ownCa?.caFingerprint ?? "",
    })
    const refuted = await proof
    if (refuted !== null) throw refuted.error
    const firstKey = await wired.prepare()
    const listener = startListener({
      host: config.server.host,
      port: config.server.port,
      tls,
      maxRequestBytes: Math.max(16 * 1_048_576, 2 * config.server.maxBodyBytes),
      fetch: (request, exchange) => wired.app.fetch(request, exchange),
      onError: (error) => log.error("request failed outside the application: {error}", { error }),
    })
    // Relying parties fetch lists and OCSP answers over plain HTTP: what is signed needs no TLS, and TLS would need them.
    const pkiListener =
      config.pki.httpPort === 0
        ? null
        : startListener({
            host: config.server.host,
            port: config.pki.httpPort,
            tls: null,
            fetch: (request, exchange) =>
              new URL(request.url).pathname.startsWith("/.well-known/pki/")
                ? wired.app.fetch(request, exchange)
                : Response.json({ error: "Not Found" }, { status: 404 }),
            onError: (error) => log.error("request failed outside the application: {error}", { error }),
          })
    await wired.scheduler.start()
    log.info("listening on {url}", { url: listener.url, version: version.version, database: db.dialect })
    if (firstKey !== null) log.info("made the first admin key: it is in {path}", { path: firstKey.path })

    let stopping: Promise<void> | undefined
    const shutDown = async (): Promise<void> => {
      log.info("stopping")
      listener.drain()
      wired.drain()
      await wired.scheduler.stop(loopGraceMs)
      const until = performance.now() + config.server.auditFlushMs
      await Promise.all([listener, pkiListener].map((open) => open?.stop(config.server.auditFlushMs)))
      await wired.close(Math.max(0, until - performance.now()))
      tls?.close()
      await db.close()
      letGo()
      log.info("stopped")
    }
    return {
      url: listener.url,
      config,
      firstKey,
      caCertificatePem: ownCa?.caCertificatePem ?? null,
      wired,
      stop: () => (stopping ??= shutDown()),
    }
  } catch (error) {
    await db.close()
    throw error
  }
}

/** Runs until SIGTERM or SIGINT; resolves with the exit code. */
export const runServer = async (env: Readonly<Record<string, string | undefined>>): Promise<number> => {
  const { promise: asked, resolve } = Promise.withResolvers<void>()
  process.once("SIGTERM", resolve)
  process.once("SIGINT", resolve)
  const server = await startServer(env)
  // A journal is a log: the key itself is for a terminal only.
  if (server.firstKey !== null && process.stdout.isTTY) {
    process.stdout.write(`Console:    ${server.config.server.publicUrl}\nAdmin key:  ${server.firstKey.key}\n`)
  }
  await asked
  await server.stop()
  return 0
}
