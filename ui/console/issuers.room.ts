/** Issuers: the list, one of them, its test, and the forms. */
import { Hono } from "hono"
import { certificateSort } from "../../src/certificates/certificate.schema"
import { issuerDefinition, issuerDefinitions } from "../../src/connectors/issuers/catalog"
import { AppError } from "../../src/errors"
import { IssuerPatchBody, NewIssuerBody } from "../../src/issuers/issuer.schema"
import type { IssuerService } from "../../src/issuers/issuer.service"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { confirmPage } from "../pages/confirm.page"
import {
  type IssuerRow,
  issuerPage,
  issuerSections,
  issuersPage,
  retireRootQuestion,
  rollOverQuestion,
} from "../pages/issuers.page"
import { html } from "../parts/markup"
import { shownStatus } from "./certificate.loader"
import { configSections, configShown, configValues, typedConfig } from "./config-form"
import { kindsOf } from "./connector-kinds"
import { deletionOf, type Resource, resourceForms, type Typed } from "./resource.room"
import { allow, type ConsoleDeps, frameOf, listOf, type PageContext, page, redirect } from "./room"

type Issuer = Awaited<ReturnType<IssuerService["get"]>>
type Config = Readonly<Record<string, unknown>>

const mostIssued = 10
const definitionOf = (type: string) => issuerDefinitions.find((one) => one.type === type) ?? null

const upTo = ({ id, name }: Issuer) => ({ label: name, href: `/issuers/${encodeURIComponent(id)}` })

export const issuersRoom = (deps: ConsoleDeps) => {
  const { issuers, certificates, inventory, roots } = deps

  const bodyOf = (typed: Typed, kind: string, stored: Config) => ({
    name: typed.text("name"),
    enabled: typed.isTicked("enabled"),
    config: typedConfig(issuerDefinition(kind).config, typed, stored),
  })

  const rowsOf = async (rows: readonly Issuer[]): Promise<(IssuerRow & { updatedAt: Date })[]> => {
    const certificatesOf = await inventory.usage.certificatesOfIssuers(rows.map(({ id }) => id))
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      typeLabel: definitionOf(row.type)?.label ?? row.type,
      enabled: row.enabled,
      test: { status: row.testStatus, at: row.lastTestedAt },
      isFromEnvironment: row.source === "env",
      certificates: certificatesOf.get(row.id) ?? 0,
      createdAt: row.createdAt,
      updatedAt: row.updatedAt,
    }))
  }

  const resource: Resource = {
    path: "/issuers",
    noun: "issuer",
    label: "Issuers",
    gate: { role: "admin", openWithoutAuthentication: true },
    kinds: kindsOf(issuerDefinitions),
    hasPage: true,
    preset: () => ({ enabled: "true" }),
    async sections(kind, stored) {
      return issuerSections(configSections(issuerDefinition(kind), stored?.values ?? null))
    },
    async find(id) {
      const issuer = await issuers.get(id)
      const { config } = issuerDefinition(issuer.type)
      const values = { name: issuer.name, enabled: String(issuer.enabled), ...configValues(config, issuer.config) }
      return { name: issuer.name, kind: issuer.type, values }
    },
    async create(typed, kind, actor) {
      const body = await parseInput(NewIssuerBody, { ...bodyOf(typed, kind, {}), type: kind }, "form")
      return (await issuers.create(body, actor)).id
    },
    async update(id, typed, { kind }, actor) {
      const { config } = await issuers.get(id)
      return issuers.update(id, await parseInput(IssuerPatchBody, bodyOf(typed, kind, config), "form"), actor)
    },
    remove: issuers.remove,
    removal: (id) =>
      html`<p>An issuer that <a href=${`/certificates?${new URLSearchParams({ issuer_id: id })}`}>certificates</a> still name cannot be deleted. The CA inside certctl goes with its issuer, its key included.</p>`,
    enable: (id, enabled, actor) => issuers.update(id, { enabled }, actor),
  }

  const detail = async (c: PageContext, id: string, problem: string | null) => {
    const row = await issuers.get(id)
    const [frame, [issuer], issued, kept] = await Promise.all([
      frameOf(deps, c),
      rowsOf([row]),
      certificates.list({ issuerId: id }, certificateSort({ sort: "notAfter" }), { limit: mostIssued, offset: 0 }),
      roots.list(id),
    ])
    if (issuer === undefined) throw new Error(`issuer ${id} has no row`)
    return page(
      c,
      issuerPage({
        frame,
        issuer,
        config: configShown(definitionOf(row.type)?.config ?? null, row.config),
        issued: issued.rows.map((one) => ({ ...one, status: shownStatus(one, frame.now) })),
        roots: kept.map(({ ski, state, facts, createdAt }) => ({ ski, state, notAfter: facts.notAfter, createdAt })),
        problem,
        deletion: deletionOf(resource, id, row.name),
      }),
    )
  }

  return new Hono<ApiEnv>()
    .get("/issuers", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        issuers.list({ search: state.params.q }, range),
      ])
      const paging = { page: number, pageSize, total }
      return page(c, issuersPage({ frame, state, paging, rows: await rowsOf(rows) }))
    })
    .route("/", resourceForms(deps, resource))
    .get("/issuers/:id", (c) => detail(c, c.req.param("id"), null))
    .get("/issuers/:id/roll-over", async (c) => {
      allow(c, "admin")
      const issuer = await issuers.get(c.req.param("id"))
      return page(c, confirmPage(await frameOf(deps, c), rollOverQuestion(issuer), upTo(issuer)))
    })
    .post("/issuers/:id/roll-over", async (c) => {
      allow(c, "admin")
      const id = c.req.param("id")
      await roots.rollOver(id, null, c.get("actor"))
      return redirect(c, `/issuers/${encodeURIComponent(id)}`, { key: "root-rolled-over" })
    })
    .get("/issuers/:id/roots/:ski/retire", async (c) => {
      allow(c, "admin")
      const issuer = await issuers.get(c.req.param("id"))
      const question = retireRootQuestion(issuer, c.req.param("ski"))
      return page(c, confirmPage(await frameOf(deps, c), question, upTo(issuer)))
    })
    .post("/issuers/:id/roots/:ski/retire", async (c) => {
      allow(c, "admin")
      const id = c.req.param("id")
      await roots.retire(id, c.req.param("ski"), c.get("actor"))
      return redirect(c, `/issuers/${encodeURIComponent(id)}`, { key: "root-retired" })
    })
    .post("/issuers/:id/test", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      try {
        await issuers.test(id, c.get("actor"))
      } catch (error) {
        // The CA's own words: they stand in no URL, so there is no redirect.
        if (!(error instanceof AppError) || error.code !== "upstream") throw error
        return detail(c, id, error.message)
      }
      return redirect(c, `/issuers/${encodeURIComponent(id)}`, { key: "connection-good" })
    })
}
