/** The CA certificates that client certificates of one enrolment profile must chain to, from a PEM file of this host. */
import { readFileSync } from "node:fs"
import type { Clock } from "../clock"
import { AppError, messageOf } from "../errors"
import { type CertificateFacts, parseCertificate } from "../pki/certificate"
import { certificateBlocks } from "../pki/pem"
import { chainOf, verifyChain } from "../pki/trust"

export interface TrustAnchor {
  readonly subject: string
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface TrustBundle {
  readonly path: string
  anchors(): readonly TrustAnchor[]
  /** Reads the file again; what was trusted before stays when that fails. Fails with `upstream`. */
  reload(): void
  /** The facts of a client certificate that may be believed now, or why not. */
  verify(der: Buffer): CertificateFacts | string
}

const readAnchors = (path: string, now: Date, warn: (line: string) => void): CertificateFacts[] => {
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    throw new AppError("upstream", `cannot read the trust bundle ${path}: ${messageOf(error)}`, { cause: error })
  }
  const all = certificateBlocks(text).map((der) => parseCertificate(der))
  if (all.length === 0) throw new AppError("upstream", `the trust bundle ${path} holds no certificate`)
  const current = all.filter(({ notAfter, subjectDn }) => {
    if (notAfter > now) return true
    warn(`the trust bundle ${path} holds an expired certificate, which is skipped: ${subjectDn}`)
    return false
  })
  if (current.length === 0) throw new AppError("upstream", `every certificate in the trust bundle ${path} has expired`)
  return current
}

/** Fails with `upstream` when the file cannot be read, holds nothing, or only what has expired. */
export const openTrustBundle = (path: string, clock: Clock, warn: (line: string) => void): TrustBundle => {
  let trusted = readAnchors(path, clock.now(), warn)
  return {
    path,
    anchors: () => trusted.map(({ subjectDn, notBefore, notAfter }) => ({ subject: subjectDn, notBefore, notAfter })),
    reload() {
      trusted = readAnchors(path, clock.now(), warn)
    },
    verify(der) {
      let facts: CertificateFacts
      let chain: Buffer[]
      try {
        facts = parseCertificate(der)
        chain = chainOf(
          der,
          trusted.map((anchor) => anchor.der),
        )
      } catch (error) {
        if (error instanceof AppError) return error.message
        throw error
      }
      if (chain.length === 0) return "it was not issued by a CA of the trust bundle"
      const problem = verifyChain(der, chain, clock.now())
      if (problem !== null) return problem
      if (facts.isCa) return "it is a CA certificate"
      return facts.ekus.length === 0 || facts.ekus.includes("clientAuth") ? facts : "it is not meant for TLS clients"
    },
  }
}
