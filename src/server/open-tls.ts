/** Where the listener's certificate comes from: the server's own CA, the operator's files, or nowhere. */
import type { Clock } from "../clock"
import type { TlsSettings } from "../config"
import { openCertificateFiles } from "./certificate-files"
import { type OwnCertificate, openOwnCertificate, serverNames } from "./own-certificate"
import type { TlsLog, TlsSource } from "./tls-source"

export interface TlsSourceDeps {
  readonly tls: TlsSettings
  readonly dataDir: string
  /** The address that the listener binds. */
  readonly host: string
  readonly publicUrl: string
  readonly clock: Clock
  readonly log: TlsLog
}

export interface OpenedTls {
  /** null: plain HTTP. */
  readonly source: TlsSource | null
  /** The server's own CA; null when it has none (`files`, `off`). */
  readonly ownCa: Pick<OwnCertificate, "caCertificatePem" | "caFingerprint"> | null
}

/** Throws `validation` when the operator's files cannot be used. */
export const openTlsSource = async ({
  tls,
  dataDir,
  host,
  publicUrl,
  clock,
  log,
}: TlsSourceDeps): Promise<OpenedTls> => {
  if (tls.mode === "off") return { source: null, ownCa: null }
  if (tls.mode === "files") return { source: await openCertificateFiles({ ...tls, log }), ownCa: null }
  const names = () => serverNames(host, publicUrl)
  const own = await openOwnCertificate({ dataDir, names, lifetimeMs: tls.lifetimeMs, clock, log })
  return { source: own, ownCa: own }
}
