/** An RA pair that the operator brings along, for issuers whose CA is elsewhere. */
import { readFileSync, statSync } from "node:fs"
import type { Clock } from "../clock"
import { AppError, messageOf } from "../errors"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, readPrivateKey } from "../pki/keys"
import { openRegistrationAuthority, type RegistrationAuthority } from "./registration-authority.service"

const refuse = (problem: string, cause?: unknown): never => {
  throw new AppError("validation", `SCEP RA: ${problem}`, { cause })
}

const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    return refuse(`cannot read ${path}: ${messageOf(error)}`, error)
  }
}

/** Fails with `validation` when clients could not work with the pair: unreadable, no RSA pair, expired, or a key others may read. */
export const openRegistrationAuthorityFiles = (
  { certPath, keyPath }: { certPath: string; keyPath: string },
  clock: Clock,
): RegistrationAuthority => {
  const certificate = parseCertificate(readText(certPath))
  const keyPem = readText(keyPath)
  if ((statSync(keyPath).mode & 0o077) !== 0) refuse(`${keyPath} may be read by others: chmod 600 ${keyPath}`)
  const privateKey = readPrivateKey(keyPem)
  if (!keysMatch(privateKey, certificate.spkiDer)) refuse(`the key in ${keyPath} does not belong to ${certPath}`)
  if (certificate.keyAlgorithm !== "RSA") refuse(`${certPath} must have an RSA key: clients encrypt to it`)
  const now = clock.now()
  if (certificate.notAfter <= now) refuse(`${certPath} expired at ${certificate.notAfter.toISOString()}`)
  if (certificate.notBefore > now) refuse(`${certPath} is not valid before ${certificate.notBefore.toISOString()}`)
  return openRegistrationAuthority(certificate, privateKey)
}
