/**
 * Reads X.509 certificates: ours, and the strange ones found on disks and in handshakes. Only a broken frame is an
 * error; an extension that cannot be read is named in `problems`, and its facts stay at their cautious default.
 */
import { createHash } from "node:crypto"
import { AppError, messageOf } from "../errors"
import { contextTag, DerReader, readBitBytes, readSequence, readTime, tags } from "./der.reader"
import { commonNamesOf, nameText, readName } from "./distinguished-name"
import {
  type Extension,
  readAuthorityInfoAccess,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readCrlUrls,
  readExtendedKeyUsage,
  readExtensions,
  readKeyUsage,
  readMustStaple,
  readSubjectKeyIdentifier,
} from "./extensions"
import { readGeneralNames } from "./general-name"
import { describePublicKey } from "./keys"
import type { San } from "./names"
import { oids } from "./oids"
import { certificateBlocks, toPem } from "./pem"
import { signatureName } from "./signature"

export interface CertificateFacts {
  readonly der: Buffer
  readonly pem: string
  /** Lower-case hex, two digits a byte; the sign byte is left out. Negative ones, which RFC 5280 forbids, get a `-`. */
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** Lower-case hex SHA-256 of the DER. */
  readonly fingerprint: string
  /** The most specific one; empty when there is none. */
  readonly commonName: string
  /** RFC 4514. */
  readonly subjectDn: string
  readonly issuerDn: string
  readonly subjectDer: Buffer
  readonly issuerDer: Buffer
  readonly sans: San[]
  /** Kinds of subject names that are not among `sans`, such as `otherName`. */
  readonly otherNames: string[]
  readonly isCa: boolean
  readonly pathLength: number | null
  /** RSA, ECDSA, Ed25519, or another word or OID for keys that are never issued for. */
  readonly keyAlgorithm: string
  /** Bits; 0 when unknown. */
  readonly keySize: number
  readonly spkiDer: Buffer
  readonly signatureAlgorithm: string
  /** Subject and authority key identifiers in lower-case hex. */
  readonly ski: string | null
  readonly aki: string | null
  /** Names of RFC 5280 section 4.2.1.3. */
  readonly keyUsage: string[]
  /** By name where they have one here, else dotted. */
  readonly ekus: string[]
  readonly mustStaple: boolean
  readonly crlUrls: string[]
  readonly ocspUrls: string[]
  readonly caIssuerUrls: string[]
  /** Critical extensions that this reader knows nothing of, dotted. */
  readonly unknownCritical: string[]
  readonly problems: string[]
}

/** The parts of a certificate's frame, undecoded. */
export interface CertificateFrame {
  readonly tbsDer: Buffer
  readonly algorithmDer: Buffer
  readonly signature: Buffer
  readonly serialContent: Buffer
  readonly issuerDer: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  readonly subjectDer: Buffer
  readonly spkiDer: Buffer
  readonly extensionsDer: Buffer | null
}

const what = "certificate"
// The largest seen in the wild carry some thousand names.
const maxBytes = 1024 * 1024

/** Takes a DER certificate apart. Throws `validation`, also for trailing bytes. */
export const openFrame = (der: Buffer): CertificateFrame => {
  if (der.length > maxBytes) throw new AppError("validation", "certificate: is larger than 1 MiB")
  const outer = readSequence(der, what)
  const tbsDer = outer.next(tags.sequence).bytes
  const algorithmDer = outer.next(tags.sequence).bytes
  const signature = readBitBytes(outer.next(tags.bitString), what)
  outer.end()
  const tbs = readSequence(tbsDer, what)
  tbs.optional(contextTag(0, true))
  const serialContent = tbs.next(tags.integer).content
  const innerAlgorithm = tbs.next(tags.sequence).bytes
  const issuerDer = tbs.next(tags.sequence).bytes
  const validity = tbs.enter(tags.sequence)
  const notBefore = readTime(validity.next(), what)
  const notAfter = readTime(validity.next(), what)
  validity.end()
  const subjectDer = tbs.next(tags.sequence).bytes
  const spkiDer = tbs.next(tags.sequence).bytes
  tbs.optional(contextTag(1, false))
  tbs.optional(contextTag(2, false))
  const extensions = tbs.optional(contextTag(3, true))
  tbs.end()
  // RFC 5280 section 4.1.1.2: otherwise the unsigned copy could be swapped.
  if (!innerAlgorithm.equals(algorithmDer))
    throw new AppError("validation", "certificate: its two signature algorithms differ")
  return {
    tbsDer,
    algorithmDer,
    signature,
    serialContent,
    issuerDer,
    notBefore,
    notAfter,
    subjectDer,
    spkiDer,
    extensionsDer: extensions?.content ?? null,
  }
}

/** Lower-case hex of an INTEGER's content. */
export const serialText = (content: Buffer): string => {
  if (content.length === 0) return "00"
  if ((content[0] ?? 0) < 0x80)
    return (content.length > 1 && content[0] === 0 ? content.subarray(1) : content).toString("hex")
  const magnitude = Buffer.from(content.map((byte) => ~byte & 0xff))
  for (let i = magnitude.length - 1; i >= 0; i--) {
    const byte = ((magnitude[i] ?? 0) + 1) & 0xff
    magnitude[i] = byte
    if (byte !== 0) break
  }
  return `-${magnitude.toString("hex")}`
}

