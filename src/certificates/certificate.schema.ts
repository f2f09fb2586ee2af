/** Certificates and their versions on the wire. */
import * as v from "valibot"
import { certificateStatuses } from "../db/tables/certificate.tables"
import { documentedAs } from "../server/json-schema"
import { cursorListOf, listOf, listParams, pagedListOf } from "../server/paging"
import { ChosenId, mapOf, ResourceName, withoutUndefined } from "../server/resource.schema"
import { optionalTime, readTime, requiredTime, TimeFilter, WireTime, withoutAbsent } from "../server/wire"
import type { CertificateStatus } from "./certificate.machine"
import type { CertificatePatch, NewCertificate } from "./certificate.service"
import type { CertificateFilter, CertificateSort, MappedCertificate } from "./certificate-list.store"
import type { VersionRow } from "./version.store"

const Reference = v.pipe(v.string(), v.minLength(1), v.maxLength(255))
const Names = v.pipe(
  v.array(v.pipe(v.string(), documentedAs({ type: "string", format: "san" }), v.maxLength(253))),
  v.maxLength(100, "must have at most 100 names"),
)
const Tags = mapOf(v.string())
const noneIfEmpty = (text: string | null | undefined): string | null =>
  text === undefined || text === "" ? null : text

/** The order of the entries is the order in which a missing one is reported. */
export const NewCertificateBody = v.pipe(
  v.object({
    common_name: v.pipe(
      v.string(),
      documentedAs({ type: "string", format: "common-name", description: "A host name, IP or mail address" }),
      v.minLength(1),
      v.maxLength(253),
    ),
    owner_id: Reference,
    team_id: Reference,
    issuer_id: Reference,
    name: ResourceName,
    renewal_policy_id: Reference,
    id: ChosenId,
    sans: v.nullish(Names),
    environment: v.optional(v.pipe(v.string(), v.maxLength(50)), ""),
    target_ids: v.nullish(v.array(v.string())),
    certificate_profile_id: v.nullish(v.string()),
    status: v.optional(v.picklist([...certificateStatuses, ""])),
    expires_at: v.nullish(
      v.pipe(
        v.string(),
        documentedAs({ type: "string", format: "date-time" }),
        v.check((text) => readTime(text) !== null, "must be an RFC 3339 time"),
      ),
    ),
    tags: v.nullish(Tags),
  }),
  v.transform((body): NewCertificate => {
    const expiresAt = readTime(body.expires_at ?? "")
    return {
      id: body.id,
      name: body.name,
      commonName: body.common_name,
      sans: body.sans ?? [],
      environment: body.environment,
      ownerId: body.owner_id,
      teamId: body.team_id,
      issuerId: body.issuer_id,
      renewalPolicyId: body.renewal_policy_id,
      certificateProfileId: noneIfEmpty(body.certificate_profile_id),
      targetIds: body.target_ids ?? [],
      status: body.status === "" ? undefined : body.status,
      // Years before 2000 mean "none".
      expiresAt: expiresAt !== null && expiresAt.getUTCFullYear() >= 2000 ? expiresAt : undefined,
      tags: body.tags ?? {},
    }
  }),
)

/** An empty string counts as absent here, as clients send whole forms back. */
const kept = <S extends v.GenericSchema<string, string>>(schema: S) => v.optional(v.union([v.literal(""), schema]))
const unlessEmpty = (text: string | undefined): string | undefined => (text === "" ? undefined : text)

export const CertificatePatchBody = v.pipe(
  v.object({
    name: kept(ResourceName),
    sans: v.nullish(Names),
    environment: v.optional(v.pipe(v.string(), v.maxLength(50))),
    owner_id: kept(Reference),
    team_id: kept(Reference),
    issuer_id: kept(Reference),
    renewal_policy_id: kept(Reference),
    certificate_profile_id: v.nullish(v.string()),
    target_ids: v.nullish(v.array(v.string())),
    tags: v.nullish(Tags),
  }),
  v.transform(
    (body): CertificatePatch =>
      withoutUndefined({
        name: unlessEmpty(body.name),
        sans: body.sans ?? undefined,
        environment: unlessEmpty(body.environment),
        ownerId: unlessEmpty(body.owner_id),
        teamId: unlessEmpty(body.team_id),
        issuerId: unlessEmpty(body.issuer_id),
        renewalPolicyId: unlessEmpty(body.renewal_policy_id),
        certificateProfileId: body.certificate_profile_id === null ? null : unlessEmpty(body.certificate_profile_id),
        targetIds: body.target_ids ?? undefined,
        tags: body.tags ?? undefined,
      }),
  ),
)

