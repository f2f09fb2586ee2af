/** The client certificate that a TLS-terminating proxy passes on. Believed from trusted proxies only. */

const mostCharacters = 64 * 1024

/** nginx cannot write base64 of DER; its `$ssl_client_escaped_cert` is PEM, percent-encoded. */
const readEscapedPem = (text: string): Buffer | null => {
  if (!/^-----BEGIN(?:[A-Za-z0-9+/=-]|%[0-9A-Fa-f]{2})+$/.test(text)) return null
  const pem = text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const [, body] = /^-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*$/.exec(pem) ?? []
  const base64 = body?.replace(/\s/g, "") ?? ""
  return /^[A-Za-z0-9+/]+={0,2}$/.test(base64) ? Buffer.from(base64, "base64") : null
}

/**
 * The DER in a `Client-Cert` header: the structured-field byte sequence of RFC 9440, `:base64:`, or percent-encoded PEM. null when
 * it is neither. A proxy that does not set the header must remove it; one that several proxies have set is not unambiguous, and
 * refused.
 */
export const readClientCert = (header: string | undefined): Buffer | null => {
  const text = header?.trim() ?? ""
  if (text.length > mostCharacters) return null
  const [, base64] = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(text) ?? []
  return base64 === undefined ? readEscapedPem(text) : Buffer.from(base64, "base64")
}
