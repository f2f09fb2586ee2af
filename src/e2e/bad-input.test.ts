/** What clients get wrong, over the real listener: which status, in which shape, naming what. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { pemBlocks, toPem } from "../pki/pem"
import { type AgentProcess, joinedAgent } from "../testing/agent-process"
import { certificateFields, createOwnership, createSite, jobsOf } from "../testing/inventory"
import { type Answer, type ServerProcess, serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

let stage: Stage
let server: ServerProcess
beforeEach(async () => {
  stage = openStage()
  server = await serverProcess(stage)
  await server.start()
})
afterEach(() => stage.end())

const phrases: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
}

/** `error`, `message` and `request_id`: what a handler answers. */
const expectRefusal = ({ status, text, body }: Answer, expected: number, message?: string | RegExp): void => {
  expect([status, text]).toEqual([expected, text])
  expect([body.error, typeof body.message, typeof body.request_id]).toEqual([phrases[expected], "string", "string"])
  if (message !== undefined) expect(body.message).toMatch(message)
}

/** `error` alone, perhaps with the request's id: what is answered before any handler. */
const expectEarlyRefusal = ({ status, body }: Answer, expected: number, error?: string): void => {
  expect(status).toBe(expected)
  expect(Object.keys(body).filter((key) => key !== "request_id")).toEqual(["error"])
  if (error !== undefined) expect(body.error).toBe(error)
}

const unknownIds = [
  "certificates",
  "jobs",
  "agents",
  "targets",
  "issuers",
  "teams",
  "owners",
  "profiles",
  "renewal-policies",
]

test("keys: none, a wrong scheme, a wrong key", async () => {
  for (const path of ["/api/v1/certificates", "/api/v1/jobs/x", "/api/v1/no-such-path"]) {
    expectEarlyRefusal(await server.call("GET", path, undefined, { key: null }), 401)
    expectEarlyRefusal(await server.call("GET", path, undefined, { key: "wrong" }), 401, "Invalid API key")
    const basic = { key: null, headers: { authorization: "Basic YTpi" } }
    expectEarlyRefusal(await server.call("GET", path, undefined, basic), 401)
  }
  expect((await server.call("GET", "/health", undefined, { key: null })).status).toBe(200)
})

test("ids and paths that are not there", async () => {
  for (const resource of unknownIds) {
    expectRefusal(await server.call("GET", `/api/v1/${resource}/no-such-id`), 404)
    if (resource !== "jobs") expectRefusal(await server.call("DELETE", `/api/v1/${resource}/no-such-id`), 404)
  }
  for (const path of [
    "certificates/x/renew",
    "certificates/x/deploy",
    "jobs/x/cancel",
    "jobs/x/approve",
    "agents/x/heartbeat",
  ]) {
    expectRefusal(await server.call("POST", `/api/v1/${path}`, {}), 404)
  }
  expectRefusal(await server.call("GET", "/api/v1/agents/x/work"), 404)
  expectRefusal(await server.call("GET", "/api/v1/no-such-path"), 404)
  expectRefusal(await server.call("PATCH", "/api/v1/teams"), 405)
})

test("bodies: too large, no JSON, none", async () => {
  const large = JSON.stringify({ name: "x".repeat(2 * 1024 * 1024) })
  expectEarlyRefusal(await server.call("POST", "/api/v1/teams", large), 413)
  for (const body of ['{"name":', "[]", '"text"', "null", "{'name': 1}"]) {
    expectRefusal(await server.call("POST", "/api/v1/teams", body), 400)
  }
  expectRefusal(await server.call("POST", "/api/v1/teams", ""), 400, /^name is required/)
  // The server is none the worse.
  expect((await server.call("POST", "/api/v1/teams", { name: "team" })).status).toBe(201)
})

describe("fields", () => {
  test("that are missing or of the wrong type are named, on POST and on PUT", async () => {
    const ownership = await createOwnership(server)
    const good = certificateFields(ownership, "site.example")
    const { id } = await server.post("/api/v1/certificates", good)
    const wrong: readonly (readonly [field: string, value: unknown])[] = [
      ["name", 1],
      ["name", ["a"]],
      ["sans", "site.example"],
      ["sans", [1]],
      ["sans", ["not a name"]],
      ["environment", {}],
      ["owner_id", 7],
      ["owner_id", "no-such-owner"],
      ["team_id", false],
      ["issuer_id", "no-such-issuer"],
      ["renewal_policy_id", []],
      ["renewal_policy_id", "no-such-policy"],
      ["certificate_profile_id", "no-such-profile"],
      ["target_ids", "tgt-1"],
      ["target_ids", ["no-such-target"]],
      ["tags", ["a"]],
      ["tags", { a: 1 }],
    ]
    for (const [field, value] of wrong) {
      const named = new RegExp(field)
      const fresh = { ...good, name: "other", common_name: "other.example", [field]: value }
      expectRefusal(await server.call("POST", "/api/v1/certificates", fresh), 400, named)
      expectRefusal(await server.call("PUT", `/api/v1/certificates/${id}`, { [field]: value }), 400, named)
    }
    for (const field of ["common_name", "owner_id", "team_id", "issuer_id", "name", "renewal_policy_id"]) {
      const { [field as keyof typeof good]: _, ...rest } = good
      expectRefusal(await server.call("POST", "/api/v1/certificates", rest), 400, new RegExp(`^${field} is required`))
    }
    expectRefusal(await server.call("POST", "/api/v1/certificates", good), 409)
    expect(await server.get(`/api/v1/certificates/${id}`)).toMatchObject({
      name: "site.example",
      sans: ["site.example"],
    })
  })
})

