/** The names of an order: which may be asked for, and whether a CSR asks for exactly these. */
import type { AcmeIdentifier } from "../db/tables/acme.tables"
import type { Csr } from "../pki/csr"
import { DerReader, tags } from "../pki/der.reader"
import { ipBytes, typedSanProblem } from "../pki/names"
import { compileNamePattern } from "../profiles/name-pattern"
import { acmeProblem } from "./acme.problem"

/**
 * Lower case, each once, in the order of the request.
 * @throws AppError `unsupportedIdentifier`, `rejectedIdentifier`
 */
export const readIdentifiers = (
  asked: readonly { readonly type: string; readonly value: string }[],
  requiredPatterns: readonly string[],
): AcmeIdentifier[] => {
  const matchers = requiredPatterns.map(compileNamePattern)
  const names = asked.map(({ type, value }) => {
    if (type !== "dns") throw acmeProblem("unsupportedIdentifier", "identifiers must be of the type dns")
    const name = value.toLowerCase()
    const problem = ipBytes(name) === null ? typedSanProblem({ type: "dns", value: name }) : "is an IP address"
    if (problem !== null) throw acmeProblem("rejectedIdentifier", `${JSON.stringify(value)} ${problem}`)
    if (matchers.length > 0 && !matchers.some((matches) => matches(name))) {
      throw acmeProblem("rejectedIdentifier", `${name} matches none of the patterns of this profile`)
    }
    return name
  })
  return [...new Set(names)].map((value) => ({ type: "dns", value }))
}

/** The name of a certificate whose CSR has no common name: the same for the same names, however they are ordered. */
export const leadingName = (names: readonly string[]): string =>
  [...names].sort(
    (a, b) => Number(a.startsWith("*")) - Number(b.startsWith("*")) || a.length - b.length || (a < b ? -1 : 1),
  )[0] ?? ""

/** Whether the subject holds anything but one common name. */
const hasFurtherSubject = ({ subjectDer, commonName }: Csr): boolean => {
  const name = new DerReader(subjectDer, "CSR subject").enter(tags.sequence)
  let parts = 0
  while (!name.done) {
    name.next(tags.set)
    parts += 1
  }
  return parts > (commonName === "" ? 0 : 1)
}

/**
 * RFC 8555 section 7.4: the CSR has exactly the names of the order.
 * @throws AppError `badCSR`
 */
export const demandSameNames = (csr: Csr, identifiers: readonly AcmeIdentifier[]): void => {
  const refuse = (detail: string) => acmeProblem("badCSR", detail)
  const odd = csr.sans.find(({ type }) => type !== "dns")
  if (odd !== undefined || csr.otherNames.length > 0) throw refuse("the CSR must ask for DNS names only")
  const wanted = new Set(identifiers.map(({ value }) => value))
  const asked = new Set(
    [...csr.sans.map(({ value }) => value), csr.commonName]
      .filter((name) => name !== "")
      .map((name) => name.toLowerCase()),
  )
  const missing = [...wanted].find((name) => !asked.has(name))
  const extra = [...asked].find((name) => !wanted.has(name))
  if (extra !== undefined) throw refuse(`the CSR asks for ${JSON.stringify(extra)}, which the order does not have`)
  if (missing !== undefined) throw refuse(`the CSR lacks ${missing}, which the order has`)
  // Nobody has proven an organisation or a country, and the CA signs the subject as it stands.
  if (hasFurtherSubject(csr)) throw refuse("the CSR's subject may have a common name only")
}
