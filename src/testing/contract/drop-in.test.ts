/** Facts about answers that clients written for other servers rely on, each as one row. */
import { afterEach, expect, test } from "bun:test"
import { onEachDialect } from "../on-each-dialect"
import { type Answer, readAnswer, type Send } from "./server"
import { adminKey, documentOf, endServers, startMailingServer } from "./start-server"
import { type World, worldOf } from "./world"

afterEach(endServers)

type Fact = readonly [what: string, holds: (w: World) => Promise<void>]

const statusOf = async (answer: Promise<Answer>): Promise<number> => (await answer).status
const said = async (answer: Promise<Answer>): Promise<unknown> => {
  const { status, body } = await answer
  return [status, body.status]
}
const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/
const hex = /^[0-9a-f]{64}$/
const integer = expect.any(Number)

const facts: readonly Fact[] = [
  [
    "an agent's calls succeed with exactly 200, a CSR and discoveries with 202",
    async (w) => {
      const { agent, certificateId, csrPem } = await w.awaitingCsr()
      const as = (method: string, path: string, body?: unknown) =>
        w.call(method, `/agents/${agent.id}${path}`, body, agent.key)
      expect(await said(as("POST", "/heartbeat"))).toEqual([200, "heartbeat_recorded"])
      expect(await said(as("POST", "/csr", { csr_pem: csrPem, certificate_id: certificateId }))).toEqual([
        202,
        "csr_signed",
      ])
      expect(await said(as("POST", "/csr", { csr_pem: csrPem }))).toEqual([202, "csr_accepted"])
      const [job] = (await w.ok("GET", `/agents/${agent.id}/work`)).jobs
      expect(await said(as("POST", `/jobs/${job.id}/status`, { status: "Completed" }))).toEqual([200, "updated"])
      const seen = { target_id: job.target_id, expected_fingerprint: "ab", actual_fingerprint: "ab", verified: true }
      const verified = await w.call("POST", `/jobs/${job.id}/verify`, seen, agent.key)
      expect([verified.status, verified.body]).toEqual([
        200,
        { job_id: job.id, verified: true, verified_at: expect.stringMatching(rfc3339) },
      ])
      expect(
        await statusOf(as("POST", "/discoveries", { certificates: [{ fingerprint_sha256: "ab".repeat(32) }] })),
      ).toBe(202)
    },
  ],
  [
    "a retired agent's own key gets 410 before anything else",
    async (w) => {
      const agent = await w.registered()
      await w.ok("DELETE", `/agents/${agent.id}`)
      for (const [method, path, body] of [
        ["POST", "/heartbeat"],
        ["GET", "/work"],
        ["POST", "/jobs/no-such-job/status", { status: "Running" }],
        ["GET", "/certificates/no-such-certificate"],
      ] as const) {
        expect([path, await statusOf(w.call(method, `/agents/${agent.id}${path}`, body, agent.key))]).toEqual([
          path,
          410,
        ])
      }
    },
  ],
  [
    "a poll counts its jobs, and offers a key request until it is signed",
    async (w) => {
      const { agent, certificateId, jobId, csrPem } = await w.awaitingCsr()
      const poll = () => w.ok("GET", `/agents/${agent.id}/work`)
      for (const { jobs, count } of [await poll(), await poll()]) {
        expect([count, jobs]).toEqual([
          1,
          [expect.objectContaining({ id: jobId, status: "AwaitingCSR", certificate_id: certificateId })],
        ])
      }
      await w.ok("POST", `/agents/${agent.id}/csr`, { csr_pem: csrPem, certificate_id: certificateId })
      const fetched = await w.ok("GET", `/agents/${agent.id}/certificates/${certificateId}`)
      expect(fetched.certificate_pem).toStartWith("-----BEGIN CERTIFICATE-----")
      const { jobs, count } = await poll()
      expect([count, jobs]).toEqual([
        1,
        [expect.objectContaining({ type: "Deployment", certificate_id: certificateId })],
      ])
      expect(jobs[0].target_config).toEqual({ cert_path: "/etc/tls/a.pem", key_path: "/etc/tls/a.key" })
    },
  ],
  [
    "fingerprints are lower-case hex; timestamps parse, and a required one without a value is the zero time",
    async (w) => {
      const { certificateId } = await w.issued()
      const [version] = (await w.ok("GET", `/certificates/${certificateId}/versions`)).data
      expect(version.fingerprint_sha256).toMatch(hex)
      expect(version.not_after).toMatch(rfc3339)
      const never = await w.create("certificates")
      expect(never.expires_at).toBe("0001-01-01T00:00:00Z")
      expect(never).not.toHaveProperty("last_renewal_at")
    },
  ],
  [
    "lists have data, total, page and per_page; a bad page number is the default",
    async (w) => {
      for (const [query, perPage] of [
        ["", 50],
        ["?per_page=500", 500],
        ["?per_page=501", 50],
        ["?per_page=0", 50],
        ["?per_page=many", 50],
        ["?page=-1", 50],
      ] as const) {
        const { data, ...rest } = await w.ok("GET", `/teams${query}`)
        expect(data).toBeArray()
        expect(rest).toEqual({ total: data.length, page: 1, per_page: perPage })
      }
      const past = await w.ok("GET", "/teams?page=9")
      expect([past.data, past.total > 0]).toEqual([[], true])
    },
  ],
  [
    "filters work on the server",
    async (w) => {
      const { certificateId, targetId } = await w.issued()
      const list = async (path: string) => (await w.ok("GET", path)).data
      expect(await list(`/jobs?certificate_id=${certificateId}&type=Issuance&status=Completed`)).toHaveLength(1)
      expect(await list(`/jobs?target_id=${targetId}`)).toHaveLength(1)
      expect(await list("/jobs?status=NoSuchStatus")).toEqual([])
      for (const { status } of await list("/certificates?status=Active")) expect(status).toBe("Active")
      const query = `action=certificate_created&resource_type=certificate&resource_id=${certificateId}&actor=root&per_page=200`
      expect(await list(`/audit?${query}`)).toHaveLength(1)
      expect(await list("/agents?status=Offline")).toEqual([])
    },
  ],
  [
    "error bodies are JSON with error, message and the request id of the header",
    async (w) => {
      for (const [path, status, phrase] of [
        ["/teams/none", 404, "Not Found"],
        ["/no-such-resource", 404, "Not Found"],
      ] as const) {
        const answer = await w.call("GET", path)
        expect([answer.status, answer.body]).toEqual([
          status,
          { error: phrase, message: expect.any(String), request_id: answer.headers.get("x-request-id") },
        ])
      }
    },
  ],
  [
    "auth/info works without a key, auth/check tells who asks; without a key everything else is 401, unknown paths too",
    async (w) => {
      expect((await w.call("GET", "/auth/info", undefined, null)).body).toEqual({
        auth_type: "api-key",
        required: true,
      })
      expect(await w.ok("GET", "/auth/check")).toEqual({ status: "authenticated", user: "root", admin: true })
      const viewer = await w.keyOf("viewer")
      expect(await w.ok("GET", "/auth/check", undefined, viewer)).toMatchObject({ admin: false })
      for (const path of ["/teams", "/no-such-resource", "/crl", "/ocsp/x"]) {
        expect([path, await statusOf(w.call("GET", path, undefined, null))]).toEqual([path, 401])
      }
      for (const path of ["/crl", "/crl/iss-local", "/ocsp", "/ocsp/iss-local/01"]) {
        expect([path, await statusOf(w.call("GET", path))]).toEqual([path, 404])
      }
    },
  ],
  [
    "retirement: 200, then 204; 400, 403, 404 and 409 as documented, with three counts",
    async (w) => {
      const retire = (id: string, query = "") => w.call("DELETE", `/agents/${id}${query}`)
      const { agent } = await w.placed()
      expect(await statusOf(retire("no-such-agent"))).toBe(404)
      expect(await statusOf(retire("server-scanner", "?force=true&reason=x"))).toBe(403)
      const counts = { active_targets: 1, active_certificates: 1, pending_jobs: 0 }
      const blocked = await retire(agent.id)
      expect([blocked.status, blocked.body]).toEqual([
        409,
        { error: "blocked_by_dependencies", message: expect.any(String), request_id: expect.any(String), counts },
      ])
      expect(await statusOf(retire(agent.id, "?force=true"))).toBe(400)
      const retired = await retire(agent.id, "?force=true&reason=gone")
      expect([retired.status, retired.body]).toEqual([
        200,
        { retired_at: expect.stringMatching(rfc3339), already_retired: false, cascade: true, counts },
      ])
      const again = await retire(agent.id)
      expect([again.status, again.body]).toEqual([204, ""])
      const ids = async (path: string) => (await w.ok("GET", path)).data.map((row: { id: string }) => row.id)
      expect(await ids("/agents/retired")).toContain(agent.id)
      expect(await ids("/agents?per_page=500")).not.toContain(agent.id)
      expect(await w.ok("GET", `/agents/${agent.id}`)).toMatchObject({ retired_reason: "gone", status: "Offline" })
    },
  ],
  [
    "PUT with one key changes that key alone",
    async (w) => {
      const { updated_at: _, ...before } = await w.create("targets", { enabled: true })
      expect(await w.ok("PUT", `/targets/${before.id}`, { enabled: false })).toMatchObject({
        ...before,
        enabled: false,
      })
    },
  ],
  [
    "create takes a client's id and unknown keys; an imported certificate comes with its state",
    async (w) => {
      const given = {
        id: "mc-imported-1",
        status: "Active",
        environment: "production",
        serial_number: "01",
        extra: { a: 1 },
      }
      expect(await w.create("certificates", given)).toMatchObject({
        id: "mc-imported-1",
        status: "Active",
        environment: "production",
      })
      expect(await statusOf(w.call("POST", "/teams", { name: "a team", id: w.standing("teams") }))).toBe(409)
    },
  ],
  [
    "a certificate needs six fields, and an rp- policy",
    async (w) => {
      const whole = w.newBody("certificates")
      for (const name of ["name", "common_name", "owner_id", "team_id", "issuer_id", "renewal_policy_id"]) {
        const answer = await w.call("POST", "/certificates", { ...whole, [name]: undefined })
        expect([answer.status, answer.body.message]).toEqual([400, `${name} is required`])
      }
      const rule = { ...whole, renewal_policy_id: w.standing("policies") }
      expect(await statusOf(w.call("POST", "/certificates", rule))).toBe(400)
    },
  ],
  [
    "actions answer small status objects: renew and deploy 202, the others 200; a second renew is 409",
    async (w) => {
      const { certificateId, jobId } = await w.awaitingCsr()
      const again = await w.call("POST", `/certificates/${certificateId}/renew`)
      expect([again.status, again.body.error]).toEqual([409, "Conflict"])
      expect(await said(w.call("POST", `/jobs/${jobId}/cancel`))).toEqual([200, "job_cancelled"])
      expect(await said(w.call("POST", `/certificates/${certificateId}/renew`))).toEqual([202, "renewal_triggered"])
      const issued = await w.issued()
      expect(await said(w.call("POST", `/certificates/${issued.certificateId}/deploy`))).toEqual([
        202,
        "deployment_triggered",
      ])
      expect(await said(w.call("POST", `/certificates/${issued.certificateId}/revoke`))).toEqual([200, "revoked"])
      expect((await w.ok("GET", `/certificates/${issued.certificateId}`)).revocation_reason).toBe("unspecified")
      expect(await statusOf(w.call("POST", `/certificates/${issued.certificateId}/revoke`))).toBe(400)
      const second = await w.keyOf("operator")
      const decided = (id: string, action: string) => w.call("POST", `/jobs/${id}/${action}`, {}, second)
      expect(await said(decided((await w.awaitingApproval()).jobId, "approve"))).toEqual([200, "job_approved"])
      expect(await said(decided((await w.awaitingApproval()).jobId, "reject"))).toEqual([200, "job_rejected"])
      const found = await w.discovered()
      const claim = { managed_certificate_id: certificateId }
      expect(await said(w.call("POST", `/discovered-certificates/${found}/claim`, claim))).toEqual([200, "claimed"])
      expect(await said(w.call("POST", `/discovered-certificates/${await w.discovered()}/dismiss`))).toEqual([
        200,
        "dismissed",
      ])
    },
  ],
  [
    "a requeued notification is pending without retries; reading one is 200",
    async (w) => {
      const id = await w.notified()
      expect(await said(w.call("POST", `/notifications/${id}/requeue`))).toEqual([200, "requeued"])
      expect(await w.ok("GET", `/notifications/${id}`)).toMatchObject({ status: "pending", retry_count: 0 })
      expect(await said(w.call("POST", `/notifications/${id}/read`))).toEqual([200, "marked_as_read"])
      expect((await w.ok("GET", "/notifications?status=dead")).data).toEqual([])
    },
  ],
  [
    "all eight revocation reasons are taken, in camelCase only",
    async (w) => {
      const revoke = async (reason: string) =>
        statusOf(w.call("POST", `/certificates/${(await w.issued()).certificateId}/revoke`, { reason }))
      const reasons = ["unspecified", "keyCompromise", "caCompromise", "affiliationChanged", "superseded"]
      for (const reason of [...reasons, "cessationOfOperation", "certificateHold", "privilegeWithdrawn"]) {
        expect([reason, await revoke(reason)]).toEqual([reason, 200])
      }
      expect(await revoke("key_compromise")).toBe(400)
    },
  ],
  [
    "bulk answers carry four totals and no errors where there are none; bulk-revoke is for administrators, whatever the body",
    async (w) => {
      const ids = { certificate_ids: ["mc-none"] }
      const none = { total_matched: 0, total_skipped: 0, total_failed: 0 }
      expect(await w.ok("POST", "/certificates/bulk-revoke", { ...ids, reason: "superseded" })).toEqual({
        ...none,
        total_revoked: 0,
      })
      expect(await w.ok("POST", "/certificates/bulk-renew", ids)).toEqual({ ...none, total_enqueued: 0 })
      const reassigned = await w.ok("POST", "/certificates/bulk-reassign", { ...ids, owner_id: w.standing("owners") })
      expect(reassigned).toEqual({
        ...none,
        total_failed: 1,
        total_reassigned: 0,
        errors: [{ certificate_id: "mc-none", error: expect.any(String) }],
      })
      expect(await statusOf(w.call("POST", "/certificates/bulk-revoke", undefined, await w.keyOf("operator")))).toBe(
        403,
      )
    },
  ],
  [
    "a target's test is 200 either way; an issuer's fails with another code",
    async (w) => {
      const { id } = await w.create("targets")
      const good = await w.call("POST", `/targets/${id}/test`)
      expect([good.status, good.body]).toEqual([
        200,
        { status: expect.stringMatching(/^(success|failed)$/), message: expect.any(String) },
      ])
      const { id: lost } = await w.create("targets", { agent_id: (await w.registered()).id })
      expect(await statusOf(w.call("POST", `/targets/${lost}/test`))).toBe(200)
      const config = { ca_cert_path: "/nowhere/ca.pem", ca_key_path: "/nowhere/ca.key" }
      const { id: broken } = await w.create("issuers", { config })
      expect(await statusOf(w.call("POST", `/issuers/${broken}/test`))).toBe(500)
      expect(await said(w.call("POST", "/issuers/iss-local/test"))).toEqual([200, "connection_successful"])
    },
  ],
  [
    "statistics other than the summary are bare arrays",
    async (w) => {
      for (const [path, keys] of [
        ["certificates-by-status", ["count", "status"]],
        ["expiration-timeline", ["count", "date"]],
        ["job-trends", ["completed_count", "date", "failed_count", "success_rate"]],
        ["issuance-rate", ["date", "issued_count"]],
      ] as const) {
        const [first] = await w.ok("GET", `/stats/${path}`)
        expect([path, Object.keys(first).sort()]).toEqual([path, [...keys]])
      }
      expect(await w.ok("GET", "/stats/summary")).toMatchObject({
        total_certificates: integer,
        notifications_dead: integer,
      })
    },
  ],
  [
    "health history is a bare array; acknowledging is 204 and takes {}",
    async (w) => {
      const { id } = await w.create("health-checks")
      expect(await w.ok("GET", `/health-checks/${id}/history`)).toEqual([])
      const answer = await w.call("POST", `/health-checks/${id}/acknowledge`, {})
      expect([answer.status, answer.body]).toEqual([204, ""])
    },
  ],
  [
    "the discovery summary has three keys; deployments of a certificate are targets",
    async (w) => {
      const summary = await w.ok("GET", "/discovery-summary")
      expect(summary).toEqual({ Unmanaged: integer, Managed: integer, Dismissed: integer })
      const { certificateId, targetId } = await w.placed()
      const deployments = await w.ok("GET", `/certificates/${certificateId}/deployments`)
      expect(deployments).toEqual({ data: [expect.objectContaining({ id: targetId, type: "NGINX" })], total: 1 })
    },
  ],
  [
    "PEM comes as JSON, or as a file with download=true; PKCS#12 is a POST with an optional password",
    async (w) => {
      const path = `/certificates/${(await w.issued()).certificateId}/export`
      const pem = await w.ok("GET", `${path}/pem`)
      expect(pem.full_pem).toBe(pem.cert_pem + pem.chain_pem)
      const file = await w.call("GET", `${path}/pem?download=true`)
      expect([file.headers.get("content-type"), file.body]).toEqual(["application/x-pem-file", pem.full_pem])
      expect(file.headers.get("content-disposition")).toBe('attachment; filename="certificate.pem"')
      const p12 = await w.call("POST", `${path}/pkcs12`)
      expect([p12.status, p12.headers.get("content-type")]).toEqual([200, "application/x-pkcs12"])
      expect(await statusOf(w.call("GET", `/certificates/${(await w.create("certificates")).id}/export/pem`))).toBe(404)
    },
  ],
]

