/** Routes under /api/v1/owners. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { NewOwnerBody, OwnerAnswer, OwnerListAnswer, OwnerPatchBody, OwnerQuery, ownerAnswer } from "./owner.schema"
import type { OwnerService } from "./owner.service"

export const ownerRoutes = (owners: OwnerService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_owners", summary: "List owners", role: "viewer", returns: OwnerListAnswer }),
      input("query", OwnerQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await owners.list({ search: query.q }, sliceOf(query)), ownerAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_owner",
        summary: "Create an owner",
        role: "operator",
        errors: { 409: "The id is taken" },
        returns: OwnerAnswer,
        status: 201,
      }),
      input("json", NewOwnerBody),
      async (c) => c.json(ownerAnswer(await owners.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_owner", summary: "Show an owner", role: "viewer", returns: OwnerAnswer }),
      input("param", IdParam),
      async (c) => c.json(ownerAnswer(await owners.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({ id: "update_owner", summary: "Change an owner", role: "operator", returns: OwnerAnswer }),
      input("param", IdParam),
      input("json", OwnerPatchBody),
      async (c) =>
        c.json(ownerAnswer(await owners.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor")))),
    )
    .delete(
      "/:id",
      operation({
        id: "delete_owner",
        summary: "Delete an owner",
        role: "operator",
        errors: { 409: "Certificates refer to it" },
      }),
      input("param", IdParam),
      async (c) => {
        await owners.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
