/**
 * What a CSR must satisfy before any CA sees it: the same rules on every issuing path. A CSR never widens what the
 * certificate and its profile allow.
 */
import type { KeyRule } from "../db/tables/issuance.tables"
import { AppError } from "../errors"
import type { Csr } from "../pki/csr"
import { nameKey, sanOf } from "../pki/names"
import { compileNamePattern, compileSpiffePattern } from "../profiles/name-pattern"

export interface IssuanceRules {
  readonly commonName: string
  readonly sans: readonly string[]
  readonly profile: {
    readonly id: string
    readonly enabled: boolean
    readonly allowedKeyAlgorithms: readonly KeyRule[]
    readonly allowedEkus: readonly string[]
    readonly maxTtlSeconds: number
    readonly mustStaple: boolean
    readonly allowShortLived: boolean
    readonly requiredSanPatterns: readonly string[]
    readonly spiffeUriPattern: string
  } | null
}

/** Shortest RSA key that is signed even without a profile, in bits. */
const minRsaBits = 2048

const refuse = (message: string): never => {
  throw new AppError("validation", message)
}

const checkNames = (csr: Csr, { commonName, sans }: IssuanceRules): void => {
  if (nameKey(csr.commonName) !== nameKey(commonName)) {
    refuse(`csr_pem must have the common name ${commonName}, not ${csr.commonName || "none"}`)
  }
  // Compared as text, whatever type the client gave a name: the signer types them anew.
  const allowed = new Set([commonName, ...sans].map(nameKey))
  for (const san of csr.sans) {
    if (!allowed.has(nameKey(san.value)))
      refuse(`csr_pem asks for the name ${san.value}, which the certificate does not have`)
  }
}

/** The names that will be signed: the certificate's own, of which those of the CSR are some. */
const checkPatterns = ({ commonName, sans, profile }: IssuanceRules): void => {
  if (profile === null) return
  const names = [...new Set([commonName, ...sans])].map(sanOf)
  const { requiredSanPatterns: patterns, spiffeUriPattern } = profile
  if (patterns.length > 0) {
    const matchers = patterns.map(compileNamePattern)
    const odd = names.find(({ type, value }) => type === "dns" && !matchers.some((matches) => matches(value)))
    if (odd !== undefined) {
      refuse(`the name ${odd.value} matches none of the patterns of profile ${profile.id}: ${patterns.join(", ")}`)
    }
  }
  if (spiffeUriPattern !== "") {
    const uris = names.filter(({ type }) => type === "uri")
    const [uri] = uris
    if (uri === undefined || uris.length > 1) {
      refuse(`profile ${profile.id} requires exactly one URI name, a SPIFFE id; the certificate has ${uris.length}`)
    } else if (!compileSpiffePattern(spiffeUriPattern)(uri.value)) {
      refuse(`the URI ${uri.value} does not match ${spiffeUriPattern}, as profile ${profile.id} requires`)
    }
  }
}

const describe = (rules: readonly KeyRule[]): string =>
  rules.map(({ algorithm, min_size }) => (algorithm === "Ed25519" ? algorithm : `${algorithm} ${min_size}+`)).join(", ")

const checkKey = ({ keyAlgorithm, keySize }: Csr, { profile }: IssuanceRules): void => {
  if (keyAlgorithm === "RSA" && keySize < minRsaBits) {
    refuse(`csr_pem has an RSA key of ${keySize} bits; at least ${minRsaBits} are required`)
  }
  const rules = profile?.allowedKeyAlgorithms ?? []
  if (rules.length === 0) return
  const size = keyAlgorithm === "Ed25519" ? 256 : keySize
  const fits = rules.some((rule) => rule.algorithm === keyAlgorithm && size >= rule.min_size)
  if (!fits) refuse(`csr_pem has a key ${keyAlgorithm} ${keySize}; profile ${profile?.id} allows ${describe(rules)}`)
}

/** Fails with `validation`, naming the rule and the offending value. The signature was verified when the CSR was parsed. */
export const checkCsr = (csr: Csr, rules: IssuanceRules): void => {
  if (rules.profile !== null && !rules.profile.enabled) refuse(`profile ${rules.profile.id} is disabled`)
  checkNames(csr, rules)
  checkPatterns(rules)
  checkKey(csr, rules)
}

/** Short-lived certificates need no revocation: they are gone before anybody would look. */
export const isShortLived = (profile: IssuanceRules["profile"]): boolean =>
  profile?.allowShortLived === true && profile.maxTtlSeconds > 0 && profile.maxTtlSeconds < 3600

/** Longest that a returned notAfter may lie beyond the profile's limit. */
const ttlToleranceMs = 60_000

/** Refuses a certificate that lives longer than the profile allows, counted from now since notBefore is backdated. */
export const checkLifetime = (notAfter: Date, profile: IssuanceRules["profile"], now: Date): void => {
  if (profile === null || profile.maxTtlSeconds === 0) return
  const latest = now.getTime() + profile.maxTtlSeconds * 1000 + ttlToleranceMs
  if (notAfter.getTime() > latest) {
    throw new AppError(
      "upstream",
      `the issuer returned a certificate until ${notAfter.toISOString()}, beyond the ${profile.maxTtlSeconds} seconds that profile ${profile.id} allows`,
    )
  }
}