/** Lower-case hex SHA-256 of a DER certificate. */
export const fingerprintOf = (der: Uint8Array): string => createHash("sha256").update(der).digest("hex")

interface ExtensionFacts {
  sans: San[]
  otherNames: string[]
  isCa: boolean
  pathLength: number | null
  ski: string | null
  aki: string | null
  keyUsage: string[]
  ekus: string[]
  mustStaple: boolean
  crlUrls: string[]
  ocspUrls: string[]
  caIssuerUrls: string[]
}

const readers: Readonly<Record<string, (value: Buffer) => Partial<ExtensionFacts>>> = {
  [oids.subjectAltName]: (value) => readGeneralNames(readSequence(value, "SubjectAltName"), "SubjectAltName"),
  [oids.basicConstraints]: readBasicConstraints,
  [oids.subjectKeyIdentifier]: (value) => ({ ski: readSubjectKeyIdentifier(value) }),
  [oids.authorityKeyIdentifier]: (value) => ({ aki: readAuthorityKeyIdentifier(value) }),
  [oids.keyUsage]: (value) => ({ keyUsage: readKeyUsage(value) }),
  [oids.extendedKeyUsage]: (value) => ({ ekus: readExtendedKeyUsage(value) }),
  [oids.tlsFeature]: (value) => ({ mustStaple: readMustStaple(value) }),
  [oids.crlDistributionPoints]: (value) => ({ crlUrls: readCrlUrls(value) }),
  [oids.authorityInfoAccess]: readAuthorityInfoAccess,
}

/** Known, but nothing here needs their content: limits on names and policies are for the verifier at the other end. */
const unevaluated: ReadonlySet<string> = new Set([
  oids.nameConstraints,
  oids.certificatePolicies,
  oids.policyConstraints,
  oids.inhibitAnyPolicy,
])

const listExtensions = (der: Buffer | null, problems: string[]): Extension[] => {
  if (der === null) return []
  try {
    const wrapper = new DerReader(der, "extensions")
    const list = wrapper.enter(tags.sequence)
    wrapper.end()
    return readExtensions(list, "extensions")
  } catch (error) {
    problems.push(messageOf(error))
    return []
  }
}

/** Reads a certificate: PEM text (its first CERTIFICATE block) or DER bytes. Throws `validation`. */
export const parseCertificate = (pemOrDer: string | Buffer): CertificateFacts => {
  const der = typeof pemOrDer === "string" ? certificateBlocks(pemOrDer)[0] : pemOrDer
  if (der === undefined) throw new AppError("validation", "certificate: the text has no CERTIFICATE block")
  const frame = openFrame(der)
  const problems: string[] = []
  const facts: ExtensionFacts = {
    sans: [],
    otherNames: [],
    isCa: false,
    pathLength: null,
    ski: null,
    aki: null,
    keyUsage: [],
    ekus: [],
    mustStaple: false,
    crlUrls: [],
    ocspUrls: [],
    caIssuerUrls: [],
  }
  const unknownCritical: string[] = []
  const seen = new Set<string>()
  for (const { oid, critical, value } of listExtensions(frame.extensionsDer, problems)) {
    const read = readers[oid]
    if (seen.has(oid)) problems.push(`extension ${oid} occurs twice`)
    else if (read === undefined) {
      if (critical && !unevaluated.has(oid)) unknownCritical.push(oid)
    } else {
      try {
        Object.assign(facts, read(value))
      } catch (error) {
        problems.push(messageOf(error))
      }
    }
    seen.add(oid)
  }
  const subject = readName(frame.subjectDer, "certificate subject")
  const key = describePublicKey(frame.spkiDer)
  return {
    der,
    pem: toPem("CERTIFICATE", der),
    serial: serialText(frame.serialContent),
    notBefore: frame.notBefore,
    notAfter: frame.notAfter,
    fingerprint: fingerprintOf(der),
    commonName: commonNamesOf(subject).at(-1) ?? "",
    subjectDn: nameText(subject),
    issuerDn: nameText(readName(frame.issuerDer, "certificate issuer")),
    subjectDer: frame.subjectDer,
    issuerDer: frame.issuerDer,
    keyAlgorithm: key.algorithm,
    keySize: key.size,
    spkiDer: frame.spkiDer,
    signatureAlgorithm: signatureName(frame.algorithmDer),
    ...facts,
    unknownCritical,
    problems,
  }
}

/** The first certificate of a PEM bundle and the rest, both as plain PEM. Throws `validation` when there is none. */
export const splitChain = (pem: string): { leafPem: string; chainPem: string } => {
  const [leaf, ...chain] = certificateBlocks(pem)
  if (leaf === undefined) throw new AppError("validation", "certificate: the text has no CERTIFICATE block")
  return { leafPem: toPem("CERTIFICATE", leaf), chainPem: chain.map((der) => toPem("CERTIFICATE", der)).join("") }
}
