/** Routes under /api/v1/teams. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { NewTeamBody, TeamAnswer, TeamListAnswer, TeamPatchBody, TeamQuery, teamAnswer } from "./team.schema"
import type { TeamService } from "./team.service"

export const teamRoutes = (teams: TeamService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_teams", summary: "List teams", role: "viewer", returns: TeamListAnswer }),
      input("query", TeamQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await teams.list({ search: query.q }, sliceOf(query)), teamAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_team",
        summary: "Create a team",
        role: "operator",
        errors: { 409: "The name or the id is taken" },
        returns: TeamAnswer,
        status: 201,
      }),
      input("json", NewTeamBody),
      async (c) => c.json(teamAnswer(await teams.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_team", summary: "Show a team", role: "viewer", returns: TeamAnswer }),
      input("param", IdParam),
      async (c) => c.json(teamAnswer(await teams.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_team",
        summary: "Change a team",
        role: "operator",
        errors: { 409: "Another team has the name" },
        returns: TeamAnswer,
      }),
      input("param", IdParam),
      input("json", TeamPatchBody),
      async (c) => c.json(teamAnswer(await teams.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor")))),
    )
    .delete(
      "/:id",
      operation({
        id: "delete_team",
        summary: "Delete a team",
        role: "operator",
        errors: { 409: "Owners or certificates refer to it" },
      }),
      input("param", IdParam),
      async (c) => {
        await teams.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
