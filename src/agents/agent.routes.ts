/** Routes under /api/v1/agents and /api/v1/join-tokens. */
import { Hono, type HonoRequest } from "hono"
import * as v from "valibot"
import type { AuditService } from "../audit/audit.service"
import type { IssuanceService } from "../certificates/issuance.service"
import type { Db } from "../db/db"
import type { JobService } from "../jobs/job.service"
import { type ApiEnv, input, operation } from "../server/operation"
import { datedBy, pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { parseInput } from "../server/validation"
import { requiredTime } from "../server/wire"
import {
  AgentAnswer,
  AgentListAnswer,
  AgentQuery,
  AgentTargetListAnswer,
  AgentTargetQuery,
  agentAnswer,
  agentTargetAnswer,
  isForced,
  JoinTokenBody,
  JoinTokenListAnswer,
  JoinTokenQuery,
  joinTokenAnswer,
  NewJoinTokenAnswer,
  RegisteredAgentAnswer,
  RetiredAgentQuery,
  RetirementAnswer,
  RetireQuery,
} from "./agent.schema"
import type { AgentService } from "./agent.service"
import {
  CertificateAnswer,
  CertificateQuery,
  CsrAnswer,
  CsrBody,
  HeartbeatAnswer,
  HeartbeatBody,
  RegistrationBody,
  StatusReport,
  StatusReportAnswer,
  WorkAnswer,
  WorkQuery,
} from "./agent-protocol.schema"
import type { JoinTokenService } from "./join-token.service"
import { readPoll, type WorkService } from "./work.service"

interface Services {
  agents: AgentService
  work: WorkService
  jobs: Pick<JobService, "report">
  issuance: Pick<IssuanceService, "submitCsr">
  audit: Pick<AuditService, "append">
  db: Pick<Db, "transaction">
}

const agentAndJob = v.object({ id: v.string(), jobId: v.string() })
const agentAndCertificate = v.object({ id: v.string(), certId: v.string() })

/** A heartbeat that cannot be read still is a sign of life. */
const readHeartbeat = async (request: Pick<HonoRequest, "json">): Promise<v.InferOutput<typeof HeartbeatBody>> => {
  const body: unknown = await request.json().catch(() => ({}))
  return parseInput(HeartbeatBody, body).catch(() => ({}))
}

export const agentRoutes = ({ agents, work, jobs, issuance, audit, db }: Services) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_agents", summary: "List agents", role: "viewer", returns: AgentListAnswer }),
      input("query", AgentQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await agents.list({ status: query.status || undefined, search: query.q }, sliceOf(query))
        const dated = datedBy(found, ({ registeredAt }) => registeredAt)
        return c.json(pagedAnswer(query, dated, agentAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "register_agent",
        summary: "Register an agent",
        role: "operator",
        errors: { 409: "Another agent has the name" },
        returns: RegisteredAgentAnswer,
        status: 201,
      }),
      input("json", RegistrationBody),
      async (c) => {
        const body = c.req.valid("json")
        const { apiKey, ...agent } = await agents.register(
          {
            name: body.name,
            hostname: body.hostname,
            os: body.os ?? "",
            architecture: body.architecture ?? "",
            ipAddress: body.ip_address ?? "",
            version: body.version ?? "",
          },
          c.get("actor"),
        )
        return c.json({ ...agentAnswer(agent), api_key: apiKey }, 201)
      },
    )
    .get(
      "/retired",
      operation({
        id: "list_retired_agents",
        summary: "List retired agents",
        role: "viewer",
        returns: AgentListAnswer,
      }),
      input("query", RetiredAgentQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await agents.listRetired({ search: query.q }, sliceOf(query))
        const dated = datedBy(found, ({ retiredAt, registeredAt }) => retiredAt ?? registeredAt)
        return c.json(pagedAnswer(query, dated, agentAnswer))
      },
    )
    .get(
      "/:id",
      operation({ id: "get_agent", summary: "Show an agent", role: "viewer", returns: AgentAnswer }),
      input("param", IdParam),
      async (c) => c.json(agentAnswer(await agents.get(c.req.valid("param").id))),
    )
    .delete(
      "/:id",
      operation({
        id: "retire_agent",
        summary: "Retire an agent",
        role: "operator",
        errors: {
          400: "Force needs a reason",
          409: "Targets, certificates or open jobs depend on the agent: the body counts them",
        },
        returns: RetirementAnswer,
        otherwise: { 204: null },
      }),
      input("param", IdParam),
      input("query", RetireQuery),
      async (c) => {
        const { force, reason } = c.req.valid("query")
        const { id } = c.req.valid("param")
        const retirement = await agents.retire(id, { force: isForced(force), reason }, c.get("actor"))
        if (retirement === null) return c.body(null, 204)
        return c.json({
          retired_at: requiredTime(retirement.retiredAt),
          already_retired: false,
          cascade: retirement.cascade,
          counts: retirement.counts,
        })
      },
    )
    .post(
      "/:id/heartbeat",
      operation({
        id: "agent_heartbeat",
        summary: "Report a sign of life",
        role: "agent",
        errors: { 410: "The agent was retired" },
        returns: HeartbeatAnswer,
      }),
      input("param", IdParam),
      async (c) => {
        const body = await readHeartbeat(c.req)
        await agents.heartbeat(c.req.valid("param").id, {
          hostname: body.hostname ?? "",
          os: body.os ?? "",
          architecture: body.architecture ?? "",
          ipAddress: body.ip_address ?? "",
          version: body.version ?? "",
        })
        return c.json({ status: "heartbeat_recorded" as const })
      },
    )
    .get(
      "/:id/work",
      operation({
        id: "poll_agent_work",
        summary: "Claim the work of an agent",
        role: "agent",
        errors: { 410: "The agent was retired" },
        returns: WorkAnswer,
      }),
      input("param", IdParam),
      input("query", WorkQuery),
      async (c) => {
        const { id } = c.req.valid("param")
        const poll = readPoll(c.req.valid("query"))
        if (poll.waitSeconds > 0) c.env?.keepOpen?.()
        const gone = [c.req.raw.signal, ...(c.env?.draining === undefined ? [] : [c.env.draining])]
        // Asked again when the poll is woken: an agent that is retired while it waits is told at once.
        const items = await work.poll(id, poll, AbortSignal.any(gone), () => agents.polling(id, poll.holding !== null))
        return c.json({ jobs: items, count: items.length })
      },
    )
    .get(
      "/:id/targets",
      operation({
        id: "list_agent_targets",
        summary: "List the targets of an agent",
        description:
          "Without retired ones. For the agent's own key configurations are whole, as with its work; for any other key their secrets are masked.",
        role: "agent",
        errors: { 410: "The agent was retired" },
        returns: AgentTargetListAnswer,
      }),
      input("param", IdParam),
      input("query", AgentTargetQuery),
      async (c) => {
        const { id } = c.req.valid("param")
        const query = c.req.valid("query")
        await agents.demandActive(id, c.get("actor"))
        const found = await work.targetsOf(id, { search: query.q }, sliceOf(query), c.get("actor"))
        return c.json(pagedAnswer(query, found, agentTargetAnswer))
      },
    )
    .post(
      "/:id/csr",
      operation({
        id: "agent_submit_csr",
        summary: "Submit a CSR",
        role: "agent",
        errors: {
          410: "The agent was retired",
          500: "The CA refused or failed",
        },
        returns: CsrAnswer,
        status: 202,
      }),
      input("param", IdParam),
      input("json", CsrBody),
      async (c) => {
        const { id } = c.req.valid("param")
        const { csr_pem, certificate_id } = c.req.valid("json")
        const actor = c.get("actor")
        await agents.demandActive(id, actor)
        if (certificate_id === undefined || certificate_id === null || certificate_id === "") {
          await db.transaction((tx) =>
            audit.append(tx, {
              actor,
              action: "csr_submitted",
              resourceType: "agent",
              resourceId: id,
              details: { certificate_id: null },
            }),
          )
          return c.json({ status: "csr_accepted" as const }, 202)
        }
        const status = await issuance.submitCsr({ agentId: id, certificateId: certificate_id, csrPem: csr_pem }, actor)
        return c.json({ status }, 202)
      },
    )
    .get(
      "/:id/certificates/:certId",
      operation({
        id: "agent_pickup_certificate",
        summary: "Fetch the chain an agent deploys",
        role: "agent",
        errors: { 410: "The agent was retired" },
        returns: CertificateAnswer,
      }),
      input("param", agentAndCertificate),
      input("query", CertificateQuery),
      async (c) => {
        const { id, certId } = c.req.valid("param")
        await agents.demandActive(id, c.get("actor"))
        const pem = await work.certificateFor(id, certId, c.req.valid("query").version_id || undefined, c.get("actor"))
        return c.json({ certificate_pem: pem })
      },
    )
    .post(
      "/:id/jobs/:jobId/status",
      operation({
        id: "agent_report_job_status",
        summary: "Report the state of a job",
        role: "agent",
        errors: { 409: "The job ended otherwise", 410: "The agent was retired" },
        returns: StatusReportAnswer,
      }),
      input("param", agentAndJob),
      input("json", StatusReport, { tellsOfOthers: true }),
      async (c) => {
        const { id, jobId } = c.req.valid("param")
        await agents.demandActive(id, c.get("actor"))
        const { status, error, deployment } = c.req.valid("json")
        await jobs.report(id, jobId, { status, error: error ?? "", deployment: deployment ?? {} }, c.get("actor"))
        return c.json({ status: "updated" as const })
      },
    )

export const joinTokenRoutes = (tokens: JoinTokenService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_join_tokens",
        summary: "List join tokens",
        role: "operator",
        returns: JoinTokenListAnswer,
      }),
      input("query", JoinTokenQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await tokens.list({ search: query.q }, sliceOf(query)), joinTokenAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_join_token",
        summary: "Make a one-use token with which an agent joins",
        role: "operator",
        returns: NewJoinTokenAnswer,
        status: 201,
      }),
      input("json", JoinTokenBody),
      async (c) => {
        const made = await tokens.create({ ttlSeconds: c.req.valid("json").ttl_seconds }, c.get("actor"))
        return c.json({ ...joinTokenAnswer(made), token: made.token }, 201)
      },
    )
    .delete(
      "/:id",
      operation({ id: "delete_join_token", summary: "Delete a join token", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await tokens.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
