/**
 * The server's own CA and the certificate that it signs for the listener, in `<data dir>/tls`. The CA is what agents pin when they
 * join, so it stays; the server certificate is renewed when a third of its life remains and when the host has a new name.
 */
import { randomBytes, X509Certificate } from "node:crypto"
import { mkdirSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { hostname, networkInterfaces } from "node:os"
import { join } from "node:path"
import type { Clock } from "../clock"
import { writePrivateFile } from "../data-directory"
import { AppError, messageOf } from "../errors"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { type CertificateFacts, parseCertificate } from "../pki/certificate"
import { generateKey, keysMatch, privateKeyPem, readPrivateKey, spkiOf } from "../pki/keys"
import { nameKey, sanOf, sanProblem } from "../pki/names"
import { certificateBlocks, pemBlocks, toPem } from "../pki/pem"
import { changeSignal, type TlsLog, type TlsMaterial, type TlsSource } from "./tls-source"

export interface OwnCertificate extends TlsSource {
  readonly caCertificatePem: string
  /** SHA-256 of the CA certificate's DER in lower-case hex: the pin in join tokens. */
  readonly caFingerprint: string
}

export interface OwnCertificateOptions {
  readonly dataDir: string
  readonly names: () => readonly string[]
  readonly lifetimeMs: number
  readonly clock: Clock
  readonly log: TlsLog
}

const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs
/** Peers whose clock is behind must be able to use a certificate from its first moment. */
const backdateMs = 15 * minuteMs
const authorityLifetimeMs = 3652 * dayMs
const authorityWarningMs = 365 * dayMs

const wildcards = ["", "0.0.0.0", "::", "[::]"]
const isLinkLocal = (address: string): boolean => /^(fe[89ab][0-9a-f]:|169\.254\.)/i.test(address)

/** Every name under which clients may reach a server that binds `host` on this machine. */
export const serverNames = (host: string, publicUrl: string): string[] => {
  const addresses = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    // Link-local addresses carry a zone that certificates cannot.
    .filter(({ internal, address }) => !internal && !isLinkLocal(address))
    .map(({ address }) => address)
  const publicHost = new URL(publicUrl).hostname.replace(/^\[|\]$/g, "")
  const names = [hostname(), "localhost", "127.0.0.1", "::1", publicHost, ...addresses]
  if (!wildcards.includes(host)) names.push(host)
  const usable = names.filter((name) => sanProblem(name) === null)
  return [...new Map(usable.map((name) => [nameKey(name), sanOf(name).value])).values()]
}

const readIfThere = async (path: string): Promise<string | null> => {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null
    throw new AppError("validation", `cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
}

const openOwnAuthority = async (folder: string, { clock, log }: OwnCertificateOptions) => {
  const [certPath, keyPath] = [join(folder, "ca.pem"), join(folder, "ca.key")]
  const [storedCert, storedKey] = await Promise.all([readIfThere(certPath), readIfThere(keyPath)])
  if (storedCert !== null) {
    const facts = parseCertificate(storedCert)
    // A new CA would lock every agent out that pinned this one, so that must be somebody's decision.
    const remedy = `restore it, or remove ${folder} and join the agents again`
    if (storedKey === null)
      throw new AppError("validation", `${keyPath}, the key of the server's own CA, is missing: ${remedy}`)
    const privateKey = readPrivateKey(storedKey)
    if (!keysMatch(privateKey, facts.der)) {
      throw new AppError("validation", `${keyPath} does not belong to ${certPath}: ${remedy}`)
    }
    if (facts.notAfter.getTime() - clock.now().getTime() < authorityWarningMs) {
      const end = facts.notAfter.toISOString().slice(0, 10)
      log.warn(
        `the server's own CA ends on ${end}: remove ${folder}, restart and join the agents again before that day`,
      )
    }
    return { facts, privateKey }
  }
  const now = clock.now().getTime()
  const { certPem, privateKey } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName: `certctl server CA ${randomBytes(4).toString("hex")}`,
    notBefore: new Date(now - backdateMs),
    notAfter: new Date(now + authorityLifetimeMs),
  })
  // The certificate comes last: where it is missing nobody has seen this CA, and the next start makes another.
  writePrivateFile(keyPath, privateKeyPem(privateKey))
  writePrivateFile(certPath, certPem)
  return { facts: parseCertificate(certPem), privateKey }
}

type OwnAuthority = Awaited<ReturnType<typeof openOwnAuthority>>

interface ServerCertificate {
  readonly material: TlsMaterial
  readonly facts: CertificateFacts
}

