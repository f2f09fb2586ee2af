/**
 * What no document can say: which ids exist, and which state makes an operation answer so. Only what the generic calls of
 * `explore.ts` cannot reach stands here.
 */
import type { World } from "./world"

export interface Call {
  /** Values for the path, by name. */
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** Default: the administrator's. */
  readonly key?: string
}

type Recipe = (world: World) => Promise<Call>

/** By operation id, for operations on what is not made by a POST to the collection, or has to be in a certain state. */
export const subjects: Readonly<Record<string, Recipe>> = {
  get_job: async (w) => ({ params: { id: (await w.awaitingCsr()).jobId } }),
  cancel_job: async (w) => ({ params: { id: (await w.awaitingCsr()).jobId } }),
  get_job_verification: async (w) => ({ params: { id: (await w.issued()).deploymentId } }),
  approve_job: async (w) => ({ params: { id: (await w.awaitingApproval()).jobId }, key: await w.keyOf("operator") }),
  reject_job: async (w) => ({ params: { id: (await w.awaitingApproval()).jobId }, key: await w.keyOf("operator") }),
  verify_job: async (w) => {
    const { deploymentId, targetId, fingerprint } = await w.issued()
    const seen = { expected_fingerprint: fingerprint, actual_fingerprint: fingerprint, verified: true }
    return { params: { id: deploymentId }, body: { target_id: targetId, ...seen } }
  },
  get_audit_event: async (w) => ({ params: { id: (await w.ok("GET", "/audit")).data[0].id } }),
  get_notification: async (w) => ({ params: { id: await w.notified() } }),
  mark_notification_read: async (w) => ({ params: { id: await w.notified() } }),
  requeue_notification: async (w) => ({ params: { id: await w.notified() } }),
  get_discovered_certificate: async (w) => ({ params: { id: await w.discovered() } }),
  claim_discovered_certificate: async (w) => ({ params: { id: await w.discovered() } }),
  dismiss_discovered_certificate: async (w) => ({ params: { id: await w.discovered() } }),
  create_intermediate_ca: async (w) => {
    const { issuerId, body } = await w.newHierarchy()
    return { params: { id: issuerId }, body }
  },
  get_intermediate_ca: async (w) => ({ params: { id: await w.rootCa() } }),
  retire_intermediate_ca: async (w) => ({ params: { id: await w.rootCa() } }),
  roll_over_issuer_root: async (w) => ({ params: { id: await w.withRoot() } }),
  retire_issuer_root: async (w) => {
    const id = await w.withRoot()
    const [, former] = (await w.ok("POST", `/issuers/${id}/roots`)).data
    return { params: { id, key_id: former.key_id } }
  },
  get_approval: async (w) => ({ params: { id: await requestIdOf(w) } }),
  approve_request: async (w) => ({ params: { id: await requestIdOf(w) }, key: await w.keyOf("operator") }),
  reject_request: async (w) => ({ params: { id: await requestIdOf(w) }, key: await w.keyOf("operator") }),
  agent_submit_csr: async (w) => {
    const { agent, certificateId, csrPem } = await w.awaitingCsr()
    return { params: { id: agent.id }, body: { csr_pem: csrPem, certificate_id: certificateId } }
  },
  agent_pickup_certificate: async (w) => {
    const { agent, certificateId } = await w.issued()
    return { params: { id: agent.id, certId: certificateId } }
  },
  agent_report_job_status: async (w) => {
    const { agent, deploymentId } = await w.issued()
    return { params: { id: agent.id, jobId: deploymentId } }
  },
  agent_report_discoveries: async (w) => ({
    params: { id: await w.newId("agents") },
    body: { certificates: [{ fingerprint_sha256: "ab".repeat(32), not_before: "2026-01-01T00:00:00Z" }] },
  }),
  delete_acme_external_account: async (w) => {
    const body = { profile_id: await w.newId("profiles") }
    return { params: { id: (await w.ok("POST", "/admin/acme/external-accounts", body)).id } }
  },
  trigger_deployment: async (w) => {
    const { certificateId, targetId } = await w.issued()
    return { params: { id: certificateId }, body: { target_id: targetId } }
  },
  trigger_renewal: async (w) => ({ params: { id: (await w.placed()).certificateId } }),
  revoke_certificate: async (w) => ({ params: { id: (await w.issued()).certificateId } }),
  export_certificate_pem: async (w) => ({ params: { id: (await w.issued()).certificateId } }),
  export_certificate_pkcs12: async (w) => ({ params: { id: (await w.issued()).certificateId } }),
  test_issuer: async () => ({ params: { id: "iss-local" } }),
}

const requestIdOf = async (w: World): Promise<string> => {
  const { certificateId } = await w.awaitingApproval()
  return (await w.ok("GET", `/approvals?certificate_id=${certificateId}`)).data[0].id
}

