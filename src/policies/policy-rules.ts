/**
 * The types of policy rule: what each one's configuration holds, and when a certificate violates it. Pure: the moment and
 * everything that is judged are parameters.
 */
import * as v from "valibot"
import { AppError } from "../errors"
import { sanOf, sanProblem } from "../pki/names"
import { complaintsOf } from "../server/validation"

const dayMs = 86_400_000
const defaultLeadTimeDays = 30
/** Entries of a list that a message names; more would hide what is wrong. */
const mostNamed = 5

/** What a rule looks at. */
export interface RuleSubject {
  readonly issuerId: string
  readonly sans: readonly string[]
  readonly environment: string
  readonly tags: Readonly<Record<string, string>>
  readonly expiresAt: Date | null
  /** The X.509 issued last; null when nothing was. */
  readonly newest: { readonly notBefore: Date; readonly notAfter: Date } | null
}

/** The words of the violation; null: the rule holds. They do not change from day to day while nothing else does. */
export type RuleCheck = (subject: RuleSubject, now: Date) => string | null

interface RuleDefinition {
  readonly config: v.GenericSchema
  readonly checkOf: (config: unknown) => RuleCheck
}

const some = (entries: readonly string[]): string =>
  entries.length <= mostNamed
    ? entries.join(", ")
    : `${entries.slice(0, mostNamed).join(", ")} and ${entries.length - mostNamed} more`

const Texts = v.optional(
  v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(255))), v.maxLength(1000)),
  () => [],
)
const Domains = v.optional(
  v.pipe(
    v.array(
      v.pipe(
        v.string(),
        v.minLength(1),
        v.check((text) => sanProblem(text) === null, "must be a name such as example.com or *.example.com"),
      ),
    ),
    v.maxLength(1000),
  ),
  () => [],
)
const Days = v.optional(v.pipe(v.number(), v.integer(), v.minValue(-1_000_000), v.maxValue(1_000_000)), 0)

/** One spelling for each name: rules ignore case. */
const spelling = (name: string): string => sanOf(name).value.toLowerCase()

/** `*.example.com` covers names with exactly one label more; every other entry covers itself. Both in one spelling. */
const coveredBy = (entry: string, name: string): boolean => {
  if (entry === name) return true
  if (!entry.startsWith("*.") || sanOf(name).type !== "dns") return false
  const dot = name.indexOf(".")
  return dot > 0 && name.slice(dot) === entry.slice(1)
}

const day = (time: Date): string => time.toISOString().slice(0, 10)

const define = <S extends v.GenericSchema>(
  config: S,
  checkOf: (config: v.InferOutput<S>) => RuleCheck,
): RuleDefinition => ({ config, checkOf: (parsed) => checkOf(parsed as v.InferOutput<S>) })

const definitions = {
  AllowedIssuers: define(v.object({ allowed_issuer_ids: Texts }), ({ allowed_issuer_ids: allowed }) => {
    const ids = new Set(allowed)
    return ({ issuerId }) => {
      if (issuerId === "") return "the certificate has no issuer"
      if (ids.size === 0 || ids.has(issuerId)) return null
      return `issuer ${issuerId} is not allowed; allowed: ${some(allowed)}`
    }
  }),

  AllowedDomains: define(v.object({ allowed_domains: Domains }), ({ allowed_domains: allowed }) => {
    const entries = allowed.map(spelling)
    return ({ sans }) => {
      if (sans.length === 0) return "the certificate has no subject alternative name"
      if (entries.length === 0) return null
      const outside = sans.filter((san) => {
        const name = spelling(san)
        return !entries.some((entry) => coveredBy(entry, name))
      })
      return outside.length === 0 ? null : `not among the allowed domains: ${some(outside)}; allowed: ${some(allowed)}`
    }
  }),

  RequiredMetadata: define(v.object({ required_keys: Texts }), ({ required_keys: required }) => ({ tags }) => {
    const missing = required.filter((key) => !Object.hasOwn(tags, key))
    if (missing.length > 0) return `tags that are required are missing: ${some(missing)}`
    return Object.keys(tags).length === 0 ? "the certificate has no tags" : null
  }),

  AllowedEnvironments: define(v.object({ allowed: Texts }), ({ allowed }) => {
    const environments = new Set(allowed)
    return ({ environment }) => {
      if (environment === "") return "the certificate has no environment"
      if (environments.size === 0 || environments.has(environment)) return null
      return `environment ${environment} is not allowed; allowed: ${some(allowed)}`
    }
  }),

  RenewalLeadTime: define(v.object({ lead_time_days: Days }), ({ lead_time_days }) => {
    const leadDays = lead_time_days > 0 ? lead_time_days : defaultLeadTimeDays
    return ({ expiresAt }, now) => {
      if (expiresAt === null) return null
      const days = (expiresAt.getTime() - now.getTime()) / dayMs
      if (days <= 0 || days >= leadDays) return null
      return `expires on ${day(expiresAt)}: less than ${leadDays} days ahead and not renewed`
    }
  }),

  CertificateLifetime: define(v.object({ max_days: Days }), ({ max_days: most }) => ({ newest }) => {
    if (most <= 0 || newest === null) return null
    // Whole days: notBefore is backdated by minutes, which does not make 90 days 91.
    const days = Math.floor((newest.notAfter.getTime() - newest.notBefore.getTime()) / dayMs)
    return days > most ? `the newest version is valid for ${days} days; at most ${most} are allowed` : null
  }),
} satisfies Record<string, RuleDefinition>

export type RuleType = keyof typeof definitions
export const ruleTypes = Object.keys(definitions) as [RuleType, ...RuleType[]]

const keysOf = (schema: v.GenericSchema): string[] =>
  "entries" in schema ? Object.keys(schema.entries as Record<string, unknown>) : []

/**
 * The check that a rule of this type and configuration makes. Further keys are ignored, as in every configuration.
 * @throws AppError `validation` naming the type, or the key of the configuration that does not fit
 */
export const ruleCheck = (type: string, config: Readonly<Record<string, unknown>>): RuleCheck => {
  const known = ruleTypes.find((name) => name === type)
  if (known === undefined) throw new AppError("validation", `type must be one of ${ruleTypes.join(", ")}`)
  const definition: RuleDefinition = definitions[known]
  // A configuration of other keys only was meant for another type, or is misspelt: the rule would never find anything.
  const [own = "config"] = keysOf(definition.config)
  if (Object.keys(config).length > 0 && !(own in config)) {
    throw new AppError("validation", `config.${own} is required for a rule of type ${known}`)
  }
  const parsed = v.safeParse(v.object({ config: definition.config }), { config })
  if (!parsed.success) throw new AppError("validation", complaintsOf(parsed.issues).slice(0, 5).join("; "))
  return definition.checkOf(parsed.output.config)
}
