/** The audit trail: read only. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { datedBy, pagedAnswer, pagedListOf, sliceOf } from "../server/paging"
import { AuditEventAnswer, AuditQuery, auditEventAnswer, auditFilterOf } from "./audit.schema"
import type { AuditService } from "./audit.service"

/** Mount under `/audit`. */
export const auditRoutes = (audit: Pick<AuditService, "list" | "get">) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_audit_events",
        summary: "List audit events, newest first",
        role: "viewer",
        returns: pagedListOf(AuditEventAnswer),
      }),
      input("query", AuditQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await audit.list(auditFilterOf(query), sliceOf(query))
        const dated = datedBy(found, ({ timestamp }) => timestamp)
        return c.json(pagedAnswer(query, dated, auditEventAnswer))
      },
    )
    .get(
      "/:id",
      operation({
        id: "get_audit_event",
        summary: "Get one audit event",
        role: "viewer",
        returns: AuditEventAnswer,
      }),
      input("param", v.object({ id: v.string() })),
      async (c) => c.json(auditEventAnswer(await audit.get(c.req.valid("param").id))),
    )
