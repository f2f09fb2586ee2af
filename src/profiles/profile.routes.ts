/** Routes under /api/v1/profiles. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NewProfileBody,
  ProfileAnswer,
  ProfileListAnswer,
  ProfilePatchBody,
  ProfileQuery,
  profileAnswer,
} from "./profile.schema"
import type { ProfileService } from "./profile.service"

export const profileRoutes = (profiles: ProfileService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_profiles", summary: "List profiles", role: "viewer", returns: ProfileListAnswer }),
      input("query", ProfileQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await profiles.list({ search: query.q }, sliceOf(query)), profileAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_profile",
        summary: "Create a profile",
        role: "operator",
        errors: { 409: "The name or the id is taken" },
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
      operation({
        id: "update_profile",
        summary: "Change a profile",
        role: "operator",
        errors: { 409: "Another profile has the name" },
        returns: ProfileAnswer,
      }),
      input("param", IdParam),
      input("json", ProfilePatchBody),
      async (c) =>
        c.json(profileAnswer(await profiles.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor")))),
    )
    .delete(
      "/:id",
      operation({
        id: "delete_profile",
        summary: "Delete a profile",
        role: "operator",
        errors: { 409: "Approvals were asked for under it" },
      }),
      input("param", IdParam),
      async (c) => {
        await profiles.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
