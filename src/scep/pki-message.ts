/** What clients send as a PKIOperation: a SCEP message, or just a CSR, with or without a signature or base64 around it. */
import { AppError } from "../errors"
import { berToDer } from "../pki/ber"
import { parseCertificate } from "../pki/certificate"
import { namesCertificate } from "../pki/cms-content"
import { type CmsSignedData, readSignedData, signerProblem } from "../pki/cms-signed-data"
import { type Csr, parseCsrDer } from "../pki/csr"
import { readSequence, tags } from "../pki/der.reader"
import { readScepRequest, type ScepRequest } from "../pki/scep"
import type { AlgorithmRules } from "./open-request"

export type PkiMessage =
  | { readonly kind: "scep"; readonly request: ScepRequest }
  | { readonly kind: "csr"; readonly csr: Csr }

const refuse = (problem: string): AppError => new AppError("validation", `SCEP message: ${problem}`)

const derOf = (body: Buffer): Buffer => {
  if (body.length === 0) throw refuse("is empty")
  if (body[0] === tags.sequence) return body
  const packed = body.toString("latin1").replace(/\s/g, "")
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) throw refuse("must be DER, or base64 of it")
  return Buffer.from(packed, "base64")
}

/** A signature around a bare CSR proves nothing that the CSR's own does not, but a broken one is refused all the same. */
const checkSigners = (signed: CmsSignedData, { allowLegacy }: AlgorithmRules): void => {
  const certificates = signed.certificates.map((der) => parseCertificate(der))
  for (const signer of signed.signers) {
    const certificate = certificates.find((candidate) => namesCertificate(signer.certificateId, candidate))
    if (certificate === undefined) throw refuse("the signer's certificate is missing")
    const problem = signerProblem(signed, signer, certificate.spkiDer, { allowSha1: allowLegacy })
    if (problem !== null) throw refuse(problem.words)
  }
}

/** A CSR is verified when it is read, the signature of a SCEP message is not yet. Fails with `validation`. */
export const readPkiMessage = (body: Buffer, rules: AlgorithmRules): PkiMessage => {
  const der = berToDer(derOf(body), "SCEP message")
  // A ContentInfo begins with its type, a CSR with what is signed.
  if (readSequence(der, "SCEP message").nextTag !== tags.oid) return { kind: "csr", csr: parseCsrDer(der) }
  const signed = readSignedData(der)
  const request = readScepRequest(signed)
  if (request !== null) return { kind: "scep", request }
  if (signed.content === null) throw refuse("holds no CSR")
  const csr = parseCsrDer(signed.content)
  checkSigners(signed, rules)
  return { kind: "csr", csr }
}
