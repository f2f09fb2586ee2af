/** The subordinate CA that an operator keeps on disk (CERTCTL_CA_CERT_PATH, CERTCTL_CA_KEY_PATH). */
import type { KeyObject } from "node:crypto"
import { readFileSync } from "node:fs"
import { AppError, messageOf } from "../errors"
import { openAuthority } from "../pki/authority"
import { parseCertificate, splitChain } from "../pki/certificate"
import { readPrivateKey } from "../pki/keys"

const cert = "CERTCTL_CA_CERT_PATH"
const key = "CERTCTL_CA_KEY_PATH"

const inVariable = <T>(variable: string, path: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    throw new AppError("validation", `${variable}: ${path}: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Reads and checks the pair: a CA with keyCertSign, valid at `now`, whose key it is. `chainPem` is what else the file holds, nearest
 * issuer first. Throws `validation` naming the variable.
 */
export const readAuthorityFiles = (
  files: { readonly certPath: string; readonly keyPath: string; readonly passphrase: string | null },
  now: Date,
): { certPem: string; chainPem: string; privateKey: KeyObject } => {
  const { certPath, keyPath, passphrase } = files
  const pem = inVariable(cert, certPath, () => splitChain(readFileSync(certPath, "utf8")))
  const privateKey = inVariable(key, keyPath, () =>
    readPrivateKey(readFileSync(keyPath, "utf8"), passphrase ?? undefined),
  )
  const opened = { certPem: pem.leafPem, chainPem: pem.chainPem, privateKey }
  inVariable(cert, certPath, () => {
    openAuthority(opened)
    const { notBefore, notAfter } = parseCertificate(pem.leafPem)
    if (now < notBefore) throw new AppError("validation", `CA certificate: not valid before ${notBefore.toISOString()}`)
    if (now >= notAfter) throw new AppError("validation", `CA certificate: expired on ${notAfter.toISOString()}`)
  })
  return opened
}