describe("an agent", () => {
  let agent: AgentProcess
  let certificateId: string
  beforeEach(async () => {
    // The agent does not run: the test speaks for it.
    agent = await joinedAgent(stage, server)
    const site = await createSite(server, agent.id, { cert_path: stage.at("site.pem") })
    certificateId = site.certificateId
    await server.post(`/api/v1/certificates/${certificateId}/renew`)
  })

  const own = (method: string, path: string, body?: unknown) =>
    server.call(method, `/api/v1/agents/${agent.id}${path}`, body, { key: agent.apiKey })

  test("that asks for a foreign name gets nothing, and its job says why", async () => {
    const csr = buildCsr({
      commonName: "site.example",
      sans: ["site.example", "elsewhere.example"],
      privateKey: await generateKey("ecdsa-p256"),
    })
    expectRefusal(await own("POST", "/csr", { csr_pem: csr, certificate_id: certificateId }), 400, /elsewhere\.example/)
    const [job] = await jobsOf(server, certificateId)
    expect(job).toMatchObject({ status: "Failed", last_error: expect.stringContaining("elsewhere.example") })
    // The agent's own report on a job that has failed already.
    const report = { status: "Failed", error: "the CSR was refused" }
    expect((await own("POST", `/jobs/${job.id}/status`, report)).status).toBe(200)
    expect(await server.get(`/api/v1/certificates/${certificateId}/versions`)).toMatchObject({ total: 0 })
  })

  test("whose CSR is not signed by its key, or is none, gets nothing", async () => {
    const names = { commonName: "site.example", sans: ["site.example"] }
    const [block] = pemBlocks(buildCsr({ ...names, privateKey: await generateKey("ecdsa-p256") }))
    const der = Buffer.from(block?.der ?? [])
    // Within the signature, which comes last.
    der[der.length - 3] = (der[der.length - 3] ?? 0) ^ 1
    const broken = toPem("CERTIFICATE REQUEST", der)
    expectRefusal(await own("POST", "/csr", { csr_pem: broken, certificate_id: certificateId }), 400, /signature/)
    expectRefusal(await own("POST", "/csr", { csr_pem: "no PEM", certificate_id: certificateId }), 400)
    expectRefusal(await own("POST", "/csr", { certificate_id: certificateId }), 400, /csr_pem/)
    const good = buildCsr({ ...names, privateKey: await generateKey("ecdsa-p256") })
    expectRefusal(await own("POST", "/csr", { csr_pem: good, certificate_id: "mc-unknown" }), 404)
    expect(await server.get(`/api/v1/certificates/${certificateId}/versions`)).toMatchObject({ total: 0 })
  })

  test("has a key for its own routes alone", async () => {
    const other = await joinedAgent(stage, server, { name: "other" })
    const asAgent = (method: string, path: string, body?: unknown) =>
      server.call(method, `/api/v1${path}`, body, { key: agent.apiKey })
    expectRefusal(await asAgent("GET", `/agents/${other.id}/work`), 403)
    expectRefusal(await asAgent("GET", "/certificates"), 403)
    expectRefusal(await asAgent("POST", "/join-tokens", {}), 403)
    expect((await asAgent("GET", `/agents/${agent.id}/work`)).body.count).toBe(1)
    // A used token lets nobody else in.
    expect((await own("POST", "/jobs/no-such-job/status", { status: "Running" })).status).toBe(404)
  })

  test("that was retired is told so, and its process ends with code 0", async () => {
    // Otherwise it would hear of it when its long poll ends.
    agent = await joinedAgent(stage, server, { name: "retired", env: { CERTCTL_AGENT_HEARTBEAT_INTERVAL: "200ms" } })
    agent.start()
    await until("the agent has reported", () => server.process().stderr().includes("/heartbeat 200"))
    const answer = await server.call("DELETE", `/api/v1/agents/${agent.id}?force=true&reason=gone`)
    expect(answer).toMatchObject({ status: 200, body: { cascade: false } })
    for (const [method, path] of [
      ["POST", "/heartbeat"],
      ["GET", "/work"],
    ] as const) {
      expectRefusal(await own(method, path), 410)
    }
    expect(await agent.process().exited).toBe(0)
    expect(agent.log()).toContain("was retired on the server")
    // A service manager that starts it all the same sees the same end.
    agent.start()
    expect(await agent.process().exited).toBe(0)
  })
})
