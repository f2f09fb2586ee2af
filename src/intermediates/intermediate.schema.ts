/** CAs of a hierarchy on the wire. */
import * as v from "valibot"
import type { KeyType } from "../pki/keys"
import { mapOf, ResourceName } from "../server/resource.schema"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { NewChild, NewRoot } from "./intermediate.service"
import type { IntermediateRow } from "./intermediate.store"

/** Wire names of key types: RSA, ECDSA and size. */
const algorithms = {
  "ECDSA-P256": "ecdsa-p256",
  "ECDSA-P384": "ecdsa-p384",
  "RSA-2048": "rsa-2048",
  "RSA-3072": "rsa-3072",
  "RSA-4096": "rsa-4096",
} as const satisfies Record<string, KeyType>
type Algorithm = keyof typeof algorithms

const Texts = v.optional(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(64))), [])
const Metadata = v.optional(mapOf(v.unknown()), {})

const Subject = v.object({
  common_name: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  organization: Texts,
  organizational_unit: Texts,
  country: v.optional(
    v.array(v.pipe(v.string(), v.regex(/^[A-Za-z]{2}$/, "must be a country code of two letters"))),
    [],
  ),
  locality: Texts,
  province: Texts,
})

const Constraints = v.object({ permitted: v.optional(v.array(v.string())), excluded: v.optional(v.array(v.string())) })

const RootBody = v.object({
  name: ResourceName,
  root_cert_pem: v.pipe(v.string(), v.minLength(1)),
  key_driver_id: v.pipe(v.string(), v.minLength(1), v.maxLength(4096)),
  metadata: Metadata,
})

const ChildBody = v.object({
  name: ResourceName,
  parent_ca_id: v.pipe(v.string(), v.minLength(1)),
  subject: Subject,
  algorithm: v.optional(v.picklist(Object.keys(algorithms) as Algorithm[]), "ECDSA-P256"),
  ttl_days: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(36_500)), 1825),
  path_len_constraint: v.optional(v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10)))),
  name_constraints: v.optional(v.array(Constraints), []),
  ocsp_responder_url: v.optional(v.union([v.literal(""), v.pipe(v.string(), v.url("must be a URL"))]), ""),
  metadata: Metadata,
})

/** A root names its certificate, a child its parent. */
export const NewIntermediateBody = v.union(
  [RootBody, ChildBody],
  "must describe a root (root_cert_pem, key_driver_id) or a child (parent_ca_id, subject)",
)

type Body = v.InferOutput<typeof NewIntermediateBody>

export const newRootIn = (body: Body): NewRoot | null =>
  "root_cert_pem" in body
    ? { name: body.name, rootCertPem: body.root_cert_pem, keyDriverId: body.key_driver_id, metadata: body.metadata }
    : null

export const newChildIn = (body: v.InferOutput<typeof ChildBody>): NewChild => ({
  name: body.name,
  parentCaId: body.parent_ca_id,
  subject: {
    commonName: body.subject.common_name,
    organization: body.subject.organization,
    organizationalUnit: body.subject.organizational_unit,
    country: body.subject.country,
    locality: body.subject.locality,
    province: body.subject.province,
  },
  keyType: algorithms[body.algorithm],
  ttlDays: body.ttl_days,
  pathLenConstraint: body.path_len_constraint ?? null,
  nameConstraints: {
    permitted: body.name_constraints.flatMap(({ permitted = [] }) => permitted),
    excluded: body.name_constraints.flatMap(({ excluded = [] }) => excluded),
  },
  ocspResponderUrl: body.ocsp_responder_url,
  metadata: body.metadata,
})

export const IntermediateAnswer = v.pipe(
  v.object({
    id: v.string(),
    owning_issuer_id: v.string(),
    parent_ca_id: v.optional(v.string()),
    name: v.string(),
    subject: v.string(),
    state: v.picklist(["active", "retiring", "retired"]),
    cert_pem: v.string(),
    key_driver_id: v.string(),
    not_before: WireTime,
    not_after: WireTime,
    path_len_constraint: v.optional(v.number()),
    name_constraints: v.optional(v.array(Constraints)),
    ocsp_responder_url: v.optional(v.string()),
    metadata: v.optional(mapOf(v.unknown())),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "IntermediateCa" }),
)

export const intermediateAnswer = (row: IntermediateRow) =>
  withoutAbsent({
    id: row.id,
    owning_issuer_id: row.owningIssuerId,
    parent_ca_id: row.parentCaId,
    name: row.name,
    subject: row.subject,
    state: row.state,
    cert_pem: row.certPem,
    key_driver_id: row.keyDriverId,
    not_before: requiredTime(row.notBefore),
    not_after: requiredTime(row.notAfter),
    path_len_constraint: row.pathLenConstraint,
    name_constraints: row.nameConstraints.length === 0 ? null : row.nameConstraints,
    ocsp_responder_url: row.ocspResponderUrl === "" ? null : row.ocspResponderUrl,
    metadata: Object.keys(row.metadata).length === 0 ? null : row.metadata,
    created_at: requiredTime(row.createdAt),
    updated_at: requiredTime(row.updatedAt),
  })
