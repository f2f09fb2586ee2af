/** Routes under /api/v1/jobs. */
import { Hono } from "hono"
import * as v from "valibot"
import { VerifyAnswer, VerifyBody } from "../agents/agent-protocol.schema"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { requiredTime } from "../server/wire"
import {
  JobAnswer,
  JobListAnswer,
  JobQuery,
  jobAnswer,
  RejectBody,
  VerificationAnswer,
  verificationAnswer,
} from "./job.schema"
import type { JobService } from "./job.service"
import type { JobFilter } from "./job.store"

const status = <const S extends string>(text: S) => v.object({ status: v.literal(text) })

export const jobRoutes = (jobs: JobService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_jobs", summary: "List jobs", role: "viewer", returns: JobListAnswer }),
      input("query", JobQuery),
      async (c) => {
        const query = c.req.valid("query")
        const filter = {
          status: query.status || undefined,
          type: query.type || undefined,
          certificateId: query.certificate_id || undefined,
          targetId: query.target_id || undefined,
          agentId: query.agent_id || undefined,
          search: query.q,
        } as JobFilter
        return c.json(pagedAnswer(query, await jobs.list(filter, sliceOf(query)), jobAnswer))
      },
    )
    .get(
      "/:id",
      operation({ id: "get_job", summary: "Show a job", role: "viewer", returns: JobAnswer }),
      input("param", IdParam),
      async (c) => c.json(jobAnswer(await jobs.get(c.req.valid("param").id))),
    )
    .post(
      "/:id/cancel",
      operation({
        id: "cancel_job",
        summary: "Cancel a job",
        role: "operator",
        errors: { 400: "The job has ended" },
        returns: status("job_cancelled"),
      }),
      input("param", IdParam),
      async (c) => {
        await jobs.cancel(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "job_cancelled" as const })
      },
    )
    .post(
      "/:id/approve",
      operation({
        id: "approve_job",
        summary: "Approve a job that waits for approval",
        role: "operator",
        errors: { 400: "The job does not wait for approval", 409: "The request was decided already" },
        returns: status("job_approved"),
      }),
      input("param", IdParam),
      async (c) => {
        await jobs.approve(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "job_approved" as const })
      },
    )
    .post(
      "/:id/reject",
      operation({
        id: "reject_job",
        summary: "Reject a job that waits for approval",
        role: "operator",
        errors: { 409: "The request was decided already" },
        returns: status("job_rejected"),
      }),
      input("param", IdParam),
      input("json", RejectBody),
      async (c) => {
        await jobs.reject(c.req.valid("param").id, c.req.valid("json").reason, c.get("actor"))
        return c.json({ status: "job_rejected" as const })
      },
    )
    .post(
      "/:id/verify",
      operation({
        id: "verify_job",
        summary: "Report what is served after a deployment",
        role: "agent",
        returns: VerifyAnswer,
      }),
      input("param", IdParam),
      input("json", VerifyBody, { tellsOfOthers: true }),
      async (c) => {
        const { id } = c.req.valid("param")
        const body = c.req.valid("json")
        const { verified, verifiedAt } = await jobs.verify(
          id,
          {
            targetId: body.target_id,
            expectedFingerprint: body.expected_fingerprint,
            actualFingerprint: body.actual_fingerprint,
            verified: body.verified,
            error: body.error ?? "",
          },
          c.get("actor"),
        )
        return c.json({ job_id: id, verified, verified_at: requiredTime(verifiedAt) })
      },
    )
    .get(
      "/:id/verification",
      operation({
        id: "get_job_verification",
        summary: "Show what was seen after a deployment",
        role: "viewer",
        returns: VerificationAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(verificationAnswer(await jobs.get(c.req.valid("param").id))),
    )
