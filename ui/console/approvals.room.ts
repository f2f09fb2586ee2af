/** Approvals: the list, one of them, and the decisions about them. */
import { Hono } from "hono"
import type { Decision } from "../../src/approvals/approval.machine"
import type { ApprovalService } from "../../src/approvals/approval.service"
import { AppError } from "../../src/errors"
import type { ApiEnv } from "../../src/server/operation"
import { approvalPage, approvalsPage } from "../pages/approvals.page"
import { confirmPage } from "../pages/confirm.page"
import { approveQuestion, refuseQuestion } from "../parts/decision"
import { approvalRow, approvalRows } from "./approval.rows"
import { allow, type ConsoleDeps, formOf, frameOf, listOf, type PageContext, page, redirect } from "./room"
import { auditRows } from "./rows"

type Filter = Parameters<ApprovalService["list"]>[0]

/** Without a state the list is of what waits; a state that does not exist matches nothing. */
const filterOf = ({ state = "pending", certificate_id, q }: Readonly<Record<string, string>>): Filter =>
  ({ ...(state === "all" ? {} : { state }), certificateId: certificate_id, search: q }) as Filter

const longestNote = 1000

export const approvalsRoom = (deps: ConsoleDeps) => {
  const { approvals, inventory, audit } = deps

  const ask = async (c: PageContext, id: string, question: typeof approveQuestion) => {
    allow(c, "operator")
    const request = await approvalRow(deps, await approvals.get(id), c.get("actor"))
    return page(
      c,
      confirmPage(await frameOf(deps, c), question(request), { label: "Request", href: `/approvals/${id}` }),
    )
  }

  const decide = async (c: PageContext, id: string, decision: Decision) => {
    allow(c, "operator")
    const form = await formOf(c)
    try {
      await approvals.decide(id, decision, form.text("note").slice(0, longestNote), c.get("actor"))
    } catch (error) {
      // Somebody else was faster, or the job is gone: the page of the request tells which.
      if (!(error instanceof AppError) || error.code !== "conflict") throw error
      return redirect(c, `/approvals/${id}`, { key: "not-possible" })
    }
    return redirect(c, "/approvals", { key: decision === "approved" ? "request-approved" : "request-rejected" })
  }

  return new Hono<ApiEnv>()
    .get("/approvals", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }, waiting] = await Promise.all([
        frameOf(deps, c),
        approvals.list(filterOf(state.params), range),
        approvals.list({ state: "pending" }, { limit: 1, offset: 0 }),
      ])
      return page(
        c,
        approvalsPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: await approvalRows(deps, rows, c.get("actor")),
          pending: waiting.total,
        }),
      )
    })
    .get("/approvals/:id", async (c) => {
      const request = await approvals.get(c.req.param("id"))
      const [frame, row, { rows }] = await Promise.all([
        frameOf(deps, c),
        approvalRow(deps, request, c.get("actor")),
        audit.list({ resourceType: "approval", resourceId: request.id }, { page: 1, per_page: 20 }),
      ])
      return page(c, approvalPage({ frame, request: row, audit: await auditRows(inventory, rows) }))
    })
    .get("/approvals/:id/approve", (c) => ask(c, c.req.param("id"), approveQuestion))
    .get("/approvals/:id/reject", (c) => ask(c, c.req.param("id"), refuseQuestion))
    .post("/approvals/:id/approve", (c) => decide(c, c.req.param("id"), "approved"))
    .post("/approvals/:id/reject", (c) => decide(c, c.req.param("id"), "rejected"))
}
