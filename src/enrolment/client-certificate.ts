/** The client certificate that a TLS-terminating proxy passes on (RFC 9440). Believed from trusted proxies only. */

/**
 * The DER in a `Client-Cert` header: a structured-field byte sequence, `:base64:`. null when it is none.
 * A proxy that does not set the header must remove it; one that several proxies have set is not unambiguous, and refused.
 */
export const readClientCert = (header: string | undefined): Buffer | null => {
  const [, base64] = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(header?.trim() ?? "") ?? []
  if (base64 === undefined || base64.length > 64 * 1024) return null
  return Buffer.from(base64, "base64")
}