const CertificateFields = v.object({
  id: v.string(),
  name: v.string(),
  common_name: v.string(),
  sans: v.array(v.string()),
  environment: v.string(),
  owner_id: v.string(),
  team_id: v.string(),
  issuer_id: v.string(),
  target_ids: v.array(v.string()),
  renewal_policy_id: v.string(),
  certificate_profile_id: v.optional(v.string()),
  status: v.picklist(certificateStatuses),
  expires_at: WireTime,
  renew_at: v.optional(v.pipe(WireTime, v.description("When it becomes due for renewal"))),
  tags: Tags,
  last_renewal_at: v.optional(WireTime),
  last_deployment_at: v.optional(WireTime),
  revoked_at: v.optional(WireTime),
  revocation_reason: v.optional(v.string()),
  source: v.optional(v.string()),
  created_at: WireTime,
  updated_at: WireTime,
})

export const CertificateAnswer = v.pipe(CertificateFields, v.metadata({ ref: "Certificate" }))

export const certificateAnswer = (certificate: MappedCertificate) =>
  withoutAbsent({
    id: certificate.id,
    name: certificate.name,
    common_name: certificate.commonName,
    sans: certificate.sans,
    environment: certificate.environment,
    owner_id: certificate.ownerId,
    team_id: certificate.teamId,
    issuer_id: certificate.issuerId,
    target_ids: [...certificate.targetIds],
    renewal_policy_id: certificate.renewalPolicyId,
    certificate_profile_id: certificate.certificateProfileId,
    status: certificate.status,
    expires_at: requiredTime(certificate.expiresAt),
    renew_at: optionalTime(certificate.renewAt),
    tags: certificate.tags,
    last_renewal_at: optionalTime(certificate.lastRenewalAt),
    last_deployment_at: optionalTime(certificate.lastDeploymentAt),
    revoked_at: optionalTime(certificate.revokedAt),
    revocation_reason: certificate.revocationReason,
    source: certificate.source === "" ? undefined : certificate.source,
    created_at: requiredTime(certificate.createdAt),
    updated_at: requiredTime(certificate.updatedAt),
  })

/** A row reduced to the keys asked for with `fields`. */
const PartialCertificate = v.partial(CertificateFields)
export const CertificateListAnswer = v.union([
  listOf(CertificateAnswer),
  cursorListOf(CertificateAnswer),
  listOf(PartialCertificate),
  cursorListOf(PartialCertificate),
])

const text = v.optional(v.string())

export const CertificateQuery = v.object({
  status: text,
  environment: text,
  owner_id: text,
  team_id: text,
  issuer_id: text,
  profile_id: text,
  agent_id: text,
  expires_before: TimeFilter,
  expires_after: TimeFilter,
  created_after: TimeFilter,
  updated_after: TimeFilter,
  sort: v.optional(
    v.pipe(
      v.string(),
      documentedAs({
        type: "string",
        description:
          "notAfter, expiresAt, createdAt, updatedAt, commonName, name, status or environment; `-` in front: descending",
      }),
    ),
  ),
  sort_desc: text,
  fields: v.optional(v.pipe(v.string(), v.description("Comma list of keys; rows are reduced to them"))),
  ...listParams(["id", "name", "common_name", "sans", "a whole serial_number or fingerprint_sha256"]),
})
type CertificateQuery = v.InferOutput<typeof CertificateQuery>

