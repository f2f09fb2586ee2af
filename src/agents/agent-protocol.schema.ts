/**
 * The wire protocol between agent and server, read by both: the server validates and documents its routes with these
 * schemas, the agent checks every answer with them. Unknown keys are dropped on either side, so each may be newer.
 */
import * as v from "valibot"

const text = (description: string) => v.pipe(v.string(), v.description(description))
/** Clients of other makes send `null` for what they leave out. */
const optionalText = (description: string) => v.pipe(v.nullish(v.string()), v.description(description))
const nonEmptyText = (field: string, description: string) =>
  v.pipe(v.string(`${field} is required`), v.nonEmpty(`${field} is required`), v.description(description))
const fingerprint = (description: string) =>
  v.pipe(v.string(), v.description(`${description}: SHA-256, lower-case hex`))

/** POST /api/v1/agents/{id}/heartbeat. An empty string keeps the stored value; no body at all is plain liveness. */
export const HeartbeatBody = v.pipe(
  v.object({
    version: optionalText("Version of the agent"),
    hostname: optionalText("Host name of the machine"),
    os: optionalText("Operating system: linux, darwin, windows"),
    architecture: optionalText("Processor: amd64, arm64"),
    ip_address: optionalText("Address of the machine as it sees itself"),
  }),
  v.metadata({ ref: "AgentHeartbeat" }),
)
export type HeartbeatBody = v.InferInput<typeof HeartbeatBody>

export const HeartbeatAnswer = v.object({ status: v.literal("heartbeat_recorded") })
export type HeartbeatAnswer = v.InferOutput<typeof HeartbeatAnswer>

/** Query of GET /api/v1/agents/{id}/work. Values are text, as they arrive. */
export const WorkQuery = v.object({
  wait: v.pipe(v.optional(v.string()), v.description("Seconds (0-25) to hold an empty answer")),
  holding: v.pipe(
    v.optional(v.string()),
    v.description("Comma list of the jobs the agent works on; what it was given and does not name is given again"),
  ),
})
export type WorkQuery = v.InferOutput<typeof WorkQuery>

/** At most this many job ids are read from `holding`. */
export const maxHoldingJobs = 100
/** The longest time the server holds an empty work answer. */
export const maxWaitSeconds = 25

export const WorkItem = v.pipe(
  v.object({
    id: text("Job id"),
    type: text("Issuance, Renewal, Deployment or Validation"),
    certificate_id: text("Certificate id"),
    status: text("AwaitingCSR for CSR jobs, Running for deployments"),
    common_name: optionalText("Common name (CSR jobs)"),
    sans: v.pipe(v.nullish(v.array(v.string())), v.description("Subject alternative names (CSR jobs)")),
    key_algorithm: optionalText(
      "Key that the certificate's profile asks for (CSR jobs): ECDSA-P256, ECDSA-P384, ECDSA-P521, RSA-2048, RSA-3072, RSA-4096 or Ed25519; absent: the agent's choice",
    ),
    target_id: optionalText("Target id (deployments)"),
    target_type: optionalText("Connector type of the target"),
    target_config: v.pipe(
      v.nullish(v.record(v.string(), v.unknown())),
      v.description("The target's configuration, secrets included"),
    ),
    version_id: optionalText("The version to deploy; passed on when the certificate is fetched"),
    fingerprint_sha256: optionalText("Fingerprint of that version's leaf"),
  }),
  v.metadata({ ref: "WorkItem" }),
)
export type WorkItem = v.InferInput<typeof WorkItem>

/** Answer of GET /api/v1/agents/{id}/work. */
export const WorkAnswer = v.pipe(
  v.object({
    jobs: v.array(WorkItem),
    count: v.pipe(v.number(), v.integer(), v.description("Length of jobs")),
  }),
  v.metadata({ ref: "WorkAnswer" }),
)
export type WorkAnswer = v.InferInput<typeof WorkAnswer>

/** One row of GET /api/v1/agents/{id}/targets. */
export const AgentTarget = v.pipe(
  v.object({
    id: text("Target id"),
    name: text("Target name"),
    type: text("Connector type"),
    enabled: v.pipe(v.boolean(), v.description("Whether anything is deployed there")),
    config: v.pipe(
      v.optional(v.record(v.string(), v.unknown())),
      v.description(
        "The target's configuration, secrets included for the agent's own key and masked for others; absent when it cannot be opened",
      ),
    ),
  }),
  v.metadata({ ref: "AgentTarget" }),
)
export type AgentTarget = v.InferOutput<typeof AgentTarget>

/** What an agent needs of a page of its targets. */
export const AgentTargets = v.object({ data: v.array(AgentTarget), total: v.pipe(v.number(), v.integer()) })

/** POST /api/v1/agents/{id}/csr. */
export const CsrBody = v.pipe(
  v.object({
    csr_pem: nonEmptyText("csr_pem", "PKCS#10 request, PEM"),
    certificate_id: optionalText("The certificate it is for; without it the request is only recorded"),
  }),
  v.metadata({ ref: "AgentCsr" }),
)
export type CsrBody = v.InferInput<typeof CsrBody>

export const CsrAnswer = v.object({
  status: v.pipe(
    v.picklist(["csr_signed", "csr_accepted"]),
    v.description("csr_signed: the certificate can be fetched; csr_accepted: the CA is not done yet"),
  ),
})
export type CsrAnswer = v.InferOutput<typeof CsrAnswer>