/** One file holds key and chain, so that no crash can leave one without the other. */
const readServerCertificate = (text: string, authority: OwnAuthority): ServerCertificate | null => {
  try {
    const [leafDer] = certificateBlocks(text)
    const keyBlock = pemBlocks(text).find(({ label }) => label.endsWith("PRIVATE KEY"))
    if (leafDer === undefined || keyBlock === undefined) return null
    const facts = parseCertificate(leafDer)
    const keyPem = toPem(keyBlock.label, keyBlock.der)
    const signedByUs = new X509Certificate(facts.der).verify(new X509Certificate(authority.facts.der).publicKey)
    if (!signedByUs || !keysMatch(readPrivateKey(keyPem), facts.der)) return null
    return { material: { certificatePem: facts.pem + authority.facts.pem, privateKeyPem: keyPem }, facts }
  } catch (error) {
    // Damaged, and replaceable: the caller makes a new one.
    if (error instanceof AppError) return null
    throw error
  }
}

const issueServerCertificate = async (
  authority: OwnAuthority,
  names: readonly string[],
  lifetimeMs: number,
  now: Date,
): Promise<ServerCertificate> => {
  const key = await generateKey("ecdsa-p256")
  const caEnd = authority.facts.notAfter.getTime()
  if (caEnd <= now.getTime()) throw new AppError("invalid_state", "the server's own CA has expired")
  const signed = await openAuthority({
    certPem: authority.facts.pem,
    chainPem: "",
    privateKey: authority.privateKey,
  }).sign({
    spkiDer: spkiOf(key),
    // RFC 5280 appendix A: a common name has at most 64 characters. Clients look at the SANs.
    subjectCommonName: names.find((name) => name.length <= 64) ?? "certctl server",
    sans: names.map(sanOf),
    ekus: ["serverAuth"],
    notBefore: new Date(Math.max(now.getTime() - backdateMs, authority.facts.notBefore.getTime())),
    notAfter: new Date(Math.min(now.getTime() + lifetimeMs, caEnd)),
  })
  const facts = parseCertificate(signed.certPem)
  return { material: { certificatePem: facts.pem + authority.facts.pem, privateKeyPem: privateKeyPem(key) }, facts }
}

/** Why the certificate has to be replaced, in words for the log; null when it need not be. */
const reasonToReplace = (facts: CertificateFacts, names: readonly string[], now: Date): string | null => {
  const [start, end] = [facts.notBefore.getTime(), facts.notAfter.getTime()]
  if (now.getTime() >= end - (end - start) / 3) return "a third of its life remains"
  // Names that have gone do no harm and drop out with the next renewal; addresses of containers come and go.
  const covered = new Set(facts.sans.map(({ value }) => nameKey(value)))
  const missing = names.filter((name) => !covered.has(nameKey(name)))
  return missing.length === 0 ? null : `it lacks ${missing.join(", ")}`
}

/** Opens or makes the CA and the certificate. Throws `validation` when what lies in the folder cannot be used. */
export const openOwnCertificate = async (options: OwnCertificateOptions): Promise<OwnCertificate> => {
  const { dataDir, names, lifetimeMs, clock, log } = options
  const folder = join(dataDir, "tls")
  const path = join(folder, "server.pem")
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const authority = await openOwnAuthority(folder, options)
  const { onChange, announce } = changeSignal()

  const issue = async (): Promise<ServerCertificate> => {
    const issued = await issueServerCertificate(authority, names(), lifetimeMs, clock.now())
    writePrivateFile(path, issued.material.privateKeyPem + issued.material.certificatePem)
    return issued
  }

  const stored = await readIfThere(path)
  const usable = stored === null ? null : readServerCertificate(stored, authority)
  let current = usable === null || reasonToReplace(usable.facts, names(), clock.now()) !== null ? await issue() : usable

  const look = async (): Promise<void> => {
    try {
      const reason = reasonToReplace(current.facts, names(), clock.now())
      if (reason === null) return
      current = await issue()
      log.info(`the server certificate was renewed (${reason}), now until ${current.facts.notAfter.toISOString()}`)
      announce()
    } catch (error) {
      const end = current.facts.notAfter.toISOString()
      log.error(`the server certificate could not be renewed and stays in use until ${end}: ${messageOf(error)}`)
    }
  }

  // One look after another: two at once would issue twice.
  let looks = Promise.resolve()
  const check = (): Promise<void> => {
    looks = looks.then(look)
    return looks
  }
  const timer = setInterval(() => void check(), minuteMs)
  timer.unref()

  return {
    caCertificatePem: authority.facts.pem,
    caFingerprint: authority.facts.fingerprint,
    current: () => current.material,
    onChange,
    check,
    close: () => clearInterval(timer),
  }
}
