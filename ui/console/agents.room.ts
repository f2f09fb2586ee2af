/** Agents: the lists, one of them, connecting and retiring. */
import { Hono } from "hono"
import { JoinTokenBody } from "../../src/agents/agent.schema"
import type { AgentService } from "../../src/agents/agent.service"
import { AppError } from "../../src/errors"
import type { InventoryService } from "../../src/inventory/inventory.service"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { agentPage, retireQuestion } from "../pages/agent.page"
import { agentJoinPage } from "../pages/agent-join.page"
import { type AgentRow, agentsPage } from "../pages/agents.page"
import { confirmPage } from "../pages/confirm.page"
import { allow, type ConsoleDeps, formOf, frameOf, listOf, page, redirect } from "./room"
import { jobRows } from "./rows"

type Agent = Awaited<ReturnType<AgentService["get"]>>
type Dependents = Awaited<ReturnType<InventoryService["dependentsOf"]>>

export const agentsRoom = (deps: ConsoleDeps) => {
  const { agents, inventory, jobs, tokens, publicUrl } = deps

  const rowOf = (agent: Agent, dependents: Dependents): AgentRow & { registeredAt: Date } => ({
    id: agent.id,
    name: agent.name,
    hostname: agent.hostname,
    health: inventory.healthOf(agent),
    os: agent.os,
    architecture: agent.architecture,
    ipAddress: agent.ipAddress,
    version: agent.version,
    lastHeartbeatAt: agent.lastHeartbeatAt,
    builtIn: inventory.isBuiltIn(agent.id),
    certificateCount: dependents.get(agent.id)?.certificates ?? 0,
    firstExpiryAt: dependents.get(agent.id)?.firstExpiresAt ?? null,
    registeredAt: agent.registeredAt,
    retiredAt: agent.retiredAt,
    retiredReason: agent.retiredReason === "" ? null : agent.retiredReason,
  })

  return new Hono<ApiEnv>()
    .get("/agents", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const tab = state.params.tab === "retired" ? "retired" : "active"
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        tab === "retired" ? agents.listRetired({}, range) : agents.list({}, range),
      ])
      const dependents = await inventory.dependentsOf(rows.map(({ id }) => id))
      const paging = { page: number, pageSize, total }
      return page(c, agentsPage({ frame, state, paging, tab, rows: rows.map((agent) => rowOf(agent, dependents)) }))
    })
    .get("/agents/join", async (c) => {
      allow(c, "operator")
      return page(c, agentJoinPage({ frame: await frameOf(deps, c), serverUrl: publicUrl, created: null }))
    })
    .post("/agents/join", async (c) => {
      allow(c, "operator")
      const form = await formOf(c)
      const { ttl_seconds } = await parseInput(JoinTokenBody, { ttl_seconds: Number(form.text("ttl_seconds")) })
      const frame = await frameOf(deps, c)
      const created = await tokens.create({ ttlSeconds: ttl_seconds }, c.get("actor"))
      // No redirect: the token is in this one answer and nowhere else.
      c.header("cache-control", "no-store")
      return page(c, agentJoinPage({ frame, serverUrl: publicUrl, created }))
    })
    .get("/agents/:id", async (c) => {
      const agent = await agents.get(c.req.param("id"))
      const [frame, dependents, facts, recent] = await Promise.all([
        frameOf(deps, c),
        inventory.dependentsOf([agent.id]),
        inventory.agentFacts(agent.id),
        jobs.list({ agentId: agent.id }, { limit: 10, offset: 0 }),
      ])
      return page(
        c,
        agentPage({
          frame,
          agent: rowOf(agent, dependents),
          targets: facts.targets,
          jobs: await jobRows(inventory, recent.rows),
          discoveredCount: facts.discovered,
          dependencies: facts.dependencies,
        }),
      )
    })
    .get("/agents/:id/retire", async (c) => {
      allow(c, "operator")
      const agent = await agents.get(c.req.param("id"))
      const [frame, dependencies] = await Promise.all([frameOf(deps, c), inventory.dependencies(agent.id)])
      return page(
        c,
        confirmPage(frame, retireQuestion(agent, dependencies), { label: agent.name, href: `/agents/${agent.id}` }),
      )
    })
    .post("/agents/:id/retire", async (c) => {
      allow(c, "operator")
      const agent = await agents.get(c.req.param("id"))
      const form = await formOf(c)
      try {
        const reason = form.text("reason").slice(0, 1000)
        await agents.retire(agent.id, { force: form.text("force") === "true", reason }, c.get("actor"))
        return redirect(c, `/agents/${agent.id}`, { key: "agent-retired" })
      } catch (error) {
        // Something came to depend on it since the question was asked, or the reason is missing: asked again.
        if (!(error instanceof AppError) || (error.code !== "conflict" && error.code !== "validation")) throw error
        const [frame, dependencies] = await Promise.all([frameOf(deps, c), inventory.dependencies(agent.id)])
        const question = retireQuestion(agent, dependencies, error.message)
        return page(
          c,
          confirmPage(frame, question, { label: agent.name, href: `/agents/${agent.id}` }),
          error.code === "conflict" ? 409 : 400,
        )
      }
    })
}
