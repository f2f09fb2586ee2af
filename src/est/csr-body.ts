/** The CSR that a client posts: RFC 8951 says base64 of DER, and clients send it with line breaks, as PEM or as it is. */
import { AppError } from "../errors"
import { pemBlocks } from "../pki/pem"

/** DER of a request body: base64 with or without line breaks, PEM, or DER itself. Fails with `validation`. */
export const csrDerOf = (body: Buffer): Buffer => {
  if (body.length === 0) throw new AppError("validation", "the request has no body: a CSR is expected")
  if (body[0] === 0x30) return body
  const text = body.toString("latin1")
  if (text.includes("-----BEGIN")) {
    const block = pemBlocks(text).find(({ label }) => /^(NEW )?CERTIFICATE REQUEST$/.test(label))
    if (block === undefined) throw new AppError("validation", "the PEM text holds no CERTIFICATE REQUEST")
    return block.der
  }
  const packed = text.replace(/\s/g, "")
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) throw new AppError("validation", "the body must be a base64 CSR")
  return Buffer.from(packed, "base64")
}
