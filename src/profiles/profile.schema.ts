/** Certificate profiles on the wire. */
import * as v from "valibot"
import type { KeyRule } from "../db/tables/issuance.tables"
import { AppError } from "../errors"
import { documentedAs } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, ResourceName, withoutUndefined } from "../server/resource.schema"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import { compileNamePattern, compileSpiffePattern, type NameMatcher } from "./name-pattern"
import type { NewProfile, ProfilePatch } from "./profile.service"
import type { ProfileRow } from "./profile.store"

const extendedKeyUsages = ["serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping"] as const

const defaultKeyRules: KeyRule[] = [
  { algorithm: "ECDSA", min_size: 256 },
  { algorithm: "RSA", min_size: 2048 },
]

const size = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))

const KeyRules = v.pipe(
  v.array(
    v.variant("algorithm", [
      v.object({ algorithm: v.literal("RSA"), min_size: v.optional(size(2048, 16_384), 2048) }),
      // The sizes of the curves in use: 256, 384 and 521.
      v.object({ algorithm: v.literal("ECDSA"), min_size: v.optional(size(256, 521), 256) }),
      v.object({ algorithm: v.literal("Ed25519"), min_size: v.optional(v.number(), 256) }),
    ]),
  ),
  v.maxLength(16),
  v.transform((rules): KeyRule[] =>
    // Ed25519 has one size only; whatever is sent is set right.
    rules.length === 0
      ? defaultKeyRules
      : rules.map((rule) => (rule.algorithm === "Ed25519" ? { ...rule, min_size: 256 } : rule)),
  ),
)

const Ekus = v.pipe(
  v.array(v.picklist(extendedKeyUsages)),
  v.transform((ekus): string[] => (ekus.length === 0 ? ["serverAuth"] : [...new Set(ekus)])),
)

/** Checks by compiling, with the compiler's own words. */
const compiles = (compile: (pattern: string) => NameMatcher) =>
  v.rawCheck<string>(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    try {
      compile(dataset.value)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      addIssue({ message: error.message })
    }
  })

const settings = {
  name: ResourceName,
  description: v.pipe(v.string(), v.maxLength(4000)),
  allowed_key_algorithms: KeyRules,
  max_ttl_seconds: size(0, 3_153_600_000),
  allowed_ekus: Ekus,
  required_san_patterns: v.pipe(
    v.array(v.pipe(v.string(), documentedAs({ type: "string", format: "name-pattern" }), compiles(compileNamePattern))),
    v.maxLength(100),
  ),
  spiffe_uri_pattern: v.pipe(
    v.string(),
    documentedAs({ type: "string", format: "spiffe-pattern" }),
    compiles((pattern) => (pattern === "" ? () => true : compileSpiffePattern(pattern))),
  ),
  allow_short_lived: v.boolean(),
  enabled: v.boolean(),
  must_staple: v.boolean(),
  required_csr_attributes: v.pipe(v.array(v.pipe(v.string(), v.maxLength(255))), v.maxLength(100)),
  requires_approval: v.boolean(),
  acme_auth_mode: v.pipe(
    v.picklist(["", "trust_authenticated", "challenge"]),
    // Empty: as the server is configured.
    v.transform((mode) => (mode === "" ? null : mode)),
  ),
  acme_issuer_id: v.pipe(
    v.string(),
    v.maxLength(255),
    // Empty: the local CA again.
    v.transform((id) => id || null),
  ),
}

const Patch = v.partial(v.object(settings))

const columnsOf = (body: v.InferOutput<typeof Patch>): ProfilePatch =>
  withoutUndefined({
    name: body.name,
    description: body.description,
    allowedKeyAlgorithms: body.allowed_key_algorithms,
    maxTtlSeconds: body.max_ttl_seconds,
    allowedEkus: body.allowed_ekus,
    requiredSanPatterns: body.required_san_patterns,
    spiffeUriPattern: body.spiffe_uri_pattern,
    allowShortLived: body.allow_short_lived,
    enabled: body.enabled,
    mustStaple: body.must_staple,
    requiredCsrAttributes: body.required_csr_attributes,
    requiresApproval: body.requires_approval,
    acmeAuthMode: body.acme_auth_mode,
    acmeIssuerId: body.acme_issuer_id,
  })

export const ProfilePatchBody = v.pipe(Patch, v.transform(columnsOf))

export const NewProfileBody = v.pipe(
  v.object({ ...Patch.entries, id: ChosenId, name: settings.name }),
  v.transform(
    ({ id, name, ...rest }): NewProfile => ({
      description: "",
      allowedKeyAlgorithms: defaultKeyRules,
      maxTtlSeconds: 0,
      allowedEkus: ["serverAuth"],
      requiredSanPatterns: [],
      spiffeUriPattern: "",
      allowShortLived: false,
      enabled: true,
      mustStaple: false,
      requiredCsrAttributes: [],
      requiresApproval: false,
      acmeAuthMode: null,
      acmeIssuerId: null,
      ...columnsOf(rest),
      id,
      name,
    }),
  ),
)

export const ProfileAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    description: v.string(),
    allowed_key_algorithms: v.array(
      v.object({ algorithm: v.picklist(["RSA", "ECDSA", "Ed25519"]), min_size: v.number() }),
    ),
    max_ttl_seconds: v.number(),
    allowed_ekus: v.array(v.string()),
    required_san_patterns: v.array(v.string()),
    spiffe_uri_pattern: v.string(),
    allow_short_lived: v.boolean(),
    enabled: v.boolean(),
    must_staple: v.boolean(),
    required_csr_attributes: v.optional(v.array(v.string())),
    requires_approval: v.optional(v.boolean()),
    acme_auth_mode: v.optional(v.picklist(["trust_authenticated", "challenge"])),
    acme_issuer_id: v.optional(v.string()),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "Profile" }),
)

export const ProfileListAnswer = pagedListOf(ProfileAnswer)

export const ProfileQuery = v.object(listParams(["id", "name", "description"]))

export const profileAnswer = (profile: ProfileRow) =>
  withoutAbsent({
    id: profile.id,
    name: profile.name,
    description: profile.description,
    allowed_key_algorithms: profile.allowedKeyAlgorithms,
    max_ttl_seconds: profile.maxTtlSeconds,
    allowed_ekus: profile.allowedEkus,
    required_san_patterns: profile.requiredSanPatterns,
    spiffe_uri_pattern: profile.spiffeUriPattern,
    allow_short_lived: profile.allowShortLived,
    enabled: profile.enabled,
    must_staple: profile.mustStaple,
    required_csr_attributes: profile.requiredCsrAttributes.length === 0 ? undefined : profile.requiredCsrAttributes,
    requires_approval: profile.requiresApproval ? true : undefined,
    acme_auth_mode: profile.acmeAuthMode,
    acme_issuer_id: profile.acmeIssuerId,
    created_at: requiredTime(profile.createdAt),
    updated_at: requiredTime(profile.updatedAt),
  })
