/** Public keys of ACME clients as JSON Web Keys (RFC 7517): which are taken, and how each signs (RFC 7518). */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto"
import { acmeProblem } from "./acme.problem"

const ellipticCurves: Readonly<Record<string, { readonly curve: string; readonly bytes: number }>> = {
  ES256: { curve: "P-256", bytes: 32 },
  ES384: { curve: "P-384", bytes: 48 },
}
const digests: Readonly<Record<string, string | null>> = {
  ES256: "sha256",
  ES384: "sha384",
  RS256: "sha256",
  // Ed25519 hashes by itself.
  EdDSA: null,
}

/** In the order in which they are told to a client that used another one. */
export const signatureAlgorithms: readonly string[] = Object.keys(digests)

const smallestRsaBits = 2048
const largestRsaBits = 8192

export interface PublicJwk {
  readonly key: KeyObject
  /** RFC 7638, SHA-256, base64url. */
  readonly thumbprint: string
  readonly spkiDer: Buffer
  readonly pem: string
}

const refuse = (detail: string) => acmeProblem("badPublicKey", detail)

const base64url = /^[A-Za-z0-9_-]+$/

/** The members that make the key, in the order of RFC 7638 section 3.2; null when it is of another kind. */
const requiredMembers: Readonly<Record<string, readonly string[]>> = {
  EC: ["crv", "kty", "x", "y"],
  OKP: ["crv", "kty", "x"],
  RSA: ["e", "kty", "n"],
}
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

const checkRsa = (key: KeyObject): void => {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < smallestRsaBits || modulusLength > largestRsaBits) {
    throw refuse(`an RSA key must have ${smallestRsaBits} to ${largestRsaBits} bits, not ${modulusLength}`)
  }
  if (publicExponent < 65_537n || publicExponent % 2n === 0n)
    throw refuse("the RSA exponent must be odd and at least 65537")
}

/**
 * Reads a public key.
 * @throws AppError `malformed` it is none, or holds the private part; `badPublicKey` none that is taken
 */
export const readJwk = (value: unknown): PublicJwk => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw acmeProblem("malformed", "jwk must be an object")
  }
  const given = value as Readonly<Record<string, unknown>>
  if (privateMembers.some((name) => name in given)) {
    throw acmeProblem("malformed", "jwk must hold the public key only: consider this key as compromised")
  }
  const names =
    typeof given.kty === "string" && Object.hasOwn(requiredMembers, given.kty) ? requiredMembers[given.kty] : undefined
  if (names === undefined) throw refuse("jwk must be of the type EC, RSA or OKP")
  const members: Record<string, string> = {}
  for (const name of names) {
    const member = given[name]
    const isName = name === "kty" || name === "crv"
    if (typeof member !== "string" || member.length > 2048 || !(isName || base64url.test(member))) {
      throw acmeProblem("malformed", `jwk member ${name} must be a base64url text`)
    }
    members[name] = member
  }
  if (members.kty === "EC" && !Object.values(ellipticCurves).some(({ curve }) => curve === members.crv)) {
    throw refuse("an EC key must be on P-256 or P-384")
  }
  if (members.kty === "OKP" && members.crv !== "Ed25519") throw refuse("an OKP key must be Ed25519")
  let key: KeyObject
  try {
    key = createPublicKey({ key: members, format: "jwk" })
  } catch (cause) {
    throw acmeProblem("badPublicKey", "jwk holds no valid key", { cause })
  }
  if (members.kty === "RSA") checkRsa(key)
  // What was read, written again: two spellings of one key (leading zeros, stray bits) must not be two accounts.
  const written = key.export({ format: "jwk" }) as Readonly<Record<string, string>>
  const canonical = JSON.stringify(Object.fromEntries(names.map((name) => [name, written[name]])))
  return {
    key,
    thumbprint: createHash("sha256").update(canonical).digest("base64url"),
    spkiDer: key.export({ type: "spki", format: "der" }),
    pem: key.export({ type: "spki", format: "pem" }).toString(),
  }
}

/** The key of a stored account. */
export const readStoredKey = (pem: string): KeyObject => createPublicKey(pem)

const fits = (algorithm: string, key: KeyObject): boolean => {
  const curve = ellipticCurves[algorithm]
  if (curve !== undefined) {
    const named = { prime256v1: "P-256", secp384r1: "P-384" }[key.asymmetricKeyDetails?.namedCurve ?? ""]
    return key.asymmetricKeyType === "ec" && named === curve.curve
  }
  return key.asymmetricKeyType === (algorithm === "RS256" ? "rsa" : "ed25519")
}

/** Whether `signature` over `signed` was made by the key with a JWS algorithm. An algorithm that is not the key's never is. */
export const isSignedBy = (key: KeyObject, algorithm: string, signed: Buffer, signature: Buffer): boolean => {
  const digest = digests[algorithm]
  if (digest === undefined || !fits(algorithm, key)) return false
  const curve = ellipticCurves[algorithm]
  // RFC 7518 section 3.4: R and S side by side, each of the curve's size.
  if (curve !== undefined && signature.length !== 2 * curve.bytes) return false
  try {
    return verify(digest, signed, { key, dsaEncoding: "ieee-p1363" }, signature)
  } catch {
    // Some malformed signatures are thrown at, not just found wrong.
    return false
  }
}
