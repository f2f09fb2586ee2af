/** Making and comparing bearer secrets. They have 256 bits, so a plain SHA-256 is enough to store them. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"

/** SHA-256 as lower-case hex: the only form in which keys, session cookies and tokens are stored and looked up. */
export const secretHash = (secret: string): string => createHash("sha256").update(secret).digest("hex")

/** `prefix` lets secret scanners recognise a leaked key. */
export const newSecret = (prefix = ""): string => prefix + randomBytes(32).toString("base64url")

/** Compares two hashes of equal length in constant time. */
export const sameHash = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
