/** Routes under /api/v1/discovered-certificates, discovery-scans and discovery-summary, and the agents' report. */
import { Hono } from "hono"
import { DiscoveryBody } from "../agents/agent-protocol.schema"
import { type ApiEnv, input, operation } from "../server/operation"
import { datedBy, pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  ClaimAnswer,
  ClaimBody,
  DiscoveredAnswer,
  DiscoveredListAnswer,
  DiscoveredQuery,
  DismissAnswer,
  discoveredAnswer,
  discoveredFilter,
  ScanAnswer,
  ScanListAnswer,
  ScanQuery,
  SummaryAnswer,
  scanAnswer,
} from "./discovery.schema"
import type { DiscoveryService } from "./discovery.service"

export const discoveredCertificateRoutes = (discoveries: DiscoveryService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_discovered_certificates",
        summary: "List certificates found outside the inventory",
        role: "viewer",
        returns: DiscoveredListAnswer,
      }),
      input("query", DiscoveredQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await discoveries.list(discoveredFilter(query), sliceOf(query))
        return c.json(pagedAnswer(query, found, discoveredAnswer))
      },
    )
    .get(
      "/:id",
      operation({
        id: "get_discovered_certificate",
        summary: "Show a discovered certificate",
        role: "viewer",
        returns: DiscoveredAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(discoveredAnswer(await discoveries.get(c.req.valid("param").id))),
    )
    .post(
      "/:id/claim",
      operation({
        id: "claim_discovered_certificate",
        summary: "Link a discovered certificate to a managed one",
        role: "operator",
        returns: ClaimAnswer,
      }),
      input("param", IdParam),
      input("json", ClaimBody),
      async (c) => {
        const { managed_certificate_id: certificateId } = c.req.valid("json")
        await discoveries.claim(c.req.valid("param").id, certificateId, c.get("actor"))
        return c.json({ status: "claimed" as const, message: `linked to ${certificateId}` })
      },
    )
    .post(
      "/:id/dismiss",
      operation({
        id: "dismiss_discovered_certificate",
        summary: "Mark a discovered certificate as of no interest",
        role: "operator",
        returns: DismissAnswer,
      }),
      input("param", IdParam),
      async (c) => {
        await discoveries.dismiss(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "dismissed" as const, message: "it stays dismissed when it is seen again" })
      },
    )

export const discoveryScanRoutes = (discoveries: Pick<DiscoveryService, "scans">) =>
  new Hono<ApiEnv>().get(
    "/",
    operation({
      id: "list_discovery_scans",
      summary: "List discovery scans",
      role: "viewer",
      returns: ScanListAnswer,
    }),
    input("query", ScanQuery),
    async (c) => {
      const query = c.req.valid("query")
      const filter = { agentId: query.agent_id || undefined, search: query.q }
      const found = datedBy(await discoveries.scans(filter, sliceOf(query)), ({ startedAt }) => startedAt)
      return c.json(pagedAnswer(query, found, scanAnswer))
    },
  )

export const discoverySummaryRoutes = (discoveries: Pick<DiscoveryService, "summary">) =>
  new Hono<ApiEnv>().get(
    "/",
    operation({
      id: "get_discovery_summary",
      summary: "Count discovered certificates by status",
      role: "viewer",
      returns: SummaryAnswer,
    }),
    async (c) => c.json(await discoveries.summary()),
  )

/** Mounted under /api/v1/agents, beside the agents' own routes. */
export const discoveryReportRoutes = (discoveries: Pick<DiscoveryService, "report">) =>
  new Hono<ApiEnv>().post(
    "/:id/discoveries",
    operation({
      id: "agent_report_discoveries",
      summary: "Report what a scan for certificates found",
      role: "agent",
      errors: { 410: "The agent was retired" },
      returns: ScanAnswer,
      status: 202,
    }),
    input("param", IdParam),
    input("json", DiscoveryBody, { tellsOfOthers: true }),
    async (c) => {
      const scan = await discoveries.report(c.req.valid("param").id, c.req.valid("json"), c.get("actor"))
      return c.json(scanAnswer(scan), 202)
    },
  )
