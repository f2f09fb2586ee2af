/** Routes under /api/v1/targets. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { listAnswer, PageQuery, rangeOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NewTargetBody,
  TargetAnswer,
  TargetListAnswer,
  TargetPatchBody,
  TargetTestAnswer,
  targetAnswer,
} from "./target.schema"
import type { TargetService } from "./target.service"

export const targetRoutes = (targets: TargetService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_targets", summary: "List targets", role: "viewer", returns: TargetListAnswer }),
      input("query", PageQuery),
      async (c) => {
        const page = c.req.valid("query")
        const { rows, total } = await targets.list(rangeOf(page))
        return c.json(listAnswer(rows.map(targetAnswer), total, page))
      },
    )
    .post(
      "/",
      operation({
        id: "create_target",
        summary: "Create a target",
        role: "operator",
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
      operation({ id: "update_target", summary: "Change a target", role: "operator", returns: TargetAnswer }),
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
      async (c) => c.json(await targets.test(c.req.valid("param").id, c.get("actor"))),
    )
