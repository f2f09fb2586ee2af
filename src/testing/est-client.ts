/** A device that enrols over EST (RFC 7030) with a password: the shortest way to certificates of a running server. */
import { type KeyObject, X509Certificate } from "node:crypto"
import { buildCsr, type CsrRequest } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { openssl } from "../pki/openssl.process"
import { certificateBlocks, toPem } from "../pki/pem"
import type { ServerProcess } from "./server-process"

export interface Enrolled {
  readonly leafPem: string
  /** What a server would send behind the leaf. */
  readonly chainPem: string
  readonly serial: string
  readonly privateKey: KeyObject
}

export const enrolmentPassword = "a password that only these devices have"

/** What makes a server take enrolments at the root path. */
export const estEnvironment = {
  CERTCTL_EST_ENABLED: "true",
  CERTCTL_EST_ENROLLMENT_PASSWORD: enrolmentPassword,
}

/** The same at a path label of its own, under a certificate profile. */
export const estProfileEnvironment = (label: string, profileId: string) => {
  const prefix = `CERTCTL_EST_PROFILE_${label.toUpperCase()}`
  return {
    [`${prefix}_ENROLLMENT_PASSWORD`]: enrolmentPassword,
    [`${prefix}_ISSUER_ID`]: "iss-local",
    [`${prefix}_PROFILE_ID`]: profileId,
    [`${prefix}_RATE_LIMIT_PER_PRINCIPAL_24H`]: "0",
  }
}

const authorization = `Basic ${Buffer.from(`device:${enrolmentPassword}`).toString("base64")}`

/** The certificates of a certs-only message in base64, in their order there. */
const certificatesIn = (base64: string): string[] => {
  const { ok, text } = openssl(["pkcs7", "-inform", "DER", "-in", "m.p7", "-print_certs"], {
    "m.p7": Buffer.from(base64, "base64"),
  })
  if (!ok) throw new Error(text)
  return certificateBlocks(text).map((der) => toPem("CERTIFICATE", der))
}

export const estCaCertificates = async (server: ServerProcess): Promise<string[]> => {
  const answer = await server.call("GET", "/.well-known/est/cacerts", undefined, { key: null })
  if (answer.status !== 200) throw new Error(`cacerts was answered with ${answer.status}`)
  return certificatesIn(answer.text)
}

/** @param label path label of the EST profile; empty for the root path */
export const estEnrolCsr = async (
  server: ServerProcess,
  csrPem: string,
  label = "",
): Promise<Omit<Enrolled, "privateKey">> => {
  const path = `/.well-known/est/${label === "" ? "" : `${label}/`}simpleenroll`
  const answer = await server.call("POST", path, csrPem, {
    key: null,
    headers: { authorization, "content-type": "application/pkcs10" },
  })
  if (answer.status !== 200) throw new Error(`enrolment was answered with ${answer.status}: ${answer.text}`)
  const [leafPem = "", ...chain] = certificatesIn(answer.text)
  const serial = new X509Certificate(leafPem).serialNumber.toLowerCase()
  return { leafPem, chainPem: chain.join(""), serial }
}

export const estEnrol = async (
  server: ServerProcess,
  request: Omit<CsrRequest, "privateKey"> & { privateKey?: KeyObject },
  label = "",
): Promise<Enrolled> => {
  const privateKey = request.privateKey ?? (await generateKey("ecdsa-p256"))
  return { ...(await estEnrolCsr(server, buildCsr({ ...request, privateKey }), label)), privateKey }
}
