/** Targets: the list, one of them, its test, and the forms. */
import { Hono } from "hono"
import { targetConnector, targetConnectors } from "../../src/connectors/targets/catalog"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { NewTargetBody, TargetPatchBody } from "../../src/targets/target.schema"
import type { TargetService } from "../../src/targets/target.service"
import { type TargetRow, targetPage, targetSections, targetsPage } from "../pages/targets.page"
import type { Option } from "../parts/form"
import { html } from "../parts/markup"
import { shownStatus } from "./certificate.loader"
import { configSections, configShown, configValues, typedConfig } from "./config-form"
import { kindsOf } from "./connector-kinds"
import { deletionOf, operators, type Resource, resourceForms, type Typed } from "./resource.room"
import { allow, type ConsoleDeps, frameOf, listOf, type PageContext, page, redirect } from "./room"
import { jobRows } from "./rows"
import { windowLines, windowsIn } from "./window-lines"

type Target = Awaited<ReturnType<TargetService["get"]>>
type Config = Readonly<Record<string, unknown>>

const mostDeployments = 10
const definitionOf = (type: string) => targetConnectors.find((one) => one.type === type) ?? null

export const targetsRoom = (deps: ConsoleDeps) => {
  const { targets, targetChecks, jobs, inventory } = deps

  const bodyOf = (typed: Typed, kind: string, stored: Config) => ({
    name: typed.text("name"),
    agent_id: typed.text("agent_id"),
    enabled: typed.isTicked("enabled"),
    config: typedConfig(targetConnector(kind).config, typed, stored),
    deployment_windows:
      typed.lines("windows").length === 0
        ? null
        : { time_zone: typed.text("time_zone") || "UTC", windows: windowsIn(typed.lines("windows")) },
  })

  const rowsOf = async (rows: readonly Target[]): Promise<(TargetRow & { updatedAt: Date })[]> => {
    const [agents, certificatesOf] = await Promise.all([
      inventory.agentNames(rows.map(({ agentId }) => agentId)),
      inventory.usage.certificatesOfTargets(rows.map(({ id }) => id)),
    ])
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      typeLabel: definitionOf(row.type)?.label ?? row.type,
      agent: agents.get(row.agentId) ?? { id: row.agentId, name: row.agentId },
      status: row.retiredAt !== null ? "Retired" : row.enabled ? "Enabled" : "Disabled",
      test: { status: row.testStatus, at: row.lastTestedAt },
      windows:
        row.deploymentWindows === null
          ? []
          : windowLines(row.deploymentWindows).map((line) => `${line} ${row.deploymentWindows?.timeZone}`),
      certificates: certificatesOf.get(row.id) ?? 0,
      createdAt: row.createdAt,
      updatedAt: row.updatedAt,
    }))
  }

  const agentOptions = async (): Promise<Option[]> =>
    (await inventory.usage.agentChoices())
      .filter(({ id }) => !inventory.isBuiltIn(id))
      .map(({ id, name }) => ({ value: id, label: name }))

  const resource: Resource = {
    path: "/targets",
    noun: "target",
    label: "Targets",
    gate: operators,
    kinds: kindsOf(targetConnectors),
    hasPage: true,
    fieldOf: { deployment_windows: "windows" },
    async preset() {
      const [only, ...others] = await agentOptions()
      // Where there is only one to choose, it is chosen.
      return { enabled: "true", ...(only !== undefined && others.length === 0 ? { agent_id: only.value } : {}) }
    },
    async sections(kind, stored) {
      return targetSections(await agentOptions(), configSections(targetConnector(kind), stored?.values ?? null))
    },
    async find(id) {
      const target = await targets.get(id)
      const { config } = targetConnector(target.type)
      const values = {
        name: target.name,
        agent_id: target.agentId,
        enabled: String(target.enabled),
        windows: target.deploymentWindows === null ? "" : windowLines(target.deploymentWindows).join("\n"),
        time_zone: target.deploymentWindows?.timeZone ?? "",
        ...configValues(config, target.config),
      }
      return { name: target.name, kind: target.type, values }
    },
    async create(typed, kind, actor) {
      const body = await parseInput(NewTargetBody, { ...bodyOf(typed, kind, {}), type: kind }, "form")
      return (await targets.create(body, actor)).id
    },
    async update(id, typed, { kind }, actor) {
      const { config } = await targets.get(id)
      return targets.update(id, await parseInput(TargetPatchBody, bodyOf(typed, kind, config), "form"), actor)
    },
    remove: targets.remove,
    removal: () =>
      html`<p>Nothing is deployed there any more; the files on the host stay as they are. Certificates that go nowhere else are left without an agent, so that nothing renews them.</p>`,
    enable: (id, enabled, actor) => targets.update(id, { enabled }, actor),
  }

  const detail = async (c: PageContext, id: string, problem: string | null) => {
    const row = await targets.get(id)
    const [frame, [target], mapped, deployments] = await Promise.all([
      frameOf(deps, c),
      rowsOf([row]),
      inventory.usage.certificatesOf(id),
      jobs.list({ targetId: id, type: "Deployment" }, { limit: mostDeployments, offset: 0 }),
    ])
    if (target === undefined) throw new Error(`target ${id} has no row`)
    return page(
      c,
      targetPage({
        frame,
        target: { ...target, retiredReason: row.retiredReason === "" ? null : row.retiredReason },
        config: configShown(definitionOf(row.type)?.config ?? null, row.config),
        mapped: mapped.map((one) => ({ ...one, status: shownStatus(one, frame.now) })),
        deployments: await jobRows(inventory, deployments.rows),
        problem,
        deletion: deletionOf(resource, id, row.name),
      }),
    )
  }

  return new Hono<ApiEnv>()
    .get("/targets", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        targets.list({ search: state.params.q }, range),
      ])
      const paging = { page: number, pageSize, total }
      return page(c, targetsPage({ frame, state, paging, rows: await rowsOf(rows) }))
    })
    .route("/", resourceForms(deps, resource))
    .get("/targets/:id", (c) => detail(c, c.req.param("id"), null))
    .post("/targets/:id/test", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      const { status, message } = await targetChecks.test(id, c.get("actor"))
      // Its words stand in no URL, so there is no redirect.
      if (status === "failed") return detail(c, id, message)
      return redirect(c, `/targets/${encodeURIComponent(id)}`, { key: "connection-good" })
    })
}
