/** Chains: putting certificates in order, and checking that each one was issued by the next. */
import { AppError, messageOf } from "../errors"
import { type CertificateFacts, openFrame, parseCertificate } from "./certificate"
import { sameName } from "./distinguished-name"
import { signatureProblem } from "./signature"

// Longer than any chain that clients accept; bounds the work that a hostile bundle can cause.
const maxDepth = 10
const maxCandidates = 100

/** Why `issuer` did not issue `certificate`, or null when it did. Looks at names, key identifiers and the signature. */
const issuingProblem = (certificate: CertificateFacts, issuer: CertificateFacts): string | null => {
  if (!sameName(certificate.issuerDer, issuer.subjectDer))
    return `its issuer is "${certificate.issuerDn}", not "${issuer.subjectDn}"`
  if (certificate.aki !== null && issuer.ski !== null && certificate.aki !== issuer.ski)
    return `it was issued by another key of "${issuer.subjectDn}" (key identifiers differ)`
  const { tbsDer: signed, algorithmDer, signature } = openFrame(certificate.der)
  return signatureProblem({ signed, algorithmDer, signature, spkiDer: issuer.spkiDer })
}

const isSelfIssued = (certificate: CertificateFacts): boolean => sameName(certificate.issuerDer, certificate.subjectDer)

/**
 * The chain of a leaf out of a pile of certificates, nearest issuer first and up to a self-signed one if it is there.
 * What cannot be parsed or does not belong is left out; the chain may be empty. Validity is not looked at.
 */
export const chainOf = (leafDer: Buffer, candidates: readonly Buffer[]): Buffer[] => {
  if (candidates.length > maxCandidates)
    throw new AppError("validation", `chain: more than ${maxCandidates} certificates`)
  const pool = candidates.flatMap((der) => {
    try {
      return [parseCertificate(der)]
    } catch {
      // A pile taken from a disk may hold anything.
      return []
    }
  })
  const chain: CertificateFacts[] = []
  let last = parseCertificate(leafDer)
  const used = new Set([last.fingerprint])
  while (chain.length < maxDepth) {
    const below = last
    // Of several (cross-signed) issuers prefer the self-signed one: it ends the chain soonest.
    const issuers = pool.filter(
      (candidate) => candidate.isCa && !used.has(candidate.fingerprint) && issuingProblem(below, candidate) === null,
    )
    const issuer = issuers.find(isSelfIssued) ?? issuers[0]
    if (issuer === undefined || (isSelfIssued(below) && issuingProblem(below, below) === null)) break
    used.add(issuer.fingerprint)
    chain.push(issuer)
    last = issuer
  }
  return chain.map(({ der }) => der)
}

const ownProblem = ({ notBefore, notAfter, unknownCritical }: CertificateFacts, at: Date): string | null => {
  if (unknownCritical.length > 0) return `has an unknown critical extension (${unknownCritical.join(", ")})`
  if (at < notBefore) return `is not valid before ${notBefore.toISOString()}`
  return at > notAfter ? `expired at ${notAfter.toISOString()}` : null
}

/** `below` counts the intermediates between this certificate and the leaf (RFC 5280 section 4.2.1.9). */
const authorityProblem = (ca: CertificateFacts, below: number): string | null => {
  if (!ca.isCa) return "is not a CA certificate"
  if (ca.keyUsage.length > 0 && !ca.keyUsage.includes("keyCertSign")) return "may not sign certificates (key usage)"
  if (ca.pathLength !== null && below > ca.pathLength) return `allows only ${ca.pathLength} CAs below it`
  return null
}

const checkChain = (leafDer: Buffer, chainDers: readonly Buffer[], at: Date): string | null => {
  if (chainDers.length > maxDepth) return `the chain has more than ${maxDepth} certificates`
  const all = [leafDer, ...chainDers].map((der) => parseCertificate(der))
  let intermediates = 0
  for (const [i, certificate] of all.entries()) {
    const called = `${i === 0 ? "the certificate" : `chain certificate ${i}`} "${certificate.subjectDn}"`
    const problem = ownProblem(certificate, at) ?? (i === 0 ? null : authorityProblem(certificate, intermediates))
    if (problem !== null) return `${called} ${problem}`
    const issuer = all[i + 1]
    const mismatch = issuer === undefined ? null : issuingProblem(certificate, issuer)
    if (mismatch !== null) return `${called} was not issued by the next one: ${mismatch}`
    // Self-issued certificates (key roll-over) do not count towards the path length.
    if (i > 0 && !isSelfIssued(certificate)) intermediates++
  }
  return null
}

/**
 * Checks a leaf and its chain (nearest issuer first, root optional): validity at a moment, names, key identifiers,
 * CA flag, key usage, path length and signatures. Null when it is fine, else the reason. Not looked at: whether the last
 * one is trusted, whether anything was revoked, and name and policy constraints.
 */
export const verifyChain = (leafDer: Buffer, chainDers: readonly Buffer[], at: Date): string | null => {
  try {
    return checkChain(leafDer, chainDers, at)
  } catch (error) {
    if (error instanceof AppError) return messageOf(error)
    throw error
  }
}
