/** Agent groups and who belongs to them. */
import { Hono } from "hono"
import { AgentGroupPatchBody, NewAgentGroupBody } from "../../src/agent-groups/agent-group.schema"
import type { AgentGroupService } from "../../src/agent-groups/agent-group.service"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { type AgentGroupRow, agentGroupPage, agentGroupSections, agentGroupsPage } from "../pages/agent-groups.page"
import { html } from "../parts/markup"
import { deletionOf, operators, type Resource, resourceForms, type Typed } from "./resource.room"
import { type ConsoleDeps, frameOf, listOf, page } from "./room"

type Group = Awaited<ReturnType<AgentGroupService["get"]>>

const bodyOf = (typed: Typed) => ({
  name: typed.text("name"),
  description: typed.text("description"),
  match_os: typed.text("match_os"),
  match_architecture: typed.text("match_architecture"),
  match_version: typed.text("match_version"),
  match_ip_cidr: typed.text("match_ip_cidr"),
  enabled: typed.isTicked("enabled"),
})

const criteriaOf = ({ matchOs, matchArchitecture, matchIpCidr, matchVersion }: Group): string[] =>
  [
    ["OS", matchOs],
    ["architecture", matchArchitecture],
    ["address", matchIpCidr],
    ["version", matchVersion],
  ].flatMap(([word, value]) => (value === "" ? [] : [`${word} ${value}`]))

export const agentGroupsRoom = (deps: ConsoleDeps) => {
  const { agentGroups, inventory } = deps

  const rowOf = (group: Group, members: number, renewalPolicies: number): AgentGroupRow => ({
    id: group.id,
    name: group.name,
    description: group.description,
    criteria: criteriaOf(group),
    enabled: group.enabled,
    members,
    renewalPolicies,
    createdAt: group.createdAt,
  })

  const resource: Resource = {
    path: "/agent-groups",
    noun: "agent group",
    label: "Agent groups",
    gate: operators,
    hasPage: true,
    preset: () => ({ enabled: "true" }),
    sections: async () => agentGroupSections,
    async find(id) {
      const group = await agentGroups.get(id)
      return {
        name: group.name,
        kind: "",
        values: {
          name: group.name,
          description: group.description,
          match_os: group.matchOs,
          match_architecture: group.matchArchitecture,
          match_version: group.matchVersion,
          match_ip_cidr: group.matchIpCidr,
          enabled: String(group.enabled),
        },
      }
    },
    create: async (typed, _, actor) =>
      (await agentGroups.create(await parseInput(NewAgentGroupBody, bodyOf(typed)), actor)).id,
    update: async (id, typed, _, actor) =>
      agentGroups.update(id, await parseInput(AgentGroupPatchBody, bodyOf(typed)), actor),
    remove: agentGroups.remove,
    removal: () =>
      html`<p>Renewal policies that are limited to it are limited no longer: any agent may serve their certificates then.</p>`,
  }

  return new Hono<ApiEnv>()
    .get("/agent-groups", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        agentGroups.list({ search: state.params.q }, range),
      ])
      const [members, policiesOf] = await Promise.all([
        agentGroups.memberCounts(rows),
        inventory.usage.renewalPoliciesOfGroups(rows.map(({ id }) => id)),
      ])
      return page(
        c,
        agentGroupsPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: rows.map((group) => rowOf(group, members.get(group.id) ?? 0, policiesOf.get(group.id) ?? 0)),
        }),
      )
    })
    .route("/", resourceForms(deps, resource))
    .get("/agent-groups/:id", async (c) => {
      const group = await agentGroups.get(c.req.param("id"))
      const [frame, members, policiesOf] = await Promise.all([
        frameOf(deps, c),
        agentGroups.members(group.id),
        inventory.usage.renewalPoliciesOfGroups([group.id]),
      ])
      return page(
        c,
        agentGroupPage({
          frame,
          group: rowOf(group, members.length, policiesOf.get(group.id) ?? 0),
          members: members.map((agent) => ({
            id: agent.id,
            name: agent.name,
            hostname: agent.hostname,
            health: inventory.healthOf(agent),
            os: agent.os,
            architecture: agent.architecture,
            version: agent.version,
            lastHeartbeatAt: agent.lastHeartbeatAt,
          })),
          deletion: deletionOf(resource, group.id, group.name),
        }),
      )
    })
}