/** Query of GET /api/v1/agents/{id}/certificates/{cert_id}. */
export const CertificateQuery = v.object({
  version_id: v.pipe(v.optional(v.string()), v.description("A version of the certificate; else the agent's newest")),
})
export type CertificateQuery = v.InferOutput<typeof CertificateQuery>

export const CertificateAnswer = v.object({ certificate_pem: text("Leaf, then the rest of the chain, PEM") })
export type CertificateAnswer = v.InferOutput<typeof CertificateAnswer>

/** What the agent knows of a deployment beside whether it ended well. Words of newer agents are let through and not counted. */
const DeploymentFacts = v.object({
  idempotent: v.pipe(v.nullish(v.boolean()), v.description("Everything was in place: nothing was written or reloaded")),
  failed_step: optionalText("validate, reload, verify or other"),
  rollback: optionalText("restored, or also_failed when somebody has to look"),
})
export type DeploymentFacts = v.InferInput<typeof DeploymentFacts>

export const reportedStatuses = ["Running", "Completed", "Failed"] as const

/** POST /api/v1/agents/{id}/jobs/{job_id}/status. */
export const StatusReport = v.pipe(
  v.object({
    status: v.picklist(reportedStatuses, "status must be Running, Completed or Failed"),
    error: optionalText("Why it failed"),
    deployment: v.nullish(DeploymentFacts),
  }),
  v.metadata({ ref: "JobStatusReport" }),
)
export type StatusReport = v.InferInput<typeof StatusReport>

export const StatusReportAnswer = v.object({ status: v.literal("updated") })
export type StatusReportAnswer = v.InferOutput<typeof StatusReportAnswer>

/** POST /api/v1/jobs/{job_id}/verify. A probe that failed has empty fingerprints and an `error`. */
export const VerifyBody = v.pipe(
  v.object({
    target_id: nonEmptyText("target_id", "Target that was deployed to"),
    expected_fingerprint: fingerprint("Leaf that was deployed"),
    actual_fingerprint: fingerprint("Leaf that is served; empty when the probe failed"),
    verified: v.boolean("verified must be true or false"),
    error: optionalText("Why the probe failed"),
  }),
  v.check(
    ({ expected_fingerprint, actual_fingerprint, error }) =>
      Boolean(error) || (expected_fingerprint !== "" && actual_fingerprint !== ""),
    "expected_fingerprint and actual_fingerprint are required unless error is given",
  ),
  v.metadata({ ref: "JobVerification" }),
)
export type VerifyBody = v.InferInput<typeof VerifyBody>

export const VerifyAnswer = v.object({
  job_id: text("Job id"),
  verified: v.boolean(),
  verified_at: v.pipe(v.string(), v.description("RFC 3339")),
})
export type VerifyAnswer = v.InferOutput<typeof VerifyAnswer>

export const DiscoveredCertificate = v.pipe(
  v.object({
    fingerprint_sha256: optionalText("SHA-256 of the DER, hex; an entry without one counts as an error"),
    common_name: v.nullish(v.string()),
    sans: v.nullish(v.array(v.string())),
    serial_number: v.pipe(v.nullish(v.string()), v.description("Lower-case hex")),
    issuer_dn: v.nullish(v.string()),
    subject_dn: v.nullish(v.string()),
    not_before: v.pipe(v.nullish(v.string()), v.description("RFC 3339; a bad date is dropped")),
    not_after: v.pipe(v.nullish(v.string()), v.description("RFC 3339; a bad date is dropped")),
    key_algorithm: v.nullish(v.string()),
    key_size: v.nullish(v.number()),
    is_ca: v.nullish(v.boolean()),
    pem_data: v.nullish(v.string()),
    source_path: v.nullish(v.string()),
    source_format: v.pipe(v.nullish(v.string()), v.description("PEM or DER")),
  }),
  v.metadata({ ref: "DiscoveredCertificateReport" }),
)
export type DiscoveredCertificate = v.InferInput<typeof DiscoveredCertificate>

/** POST /api/v1/agents/{id}/discoveries. `agent_id` is replaced by the id of the path. */
export const DiscoveryBody = v.pipe(
  v.object({
    agent_id: v.nullish(v.string()),
    directories: v.nullish(v.array(v.string())),
    certificates: v.nullish(v.array(DiscoveredCertificate)),
    errors: v.nullish(v.array(v.string())),
    scan_duration_ms: v.nullish(v.number()),
  }),
  v.metadata({ ref: "DiscoveryReport" }),
)
export type DiscoveryBody = v.InferInput<typeof DiscoveryBody>

/** POST /api/v1/agents. */
export const RegistrationBody = v.pipe(
  v.object({
    name: v.pipe(
      nonEmptyText("name", "Name, unique among agents not retired"),
      v.maxLength(255, "name must be at most 255 characters"),
    ),
    hostname: nonEmptyText("hostname", "Host name of the machine"),
    os: optionalText("Operating system: linux, darwin, windows"),
    architecture: optionalText("Processor: amd64, arm64"),
    ip_address: optionalText("Address of the machine as it sees itself"),
    version: optionalText("Version of the agent"),
  }),
  v.metadata({ ref: "AgentRegistration" }),
)
export type RegistrationBody = v.InferInput<typeof RegistrationBody>

/** What joining needs of the 201 answer, which is the agent's row and, this once, its key. */
export const RegistrationAnswer = v.object({
  id: text("Agent id"),
  name: text("Agent name"),
  api_key: v.pipe(v.string(), v.nonEmpty(), v.description("The agent's own key, shown once")),
})
export type RegistrationAnswer = v.InferOutput<typeof RegistrationAnswer>
