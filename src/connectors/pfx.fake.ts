/** PFX files as Windows takes them in, read by OpenSSL. */
import { X509Certificate } from "node:crypto"

const oidBytes = { pbes2: "06092a864886f70d01050d", tripleDes: "060a2a864886f70d010c0103" }

/** The leaf of a PFX, read by OpenSSL: a wrong password or a key that is not the leaf's fails as on Windows. */
export const readPfx = (pfx: Buffer, password: string) => {
  const read = Bun.spawnSync(["openssl", "pkcs12", "-passin", "env:PFX_PASSWORD", "-nodes"], {
    stdin: pfx,
    env: { PATH: process.env.PATH ?? "", PFX_PASSWORD: password },
  })
  if (read.exitCode !== 0) throw new Error("The specified network password is not correct.")
  const pem = read.stdout.toString()
  const key = /-----BEGIN PRIVATE KEY-----[\s\S]+?-----END PRIVATE KEY-----/.exec(pem)?.[0]
  const leaf = [...pem.matchAll(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)]
    .map(([text]) => new X509Certificate(text))
    .find((one) => !one.ca)
  if (leaf === undefined) throw new Error("The PFX file you are trying to import has no certificate.")
  const der = pfx.toString("hex")
  return {
    thumbprint: leaf.fingerprint.replaceAll(":", ""),
    subject: leaf.subject.split("\n").toReversed().join(", "),
    notBefore: new Date(leaf.validFrom).toISOString(),
    notAfter: new Date(leaf.validTo).toISOString(),
    hasPrivateKey: key !== undefined,
    pfxScheme: der.includes(oidBytes.pbes2)
      ? ("modern" as const)
      : der.includes(oidBytes.tripleDes)
        ? ("legacy" as const)
        : ("none" as const),
  }
}
