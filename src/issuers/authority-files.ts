/** Opens a subordinate CA from two PEM files of this host and refuses whatever could not sign. */
import { readFile } from "node:fs/promises"
import { AppError, messageOf } from "../errors"
import { type Authority, openAuthority } from "../pki/authority"
import { readPrivateKey } from "../pki/keys"
import { certificateBlocks, toPem } from "../pki/pem"

/** More than any chain or key needs. */
const mostBytes = 1_048_576

const readText = async (path: string): Promise<string> => {
  try {
    const bytes = await readFile(path)
    if (bytes.length > mostBytes) throw new Error("it is larger than 1 MiB")
    return bytes.toString("utf8")
  } catch (error) {
    throw new AppError("upstream", `cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * The first certificate of `certPath` is the issuing CA; all its certificates, and nothing else of the file, go behind a leaf.
 * Fails with `upstream` when a file cannot be read, the certificate is no CA, may not sign certificates or the
 * key is not its own. Whether it is inside its validity is asked each time it signs.
 */
export const openAuthorityFiles = async ({
  keyPath,
  passphrase,
  ...certificate
}: ({ certPath: string } | { certPem: string }) & {
  keyPath: string
  passphrase: string | null
}): Promise<Authority> => {
  const certPath = "certPath" in certificate ? certificate.certPath : "the certificate"
  const [certText, keyText] = await Promise.all([
    "certPem" in certificate ? certificate.certPem : readText(certPath),
    readText(keyPath),
  ])
  try {
    const [certPem, ...above] = certificateBlocks(certText).map((der) => toPem("CERTIFICATE", der))
    if (certPem === undefined) throw new AppError("validation", "the certificate file has no CERTIFICATE block")
    const privateKey = readPrivateKey(keyText, passphrase ?? undefined)
    return openAuthority({ certPem, chainPem: [certPem, ...above].join(""), privateKey })
  } catch (error) {
    throw new AppError("upstream", `cannot use ${certPath} with ${keyPath} as CA: ${messageOf(error)}`, {
      cause: error,
    })
  }
}
