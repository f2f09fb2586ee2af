/** The certificates of one file, by what its name and its first bytes say it is. Private keys are never parsed, sent or kept. */
import { extname } from "node:path"
import type { DiscoveredCertificate } from "../src/agents/agent-protocol.schema"
import { AppError, messageOf } from "../src/errors"
import { parseCertificate } from "../src/pki/certificate"
import { readSignedData } from "../src/pki/cms-signed-data"
import { keyStoreCertificates } from "../src/pki/key-store-certificates"
import { certificateBlocks, pemRegions } from "../src/pki/pem"

const storeExtensions = new Set([".p12", ".pfx", ".jks", ".jceks", ".keystore", ".truststore"])
const messageExtensions = new Set([".p7b", ".p7c"])
/** Often PEM, sometimes DER: the content tells. */
const eitherExtensions = new Set([".crt", ".cer"])
/** What claims to hold certificates: that it does not is worth a word. Any other file may hold anything. */
const claiming = new Set([".pem", ".cert", ".der", ...eitherExtensions, ...messageExtensions, ...storeExtensions])
const messageLabels = new Set(["PKCS7", "CMS"])

/** What one file had to say; null: nothing. */
export interface Findings {
  readonly certificates: readonly DiscoveredCertificate[]
  /** Why it could not be read, for files that claim to hold certificates. */
  readonly error?: string
}

export const isKeyStore = (name: string): boolean => storeExtensions.has(extname(name).toLowerCase())

/** Whether a file of this name is looked into at all. */
export const isWorthReading = (name: string, hasPasswords: boolean): boolean => {
  const extension = extname(name).toLowerCase()
  return extension !== "" && extension !== ".key" && (hasPasswords || !storeExtensions.has(extension))
}

export const findingsIn = (path: string, bytes: Buffer, passwords: readonly string[]): Findings | null => {
  try {
    const { format, ders } = certificatesIn(extname(path).toLowerCase(), bytes, passwords)
    return ders.length === 0 ? null : { certificates: ders.map((der) => described(der, path, format)) }
  } catch (error) {
    return unreadable(path, error)
  }
}

/** What cannot be read as what it claims to be. */
export const unreadable = (path: string, error: unknown): Findings | null =>
  claiming.has(extname(path).toLowerCase()) ? { certificates: [], error: `${path}: ${messageOf(error)}` } : null

interface Found {
  readonly format: "PEM" | "DER"
  readonly ders: readonly Buffer[]
}

const certificatesIn = (extension: string, bytes: Buffer, passwords: readonly string[]): Found => {
  if (storeExtensions.has(extension)) return { format: "DER", ders: keyStoreCertificates(bytes, passwords) }
  const isDer = bytes[0] === 0x30
  if (messageExtensions.has(extension) && isDer) return { format: "DER", ders: readSignedData(bytes).certificates }
  if (extension === ".der" || (eitherExtensions.has(extension) && isDer)) return { format: "DER", ders: [bytes] }
  if (!bytes.includes("-----BEGIN ")) {
    if (messageExtensions.has(extension)) throw new AppError("validation", "it is no PKCS#7 message")
    return { format: "PEM", ders: [] }
  }
  const text = bytes.toString("latin1")
  // Keys stand beside certificates in many bundles: other blocks are not even decoded.
  const inMessages = pemRegions(text)
    .filter(({ label }) => messageLabels.has(label))
    .flatMap(({ body }) => readSignedData(Buffer.from(body, "base64")).certificates)
  return { format: "PEM", ders: [...certificateBlocks(text), ...inMessages] }
}

const described = (der: Buffer, path: string, format: "PEM" | "DER"): DiscoveredCertificate => {
  const facts = parseCertificate(der)
  return {
    fingerprint_sha256: facts.fingerprint,
    common_name: facts.commonName,
    sans: facts.sans.map(({ value }) => value),
    serial_number: facts.serial,
    issuer_dn: facts.issuerDn,
    subject_dn: facts.subjectDn,
    not_before: facts.notBefore.toISOString(),
    not_after: facts.notAfter.toISOString(),
    key_algorithm: facts.keyAlgorithm,
    key_size: facts.keySize,
    is_ca: facts.isCa,
    pem_data: facts.pem,
    source_path: path,
    source_format: format,
  }
}
