/** Revocation, bulk operations and exports on the wire. */
import * as v from "valibot"
import { type RevocationReason, revocationReasonCodes } from "../connectors/issuers/contract"
import { documentedAs } from "../server/json-schema"
import type { BulkCriteria, BulkFailure } from "./bulk.service"

export const revocationReasons = Object.keys(revocationReasonCodes) as RevocationReason[]

const Reason = v.picklist(revocationReasons, `must be one of ${revocationReasons.join(", ")}`)

/** Nothing said is no reason in particular. */
const OptionalReason = v.nullish(
  v.pipe(
    v.union([v.literal(""), Reason], `must be one of ${revocationReasons.join(", ")}`),
    v.transform((reason): RevocationReason => reason || "unspecified"),
  ),
  "unspecified",
)

export const RevokeBody = v.object({ reason: OptionalReason })
export const RevokeAnswer = v.object({ status: v.literal("revoked") })

const idText = v.nullish(v.pipe(v.string(), v.maxLength(255)))
const criteria = {
  profile_id: idText,
  owner_id: idText,
  agent_id: idText,
  issuer_id: idText,
  team_id: idText,
  certificate_ids: v.nullish(v.array(v.pipe(v.string(), v.maxLength(255)))),
}

type CriteriaInput = v.InferOutput<ReturnType<typeof criteriaObject>>
const criteriaObject = () => v.object(criteria)

const idOf = (text: string | null | undefined): string | undefined =>
  text === null || text === undefined || text === "" ? undefined : text

const criteriaOf = (body: CriteriaInput): BulkCriteria => ({
  profileId: idOf(body.profile_id),
  ownerId: idOf(body.owner_id),
  agentId: idOf(body.agent_id),
  issuerId: idOf(body.issuer_id),
  teamId: idOf(body.team_id),
  certificateIds: body.certificate_ids?.length ? body.certificate_ids : undefined,
})

/** Without one, it would be about the whole inventory. */
const namesSomething = (body: CriteriaInput): boolean =>
  Object.values(criteriaOf(body)).some((criterion) => criterion !== undefined)

const mustName =
  "must name at least one of profile_id, owner_id, agent_id, issuer_id, team_id and certificate_ids to say which certificates are meant"

export const BulkRevokeBody = v.pipe(
  v.object({
    reason: v.pipe(v.string(), documentedAs({ type: "string", enum: revocationReasons }), v.minLength(1), Reason),
    ...criteria,
  }),
  v.check((body) => namesSomething(body), mustName),
  v.transform((body) => ({ criteria: criteriaOf(body), reason: body.reason })),
)

export const BulkRenewBody = v.pipe(criteriaObject(), v.check(namesSomething, mustName), v.transform(criteriaOf))

export const BulkReassignBody = v.pipe(
  v.object({
    certificate_ids: v.pipe(v.array(v.pipe(v.string(), v.maxLength(255))), v.minLength(1, "is required")),
    owner_id: v.pipe(v.string(), v.minLength(1), v.maxLength(255)),
    team_id: idText,
  }),
  v.transform((body) => ({
    certificateIds: body.certificate_ids,
    ownerId: body.owner_id,
    teamId: idOf(body.team_id),
  })),
)

const total = v.pipe(v.number(), v.integer())
const Failures = v.optional(v.array(v.object({ certificate_id: v.string(), error: v.string() })))

export const BulkRevokeAnswer = v.object({
  total_matched: total,
  total_revoked: total,
  total_skipped: total,
  total_failed: total,
  errors: Failures,
})

export const BulkRenewAnswer = v.object({
  total_matched: total,
  total_enqueued: total,
  total_skipped: total,
  total_failed: total,
  enqueued_jobs: v.optional(v.array(v.object({ certificate_id: v.string(), job_id: v.string() }))),
  errors: Failures,
})

export const BulkReassignAnswer = v.object({
  total_matched: total,
  total_reassigned: total,
  total_skipped: total,
  total_failed: total,
  errors: Failures,
})

/** The rest of a bulk answer; without failures the key is left out. */
export const failuresAnswer = (failures: readonly BulkFailure[]) => ({
  total_failed: failures.length,
  ...(failures.length === 0
    ? {}
    : { errors: failures.map(({ certificateId, error }) => ({ certificate_id: certificateId, error })) }),
})

export const PemQuery = v.object({ download: v.optional(v.string()) })
export const PemAnswer = v.object({ cert_pem: v.string(), chain_pem: v.string(), full_pem: v.string() })
export const Pkcs12Body = v.object({ password: v.nullish(v.pipe(v.string(), v.maxLength(1024))) })
