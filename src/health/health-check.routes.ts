/** Routes under /api/v1/health-checks. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  AcknowledgeBody,
  HealthCheckAnswer,
  HealthCheckListAnswer,
  HealthCheckPatchBody,
  HealthCheckQuery,
  HealthSummaryAnswer,
  HistoryAnswer,
  HistoryQuery,
  healthCheckAnswer,
  healthCheckFilter,
  historyAnswer,
  NewHealthCheckBody,
} from "./health-check.schema"
import type { HealthCheckService } from "./health-check.service"

export const healthCheckRoutes = (checks: HealthCheckService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_health_checks",
        summary: "List watched endpoints",
        role: "viewer",
        returns: HealthCheckListAnswer,
      }),
      input("query", HealthCheckQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await checks.list(healthCheckFilter(query), sliceOf(query))
        return c.json(pagedAnswer(query, found, healthCheckAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_health_check",
        summary: "Watch an endpoint",
        role: "operator",
        errors: { 409: "The id is taken, or the endpoint is watched for the same certificate" },
        returns: HealthCheckAnswer,
        status: 201,
      }),
      input("json", NewHealthCheckBody),
      async (c) => c.json(healthCheckAnswer(await checks.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/summary",
      operation({
        id: "get_health_summary",
        summary: "Count watched endpoints by status",
        role: "viewer",
        returns: HealthSummaryAnswer,
      }),
      async (c) => c.json(await checks.summary()),
    )
    .get(
      "/:id",
      operation({
        id: "get_health_check",
        summary: "Show a watched endpoint",
        role: "viewer",
        returns: HealthCheckAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(healthCheckAnswer(await checks.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_health_check",
        summary: "Change a watched endpoint",
        role: "operator",
        errors: { 409: "The endpoint is watched for the same certificate" },
        returns: HealthCheckAnswer,
      }),
      input("param", IdParam),
      input("json", HealthCheckPatchBody),
      async (c) => {
        const check = await checks.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor"))
        return c.json(healthCheckAnswer(check))
      },
    )
    .delete(
      "/:id",
      operation({ id: "delete_health_check", summary: "Stop watching an endpoint", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await checks.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
    .get(
      "/:id/history",
      operation({
        id: "list_health_history",
        summary: "Show what was seen at an endpoint, newest first",
        role: "viewer",
        returns: HistoryAnswer,
      }),
      input("param", IdParam),
      input("query", HistoryQuery),
      async (c) => {
        const rows = await checks.history(c.req.valid("param").id, c.req.valid("query").limit)
        return c.json(rows.map(historyAnswer))
      },
    )
    .post(
      "/:id/acknowledge",
      operation({
        id: "acknowledge_health_check",
        summary: "Acknowledge the state of an endpoint",
        role: "operator",
      }),
      input("param", IdParam),
      input("json", AcknowledgeBody),
      async (c) => {
        const actor = c.get("actor")
        const { actor: given, acknowledged_by: givenToo } = c.req.valid("json")
        await checks.acknowledge(c.req.valid("param").id, actor.name || given || givenToo || "unknown", actor)
        return c.body(null, 204)
      },
    )