/** Outside of the API. */
const publicFacts = async (w: World, send: Send): Promise<void> => {
  const at = async (path: string) => readAnswer(await send({ method: "GET", path, key: null }))
  const list = await at("/.well-known/pki/crl/iss-local")
  expect([list.status, list.headers.get("content-type")]).toEqual([200, "application/pkix-crl"])
  expect((await at("/.well-known/pki/crl/no-such-issuer")).status).toBe(404)
  const unknown = await at("/.well-known/pki/ocsp/iss-local/0abc")
  expect([unknown.status, unknown.headers.get("content-type")]).toEqual([200, "application/ocsp-response"])
  const config = { ca_cert_path: "/nowhere/ca.pem", ca_key_path: "/nowhere/ca.key" }
  for (const given of [{ config }, { hierarchy_mode: "tree" }]) {
    const { id } = await w.create("issuers", given)
    const statuses = [await at(`/.well-known/pki/crl/${id}`), await at(`/.well-known/pki/ocsp/${id}/0abc`)]
    expect(statuses.map(({ status }) => status)).toEqual([501, 501])
  }
  expect((await at("/health")).body).toEqual({ status: "healthy" })
}

onEachDialect("clients of other servers", (openDb) => {
  test("find what they rely on", async () => {
    const { send, folder } = await startMailingServer(await openDb())
    const world = await worldOf({ document: await documentOf(send), send, adminKey, folder, seed: 1 })
    await publicFacts(world, send)
    const broken: string[] = []
    for (const [what, holds] of facts) {
      await holds(world).catch((error: Error) => broken.push(`${what}: ${Bun.stripANSI(error.message)}`))
    }
    expect(broken).toEqual([])
  }, 120_000)
})
