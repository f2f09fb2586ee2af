/** Routes under /api/v1/approvals. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  ApprovalAnswer,
  ApprovalListAnswer,
  ApprovalQuery,
  approvalAnswer,
  DecisionBody,
  decisionAnswer,
} from "./approval.schema"
import type { ApprovalService } from "./approval.service"
import type { ApprovalFilter } from "./approval.store"

export const approvalRoutes = (approvals: ApprovalService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_approvals",
        summary: "List approval requests",
        role: "viewer",
        returns: ApprovalListAnswer,
      }),
      input("query", ApprovalQuery),
      async (c) => {
        const query = c.req.valid("query")
        const filter = {
          state: query.state || undefined,
          certificateId: query.certificate_id || undefined,
          requestedBy: query.requested_by || undefined,
          search: query.q,
        } as ApprovalFilter
        return c.json(pagedAnswer(query, await approvals.list(filter, sliceOf(query)), approvalAnswer))
      },
    )
    .get(
      "/:id",
      operation({
        id: "get_approval",
        summary: "Show an approval request",
        role: "viewer",
        returns: ApprovalAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(approvalAnswer(await approvals.get(c.req.valid("param").id))),
    )
    .post(
      "/:id/approve",
      operation({
        id: "approve_request",
        summary: "Approve a request: its job goes on",
        description: "Neither who asked nor who owns the certificate may approve.",
        role: "operator",
        errors: { 409: "The request was decided already" },
        returns: decisionAnswer("approved"),
      }),
      input("param", IdParam),
      input("json", DecisionBody),
      async (c) => {
        const [{ id }, actor] = [c.req.valid("param"), c.get("actor")]
        await approvals.decide(id, "approved", c.req.valid("json").note, actor)
        return c.json({ id, decided_by: actor.name, action: "approved" as const })
      },
    )
    .post(
      "/:id/reject",
      operation({
        id: "reject_request",
        summary: "Reject a request: its job is cancelled",
        description: "Whoever asked may not reject either; they can cancel the job.",
        role: "operator",
        errors: { 409: "The request was decided already" },
        returns: decisionAnswer("rejected"),
      }),
      input("param", IdParam),
      input("json", DecisionBody),
      async (c) => {
        const [{ id }, actor] = [c.req.valid("param"), c.get("actor")]
        await approvals.decide(id, "rejected", c.req.valid("json").note, actor)
        return c.json({ id, decided_by: actor.name, action: "rejected" as const })
      },
    )
