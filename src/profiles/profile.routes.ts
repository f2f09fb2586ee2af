/** Routes under /api/v1/profiles. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { listAnswer, PageQuery, rangeOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { NewProfileBody, ProfileAnswer, ProfileListAnswer, ProfilePatchBody, profileAnswer } from "./profile.schema"
import type { ProfileService } from "./profile.service"

export const profileRoutes = (profiles: ProfileService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_profiles", summary: "List profiles", role: "viewer", returns: ProfileListAnswer }),
      input("query", PageQuery),
      async (c) => {
        const page = c.req.valid("query")
        const { rows, total } = await profiles.list(rangeOf(page))
        return c.json(listAnswer(rows.map(profileAnswer), total, page))
      },
    )
    .post(
      "/",
      operation({
        id: "create_profile",
        summary: "Create a profile",
        role: "operator",
        returns: ProfileAnswer,
        status: 201,
      }),
      input("json", NewProfileBody),
      async (c) => c.json(profileAnswer(await profiles.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_profile", summary: "Show a profile", role: "viewer", returns: ProfileAnswer }),
      input("param", IdParam),
      async (c) => c.json(profileAnswer(await profiles.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({ id: "update_profile", summary: "Change a profile", role: "operator", returns: ProfileAnswer }),
      input("param", IdParam),
      input("json", ProfilePatchBody),
      async (c) =>
        c.json(profileAnswer(await profiles.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor")))),
    )
    .delete(
      "/:id",
      operation({ id: "delete_profile", summary: "Delete a profile", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await profiles.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
