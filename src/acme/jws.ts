/**
 * Signed requests (RFC 8555 section 6.2): JSON Web Signatures in the flattened serialization, and nothing else of RFC 7515.
 * Reading decides what a client said; who may have said it is for the caller.
 */
import { acmeProblem } from "./acme.problem"
import { signatureAlgorithms } from "./jwk"

/** A CSR of 64 KiB, encoded twice, and its frame. */
const longestText = 192 * 1024
const longestProtected = 16 * 1024
const longestNonce = 128
const longestUrl = 2048

export interface Jws {
  readonly algorithm: string
  /** Empty where there is none. */
  readonly nonce: string
  readonly url: string
  /** Exactly one of the two is there. */
  readonly jwk: unknown
  readonly kid: string | null
  readonly payload: Buffer
  readonly signed: Buffer
  readonly signature: Buffer
}

interface JwsRules {
  /** A request has one; a JWS inside of another has none (RFC 8555 sections 7.3.4 and 7.3.5). */
  readonly nonce: "required" | "absent"
  readonly algorithms?: readonly string[]
}

const malformed = (detail: string) => acmeProblem("malformed", detail)

/** Bytes of unpadded base64url in its only spelling (RFC 7515 section 2). Fails with `malformed`. */
export const decodeBase64url = (text: string, what: string): Buffer => {
  const bytes = Buffer.from(text, "base64url")
  // Node.js reads on over what it does not know; only the canonical form comes out as it went in.
  if (bytes.toString("base64url") !== text) throw malformed(`${what} must be base64url without padding`)
  return bytes
}

/** Fails with `malformed` for anything but a JSON object. */
export const readJsonObject = (text: string, what: string): Readonly<Record<string, unknown>> => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw acmeProblem("malformed", `${what} must be JSON`, { cause })
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw malformed(`${what} must be a JSON object`)
  return value as Readonly<Record<string, unknown>>
}

const utf8 = new TextDecoder("utf-8", { fatal: true })

const textOf = (bytes: Buffer, what: string): string => {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw acmeProblem("malformed", `${what} must be UTF-8`, { cause })
  }
}

const readHeader = (bytes: Buffer, { nonce: nonceRule, algorithms = signatureAlgorithms }: JwsRules) => {
  const { alg, nonce, url, jwk, kid, crit, b64 } = readJsonObject(textOf(bytes, "protected"), "protected")
  if (typeof alg !== "string") throw malformed("the protected header must name its alg")
  if (!algorithms.includes(alg)) {
    throw acmeProblem("badSignatureAlgorithm", `alg must be one of ${algorithms.join(", ")}`, {
      members: { algorithms },
    })
  }
  // RFC 7515 section 4.1.11: what has to be understood and is not makes the JWS invalid.
  if (crit !== undefined || b64 !== undefined)
    throw malformed("the protected header has extensions that are not supported")
  if (typeof url !== "string" || url.length > longestUrl)
    throw malformed("the protected header must have the url of the request")
  if (nonceRule === "absent" && nonce !== undefined) throw malformed("an inner signature must have no nonce")
  const isNonce = typeof nonce === "string" && nonce.length <= longestNonce && /^[A-Za-z0-9_-]+$/.test(nonce)
  if (nonceRule === "required" && nonce === undefined)
    throw acmeProblem("badNonce", "the protected header must have a nonce")
  if (nonceRule === "required" && !isNonce) throw malformed("the nonce must be base64url")
  if ((jwk === undefined) === (kid === undefined)) throw malformed("the protected header must have either jwk or kid")
  if (kid !== undefined && (typeof kid !== "string" || kid.length > longestUrl || !/^[\x21-\x7e]+$/.test(kid)))
    throw malformed("kid must be a URL or the id of an external account")
  return { algorithm: alg, nonce: isNonce ? String(nonce) : "", url, jwk, kid: kid === undefined ? null : String(kid) }
}

/**
 * Takes a JWS apart without verifying it. `parts` is the JSON object.
 * @throws AppError `malformed`, `badSignatureAlgorithm`, `badNonce`
 */
export const readJwsParts = (parts: Readonly<Record<string, unknown>>, rules: JwsRules): Jws => {
  const odd = Object.keys(parts).find((name) => !["protected", "payload", "signature"].includes(name))
  if (odd !== undefined) throw malformed("a JWS must have protected, payload and signature, and nothing else")
  const { protected: header, payload, signature } = parts
  if (typeof header !== "string" || typeof payload !== "string" || typeof signature !== "string") {
    throw malformed("a JWS must have protected, payload and signature, each a text")
  }
  if (header.length > longestProtected) throw malformed("protected is too long")
  return {
    ...readHeader(decodeBase64url(header, "protected"), rules),
    payload: decodeBase64url(payload, "payload"),
    signed: Buffer.from(`${header}.${payload}`, "latin1"),
    signature: decodeBase64url(signature, "signature"),
  }
}

/** The same for the body of a request. */
export const readJws = (text: string, rules: JwsRules): Jws => {
  if (text.length > longestText) throw malformed(`the request must be at most ${longestText} characters long`)
  return readJwsParts(readJsonObject(text, "the request"), rules)
}

/** The payload as a JSON object; null when it is empty, as in a POST that only reads (RFC 8555 section 6.3). */
export const readPayload = (payload: Buffer): Readonly<Record<string, unknown>> | null =>
  payload.length === 0 ? null : readJsonObject(textOf(payload, "payload"), "payload")
