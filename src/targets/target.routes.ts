/** Routes under /api/v1/targets. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NewTargetBody,
  TargetAnswer,
  TargetListAnswer,
  TargetPatchBody,
  TargetQuery,
  TargetTestAnswer,
  targetAnswer,
} from "./target.schema"
import type { TargetService } from "./target.service"
import type { TargetCheckService } from "./target-check.service"

export const targetRoutes = (targets: TargetService, checks: Pick<TargetCheckService, "test">) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_targets", summary: "List targets", role: "viewer", returns: TargetListAnswer }),
      input("query", TargetQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await targets.list({ search: query.q }, sliceOf(query)), targetAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_target",
        summary: "Create a target",
        role: "operator",
        errors: { 409: "Another target of the agent has the name, or the id is taken" },
        returns: TargetAnswer,
        status: 201,
      }),
      input("json", NewTargetBody),
      async (c) => c.json(targetAnswer(await targets.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_target", summary: "Show a target", role: "viewer", returns: TargetAnswer }),
      input("param", IdParam),
      async (c) => c.json(targetAnswer(await targets.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_target",
        summary: "Change a target",
        role: "operator",
        errors: { 409: "Another target of the agent has the name" },
        returns: TargetAnswer,
      }),
      input("param", IdParam),
      input("json", TargetPatchBody),
      async (c) =>
        c.json(targetAnswer(await targets.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor")))),
    )
    .delete(
      "/:id",
      operation({ id: "delete_target", summary: "Delete a target", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await targets.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
    .post(
      "/:id/test",
      operation({
        id: "test_target",
        summary: "Test whether a target's agent could deploy",
        role: "operator",
        returns: TargetTestAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(await checks.test(c.req.valid("param").id, c.get("actor"))),
    )
