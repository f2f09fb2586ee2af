/**
 * The patterns of a profile: regular expressions for DNS names, and a wildcard form for SPIFFE ids. Expressions run in RE2, whose
 * time is linear in the name: a CSR comes from outside, and a backtracking matcher could be held up by one.
 */
import { RE2JS } from "re2js"
import { AppError } from "../errors"

const longestPattern = 512

export type NameMatcher = (name: string) => boolean

const labels = (name: string): string[] => name.toLowerCase().split(".")

/** `*.example.com`, which is no regular expression: exactly one label before the domain. */
const wildcardMatcher = (pattern: string): NameMatcher => {
  const domain = labels(pattern).slice(1)
  return (name) => {
    const [first, ...rest] = labels(name)
    return first !== "" && rest.length === domain.length && rest.every((label, i) => label === domain[i])
  }
}

/**
 * A pattern covers whole names, in any case. Throws `validation`, saying what is wrong with the pattern; the text goes after the
 * name of a field.
 */
export const compileNamePattern = (pattern: string): NameMatcher => {
  if (pattern === "") throw new AppError("validation", "must not be empty")
  if (pattern.length > longestPattern) {
    throw new AppError("validation", `must be at most ${longestPattern} characters long`)
  }
  if (pattern.startsWith("*.")) return wildcardMatcher(pattern)
  try {
    const compiled = RE2JS.compile(pattern, RE2JS.CASE_INSENSITIVE)
    return (name) => compiled.matches(name)
  } catch (error) {
    throw new AppError("validation", "must be a regular expression (RE2 syntax)", { cause: error })
  }
}

const segment = /^(?:\*|[A-Za-z0-9._-]+)$/

/** `*` in `spiffe://trust.domain/ns/prod/sa/*` stands for exactly one path segment. Throws `validation` as above. */
export const compileSpiffePattern = (pattern: string): NameMatcher => {
  if (pattern.length > longestPattern) {
    throw new AppError("validation", `must be at most ${longestPattern} characters long`)
  }
  const [domain = "", ...path] = pattern.startsWith("spiffe://") ? pattern.slice("spiffe://".length).split("/") : []
  if (!/^[a-z0-9._-]+$/.test(domain) || !path.every((part) => segment.test(part))) {
    throw new AppError("validation", "must be a SPIFFE id (spiffe://domain/path), with * for whole path segments")
  }
  return (uri) => {
    if (!uri.startsWith("spiffe://")) return false
    const [host, ...parts] = uri.slice("spiffe://".length).split("/")
    return (
      host === domain &&
      parts.length === path.length &&
      parts.every((part, i) => (path[i] === "*" ? part !== "" : part === path[i]))
    )
  }
}