export const certificateFilter = (query: Partial<CertificateQuery>): CertificateFilter => ({
  // A status that does not exist matches nothing.
  status: unlessEmpty(query.status) as CertificateStatus | undefined,
  environment: unlessEmpty(query.environment),
  ownerId: unlessEmpty(query.owner_id),
  teamId: unlessEmpty(query.team_id),
  issuerId: unlessEmpty(query.issuer_id),
  profileId: unlessEmpty(query.profile_id),
  agentId: unlessEmpty(query.agent_id),
  search: unlessEmpty(query.q),
  expiresBefore: query.expires_before,
  expiresAfter: query.expires_after,
  createdAfter: query.created_after,
  updatedAfter: query.updated_after,
})

const sortColumns = new Map<string, CertificateSort["column"]>([
  ["notAfter", "expiresAt"],
  ["expiresAt", "expiresAt"],
  ["createdAt", "createdAt"],
  ["updatedAt", "updatedAt"],
  ["commonName", "commonName"],
  ["name", "name"],
  ["status", "status"],
  ["environment", "environment"],
])

/** null: the default order, also for what cannot be sorted by. */
export const certificateSort = ({ sort = "", sort_desc }: Partial<CertificateQuery>): CertificateSort | null => {
  const column = sortColumns.get(sort.replace(/^-/, ""))
  return column === undefined ? null : { column, descending: sort.startsWith("-") || sort_desc === "true" }
}

/** Reduces a row to the keys asked for; unknown ones are ignored. */
export const onlyFields = <R extends object>(row: R, fields: string | undefined): R => {
  if (fields === undefined || fields === "") return row
  const wanted = new Set(fields.split(",").map((field) => field.trim()))
  return Object.fromEntries(Object.entries(row).filter(([key]) => wanted.has(key))) as R
}

export const VersionAnswer = v.pipe(
  v.object({
    id: v.string(),
    certificate_id: v.string(),
    serial_number: v.string(),
    not_before: WireTime,
    not_after: WireTime,
    fingerprint_sha256: v.string(),
    pem_chain: v.string(),
    csr_pem: v.string(),
    key_algorithm: v.optional(v.string()),
    key_size: v.optional(v.pipe(v.number(), v.integer())),
    agent_id: v.optional(v.string()),
    issuer_id: v.optional(v.string()),
    created_at: WireTime,
  }),
  v.metadata({ ref: "CertificateVersion" }),
)
export const VersionListAnswer = pagedListOf(VersionAnswer)
export const VersionQuery = v.object(listParams(["id", "serial_number", "fingerprint_sha256", "agent_id"]))

const csrOnly =
  /^\s*-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END (?:NEW )?CERTIFICATE REQUEST-----\s*$/

export const versionAnswer = (version: VersionRow) =>
  withoutAbsent({
    id: version.id,
    certificate_id: version.certificateId,
    serial_number: version.serialNumber,
    not_before: requiredTime(version.notBefore),
    not_after: requiredTime(version.notAfter),
    fingerprint_sha256: version.fingerprintSha256,
    pem_chain: version.pemChain,
    // Whatever else a row may hold there, only a CSR gets out.
    csr_pem: csrOnly.test(version.csrPem) ? version.csrPem : "",
    key_algorithm: version.keyAlgorithm === "" ? undefined : version.keyAlgorithm,
    key_size: version.keySize === 0 ? undefined : version.keySize,
    agent_id: version.agentId,
    issuer_id: version.issuerId,
    created_at: requiredTime(version.createdAt),
  })

export const RenewQuery = v.object({ force: text })
export const RenewBody = v.object({ force: v.optional(v.boolean(), false) })
export const RenewAnswer = v.object({ status: v.literal("renewal_triggered"), job_id: v.string() })
export const isForced = (query: { force?: string }, body: { force: boolean }): boolean =>
  body.force || query.force === "true" || query.force === "1"

export const DeployBody = v.object({
  target_id: v.nullish(v.string()),
  version_id: v.nullish(v.string()),
  ignore_windows: v.pipe(
    v.nullish(v.boolean()),
    v.description("Begin at once, also outside the deployment windows of the targets"),
  ),
})
export const DeployAnswer = v.object({ status: v.literal("deployment_triggered") })
export const orAbsent = (id: string | null | undefined): string | undefined => noneIfEmpty(id) ?? undefined
