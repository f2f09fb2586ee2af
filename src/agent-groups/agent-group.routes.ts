/** Routes under /api/v1/agent-groups. */
import { Hono } from "hono"
import { AgentListAnswer, agentAnswer } from "../agents/agent.schema"
import { type ApiEnv, input, operation } from "../server/operation"
import { listAnswer, pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  AgentGroupAnswer,
  AgentGroupListAnswer,
  AgentGroupPatchBody,
  AgentGroupQuery,
  agentGroupAnswer,
  NewAgentGroupBody,
} from "./agent-group.schema"
import type { AgentGroupService } from "./agent-group.service"

export const agentGroupRoutes = (groups: AgentGroupService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_agent_groups",
        summary: "List agent groups",
        role: "viewer",
        returns: AgentGroupListAnswer,
      }),
      input("query", AgentGroupQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await groups.list({ search: query.q }, sliceOf(query)), agentGroupAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_agent_group",
        summary: "Create an agent group",
        role: "operator",
        errors: { 409: "The name or the id is taken" },
        returns: AgentGroupAnswer,
        status: 201,
      }),
      input("json", NewAgentGroupBody),
      async (c) => c.json(agentGroupAnswer(await groups.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_agent_group", summary: "Show an agent group", role: "viewer", returns: AgentGroupAnswer }),
      input("param", IdParam),
      async (c) => c.json(agentGroupAnswer(await groups.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_agent_group",
        summary: "Change an agent group",
        role: "operator",
        errors: { 409: "Another agent group has the name" },
        returns: AgentGroupAnswer,
      }),
      input("param", IdParam),
      input("json", AgentGroupPatchBody),
      async (c) => {
        const group = await groups.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor"))
        return c.json(agentGroupAnswer(group))
      },
    )
    .delete(
      "/:id",
      operation({ id: "delete_agent_group", summary: "Delete an agent group", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await groups.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
    .get(
      "/:id/members",
      operation({
        id: "list_agent_group_members",
        summary: "List the agents that belong to a group now",
        role: "viewer",
        returns: AgentListAnswer,
      }),
      input("param", IdParam),
      async (c) => {
        const members = await groups.members(c.req.valid("param").id)
        // One page, however long: whoever asks wants to know who may serve.
        return c.json(listAnswer(members.map(agentAnswer), members.length, { page: 1, per_page: members.length }))
      },
    )
