/**
 * From a SCEP message to the CSR in it, checked as far as that goes without knowing who may enrol. What a client did wrong is
 * a ScepRefusal; what could be learnt from about the RA's key or somebody else's message is one and the same refusal.
 */
import { messageOf } from "../errors"
import { cmsOids, namesCertificate } from "../pki/cms-content"
import {
  type CmsEnvelopedData,
  type ContentCipher,
  canReceive,
  openEnvelopedData,
  readEnvelopedData,
} from "../pki/cms-enveloped-data"
import { signerProblem } from "../pki/cms-signed-data"
import { type Csr, parseCsrDer } from "../pki/csr"
import { sameName } from "../pki/distinguished-name"
import type { ScepRequest } from "../pki/scep"
import type { RegistrationAuthority } from "./registration-authority.service"
import { ScepRefusal } from "./scep-refusal"

export interface AlgorithmRules {
  readonly allow3des: boolean
  /** SHA-1 and single DES. */
  readonly allowLegacy: boolean
}

export interface OpenedRequest {
  readonly csr: Csr
  /** The one that the client encrypted to, which has to answer. */
  readonly ra: RegistrationAuthority
  /** For the answer. */
  readonly cipher: ContentCipher
}

/** Clients sign moments before they send; a day is for those whose time zone is wrong. */
const clockToleranceMs = 24 * 3_600_000

const isAllowed = (cipher: ContentCipher, { allow3des, allowLegacy }: AlgorithmRules): boolean => {
  if (cipher === "des-ede3-cbc") return allow3des
  return cipher !== "des-cbc" || allowLegacy
}

/** What reads AES of one size reads all; who wrote something older may know nothing else. */
const answerCipher = (cipher: ContentCipher): ContentCipher => (cipher.startsWith("aes-") ? "aes-256-cbc" : cipher)

const checkSigner = ({ signed, signer, certificate }: ScepRequest, { allowLegacy }: AlgorithmRules): void => {
  const problem = signerProblem(signed, signer, certificate.spkiDer, { allowSha1: allowLegacy })
  if (problem === null) return
  throw new ScepRefusal(problem.kind === "algorithm" ? "badAlg" : "badMessageCheck", problem.words)
}

const checkKind = ({ messageType, senderNonce, signed, signingTime }: ScepRequest, now: Date): void => {
  if (messageType === "CertPoll")
    throw new ScepRefusal("badCertId", "no enrolment is pending: nothing is ever decided later")
  if (messageType !== "PKCSReq" && messageType !== "RenewalReq") {
    throw new ScepRefusal("badRequest", "messages of this type are not answered")
  }
  // Section 3.2.1.5: without it the client could not tell this answer from an old one.
  if (senderNonce === null) throw new ScepRefusal("badRequest", "the message has no sender nonce")
  if (signed.contentType !== cmsOids.data)
    throw new ScepRefusal("badRequest", "the message must hold content of type data")
  if (signingTime !== null && Math.abs(signingTime.getTime() - now.getTime()) > clockToleranceMs) {
    throw new ScepRefusal("badTime", "the clock of the client is more than a day off")
  }
}

const readEnvelope = (content: Buffer | null): CmsEnvelopedData => {
  try {
    return readEnvelopedData(content ?? Buffer.alloc(0))
  } catch (error) {
    throw new ScepRefusal("badMessageCheck", "the message holds no enveloped data", { reason: messageOf(error) })
  }
}

/** Fails with the one refusal that a broken key, broken padding, changed content and a broken CSR all get. */
const readCsr = (plain: Buffer): Csr => {
  try {
    return parseCsrDer(plain)
  } catch (error) {
    const words = "the request could not be decrypted, or holds no valid CSR"
    throw new ScepRefusal("badMessageCheck", words, { reason: `${words} (${messageOf(error)})` })
  }
}

/** @throws ScepRefusal */
export const openRequest = (
  request: ScepRequest,
  ras: readonly RegistrationAuthority[],
  rules: AlgorithmRules,
  now: Date,
): OpenedRequest => {
  const { certificate, signed } = request
  checkSigner(request, rules)
  checkKind(request, now)
  const envelope = readEnvelope(signed.content)
  const { cipher, cipherOid } = envelope
  if (cipher === null || !isAllowed(cipher, rules)) {
    throw new ScepRefusal("badAlg", `content encryption with ${cipher ?? cipherOid} is not accepted`)
  }
  if (!canReceive(certificate.spkiDer)) {
    throw new ScepRefusal("badAlg", "the signer's key must be RSA: the answer is encrypted to it")
  }
  for (const transport of envelope.recipients) {
    const ra = ras.find((candidate) => namesCertificate(transport.recipient, candidate.certificate))
    if (ra === undefined) continue
    const plain = openEnvelopedData(envelope, transport, ra.privateKey)
    if (plain === null) throw new ScepRefusal("badAlg", "the content key must come by RSA key transport (PKCS#1 v1.5)")
    return { csr: readCsr(plain), ra, cipher: answerCipher(cipher) }
  }
  throw new ScepRefusal(
    "badMessageCheck",
    "the request is not encrypted for this RA; fetch its certificate again (GetCACert)",
  )
}

/** RFC 8894 section 2.3: who has no certificate yet signs with the key that one is asked for. */
export const checkSelfSigned = ({ certificate }: ScepRequest, { spkiDer }: Csr): void => {
  const isSelfIssued = sameName(certificate.issuerDer, certificate.subjectDer)
  if (isSelfIssued && !certificate.spkiDer.equals(spkiDer)) {
    throw new ScepRefusal("badMessageCheck", "the message is not signed with the key of its CSR")
  }
}