/** By operation id and status. */
export const recipes: Readonly<Record<string, Readonly<Record<number, Recipe>>>> = {
  retire_agent: {
    204: async (w) => ({ params: { id: await w.retired() } }),
    400: async (w) => ({ params: { id: await w.newId("agents") }, query: { force: "true" } }),
    409: async (w) => ({ params: { id: (await w.placed()).agent.id } }),
  },
  rotate_api_key: {
    400: async (w) => {
      const id = await w.newId("api-keys")
      await w.ok("DELETE", `/api-keys/${id}`)
      return { params: { id } }
    },
  },
  cancel_job: {
    400: async (w) => {
      const { jobId } = await w.awaitingCsr()
      await w.ok("POST", `/jobs/${jobId}/cancel`)
      return { params: { id: jobId } }
    },
  },
  approve_job: {
    400: async (w) => ({ params: { id: (await w.awaitingCsr()).jobId }, key: await w.keyOf("operator") }),
  },
  agent_report_job_status: {
    409: async (w) => {
      const { agent, deploymentId } = await w.issued()
      await w.ok("POST", `/jobs/${deploymentId}/cancel`)
      return { params: { id: agent.id, jobId: deploymentId }, body: { status: "Completed" } }
    },
  },
  create_intermediate_ca: {
    409: async (w) => {
      const { issuerId, body } = await w.newHierarchy()
      await w.ok("POST", `/issuers/${issuerId}/intermediates`, body)
      return { params: { id: issuerId }, body: { ...body, name: "another root" } }
    },
    500: async (w) => {
      const { issuerId, body } = await w.newHierarchy("/nowhere/root.key")
      return { params: { id: issuerId }, body }
    },
  },
  retire_intermediate_ca: {
    409: async (w) => {
      const id = await w.rootCa()
      await w.ok("POST", `/intermediates/${id}/retire`)
      await w.ok("POST", `/intermediates/${id}/retire`, { confirm: true })
      return { params: { id }, body: {} }
    },
  },
  roll_over_issuer_root: {
    409: async (w) => ({ params: { id: (await w.create("issuers", { type: "GenericCA", config: {} })).id } }),
    501: async (w) => ({ params: { id: (await w.newHierarchy()).issuerId } }),
  },
  retire_issuer_root: {
    409: async (w) => {
      const id = await w.withRoot()
      const [{ key_id }] = (await w.ok("GET", `/issuers/${id}/roots`)).data
      return { params: { id, key_id } }
    },
  },
  agent_submit_csr: {
    500: async (w) => {
      const config = { ca_cert_path: "/nowhere/ca.pem", ca_key_path: "/nowhere/ca.key" }
      const { id: issuerId } = await w.create("issuers", { type: "GenericCA", config, enabled: true })
      const { agent, certificateId, csrPem } = await w.awaitingCsr({ issuer_id: issuerId })
      return { params: { id: agent.id }, body: { csr_pem: csrPem, certificate_id: certificateId } }
    },
  },
  test_issuer: {
    500: async (w) => {
      const config = { ca_cert_path: "/nowhere/ca.pem", ca_key_path: "/nowhere/ca.key" }
      return { params: { id: (await w.create("issuers", { config, enabled: true })).id } }
    },
  },
  trigger_renewal: {
    409: async (w) => ({ params: { id: (await w.awaitingCsr()).certificateId }, body: {} }),
  },
  update_health_check: {
    409: async (w) => {
      const certificate_id = w.standing("certificates")
      const { endpoint } = await w.create("health-checks", { certificate_id })
      const { id } = await w.create("health-checks", { certificate_id })
      return { params: { id }, body: { endpoint } }
    },
  },
  create_owner: { 409: async (w) => ({ body: { ...w.newBody("owners"), id: w.standing("owners") } }) },
  create_health_check: {
    409: async (w) => ({ body: { ...w.newBody("health-checks"), id: w.standing("health-checks") } }),
  },
  delete_profile: { 409: async (w) => ({ params: { id: (await w.awaitingApproval()).profileId } }) },
  approve_request: {
    409: async (w) => {
      const [id, key] = [await requestIdOf(w), await w.keyOf("operator")]
      await w.ok("POST", `/approvals/${id}/reject`, {}, key)
      return { params: { id }, key }
    },
  },
  reject_request: {
    409: async (w) => {
      const [id, key] = [await requestIdOf(w), await w.keyOf("operator")]
      await w.ok("POST", `/approvals/${id}/reject`, {}, key)
      return { params: { id }, key }
    },
  },
}

/**
 * Operations that refuse some bodies which their schema allows, and why a schema cannot say it.
 * A reference to a row that does not exist is 400 too, but the generator uses rows that do.
 */
export const beyondSchema: Readonly<Record<string, string>> = {
  create_issuer: "what config must hold depends on the type",
  update_issuer: "what config must hold depends on the type",
  create_target: "what config must hold depends on the type",
  update_target: "what config must hold depends on the type",
  create_policy: "what config must hold depends on the type",
  update_policy: "what config must hold depends on the type",
  create_profile: "max_ttl_seconds must fit allow_short_lived",
  update_profile: "max_ttl_seconds must fit allow_short_lived",
  bulk_revoke_certificates: "one criterion must be given",
  bulk_revoke_est_certificates: "one criterion must be given",
  bulk_renew_certificates: "one criterion must be given",
  create_intermediate_ca: "a root's certificate and key, a child's parent and name constraints must fit",
  create_health_check: "down_threshold must be above degraded_threshold",
  update_health_check: "down_threshold must be above degraded_threshold",
  agent_submit_csr: "the text must be a PKCS#10 request",
  agent_report_discoveries: "certificates or errors must be given",
  trigger_deployment: "target and version must belong to the certificate",
  verify_job: "the target must be the job's",
}

/** Operations that are not called here, and why. Their own tests do. */
export const elsewhere: Readonly<Record<string, string>> = {
  stream_events: "the answer never ends",
  reload_est_trust: "it needs an EST profile with client certificates",
  reload_scep_trust: "it needs a SCEP profile with client certificates",
  create_scep_challenge: "it needs a SCEP profile",
  revoke_acme_account: "it needs an ACME client",
}

/** Answers that no call can bring about, and where they are seen. */
export const seenElsewhere: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  get_readiness: { 503: "the database is gone: contract.test.ts" },
  revoke_certificate: { 409: "a lost race: revocation.test.ts" },
  approve_job: { 409: "a lost race: approval.test.ts" },
  reject_job: { 409: "a lost race: approval.test.ts" },
  export_certificate_pem: { 422: "a row that certctl did not write: export.test.ts" },
  export_certificate_pkcs12: { 422: "a row that certctl did not write: export.test.ts" },
}
