/** What every room of the console shares: the frame of a page, the answer, and who may do what. */
import type { Context } from "hono"
import { getCookie } from "hono/cookie"
import type { ApiKeyService } from "../../src/access/api-key.service"
import { returnPath } from "../../src/access/return-path"
import type { SessionService } from "../../src/access/session.service"
import type { SessionCookie } from "../../src/access/session-cookie"
import type { AgentGroupService } from "../../src/agent-groups/agent-group.service"
import type { AgentService } from "../../src/agents/agent.service"
import type { JoinTokenService } from "../../src/agents/join-token.service"
import type { ApprovalService } from "../../src/approvals/approval.service"
import type { AuditService } from "../../src/audit/audit.service"
import type { BulkService } from "../../src/certificates/bulk.service"
import type { CertificateService } from "../../src/certificates/certificate.service"
import type { DeploymentService } from "../../src/certificates/deployment.service"
import type { ExportService } from "../../src/certificates/export.service"
import type { RenewalService } from "../../src/certificates/renewal.service"
import type { RevocationService } from "../../src/certificates/revocation.service"
import type { Clock } from "../../src/clock"
import { assetUrl } from "../../src/embed"
import type { InventoryService } from "../../src/inventory/inventory.service"
import type { IssuerService } from "../../src/issuers/issuer.service"
import type { RootService } from "../../src/issuers/root.service"
import type { JobService } from "../../src/jobs/job.service"
import type { NotificationService } from "../../src/notifications/notification.service"
import type { OwnerService } from "../../src/owners/owner.service"
import type { PolicyService } from "../../src/policies/policy.service"
import type { ProfileService } from "../../src/profiles/profile.service"
import type { RenewalPolicyService } from "../../src/renewal-policies/renewal-policy.service"
import type { SearchService } from "../../src/search/search.service"
import { type ApiEnv, authorise, type OperationRole } from "../../src/server/operation"
import type { StatsService } from "../../src/stats/stats.service"
import type { TargetService } from "../../src/targets/target.service"
import type { TargetCheckService } from "../../src/targets/target-check.service"
import type { TeamService } from "../../src/teams/team.service"
import { version } from "../../src/version"
import type { Theme } from "../islands/theme-switch.island"
import { renderDocument } from "../parts/document"
import type { Frame } from "../parts/layout"
import { type ListState, listState } from "../parts/list-state"
import type { Markup } from "../parts/markup"
import { type Notice, noticeOf, withNotice } from "../parts/notices"

export interface ConsoleDeps {
  readonly agents: AgentService
  readonly agentGroups: AgentGroupService
  readonly approvals: Pick<ApprovalService, "list" | "get" | "pendingOf" | "objection" | "decide">
  readonly audit: Pick<AuditService, "list" | "batches">
  readonly bulk: BulkService
  readonly certificates: CertificateService
  readonly deployments: Pick<DeploymentService, "deploy">
  readonly exports: ExportService
  readonly inventory: InventoryService
  readonly issuers: Pick<IssuerService, "list" | "get" | "create" | "update" | "remove" | "test">
  readonly jobs: JobService
  readonly keys: Pick<ApiKeyService, "list" | "get" | "create" | "rotate" | "disable">
  readonly notifications: Pick<NotificationService, "list" | "get" | "markRead" | "requeue">
  readonly owners: OwnerService
  readonly policies: PolicyService
  readonly profiles: ProfileService
  readonly renewalPolicies: RenewalPolicyService
  readonly renewals: Pick<RenewalService, "trigger">
  readonly roots: RootService
  readonly revocations: Pick<RevocationService, "revoke">
  readonly search: Pick<SearchService, "find">
  readonly sessions: Pick<SessionService, "signIn" | "signOut">
  readonly stats: StatsService
  readonly targets: Pick<TargetService, "list" | "get" | "create" | "update" | "remove">
  readonly targetChecks: Pick<TargetCheckService, "test">
  readonly teams: TeamService
  readonly tokens: Pick<JoinTokenService, "create">
  readonly cookie: SessionCookie
  readonly clock: Clock
  /** Base of the commands that pages show, and of the console itself. */
  readonly publicUrl: string
  /** Whether the inventory is a demonstration's. */
  readonly isDemo: () => Promise<boolean>
}

export type PageContext = Context<ApiEnv>

export const themeCookie = "certctl-theme"

export const themes: readonly Theme[] = ["system", "light", "dark"]

const themeOf = (c: PageContext): Theme => themes.find((theme) => theme === getCookie(c, themeCookie)) ?? "system"

const assets = () => ({ css: assetUrl("console.css"), loader: assetUrl("loader.js") })

/** What a page without the frame needs. */
export const bareFrame = (c: PageContext): Pick<Frame, "assets" | "theme"> => ({ assets: assets(), theme: themeOf(c) })

export const queryOf = (c: PageContext): URLSearchParams => new URL(c.req.url).searchParams

/** What the frame shows beside who is signed in, read from the database. */
const facts = async ({ inventory, isDemo }: Pick<ConsoleDeps, "inventory" | "isDemo">) => {
  const [approvals, deadNotifications, demo] = await Promise.all([
    inventory.approvals(),
    inventory.usage.deadNotifications(),
    isDemo(),
  ])
  return { counts: { awaitingApproval: approvals.count, deadNotifications }, demo }
}

/** For the page that reports a failure: the database may be what failed. */
const noFacts = { counts: { awaitingApproval: 0, deadNotifications: 0 }, demo: false }

/** The frame around the page that is asked for. */
export const frameOf = async (deps: ConsoleDeps, c: PageContext, isFailing = false): Promise<Frame> => {
  const { name, role } = c.get("actor")
  const { pathname, search, searchParams } = new URL(c.req.url)
  return {
    ...bareFrame(c),
    ...(isFailing ? noFacts : await facts(deps)),
    url: pathname + search,
    actor: role === "none" || role === "agent" ? null : { name, role },
    version: version.version,
    notice: noticeOf(searchParams),
    now: deps.clock.now(),
  }
}

export const page = (c: PageContext, markup: Markup, status: 200 | 400 | 403 | 404 | 409 | 429 | 500 = 200) =>
  c.html(renderDocument(markup), status)

/** What an API operation asks of whoever calls it. */
export interface Gate {
  readonly role: OperationRole
  /** An `admin` operation that stays open when authentication is off. */
  readonly openWithoutAuthentication?: boolean
}

/** Throws `forbidden` unless the visitor may call an API operation of this role. */
export const allow = (c: PageContext, role: OperationRole, gate: Omit<Gate, "role"> = {}): void =>
  authorise({ ...gate, role }, c.get("actor"), { pathname: c.req.path, id: undefined })

export const redirect = (c: PageContext, path: string, notice?: Notice) =>
  c.redirect(notice === undefined ? path : withNotice(withoutNotice(path), notice), 303)

const withoutNotice = (path: string): string => {
  const [pathname = "/", search = ""] = path.split("?", 2)
  const query = new URLSearchParams(search)
  query.delete("notice")
  query.delete("job")
  return query.size === 0 ? pathname : `${pathname}?${query}`
}

/** The page that a form stands on, as its `back` field says, else as the browser does; `otherwise` where neither tells. */
export const pageBefore = (c: PageContext, back: string | undefined, otherwise: string): string => {
  if (back !== undefined && back !== "") return returnPath(back)
  const referer = c.req.header("referer")
  if (referer === undefined || !URL.canParse(referer)) return otherwise
  const { pathname, search } = new URL(referer)
  return returnPath(pathname + search)
}

/** A form's text fields; a field that is missing, or is a file, is empty. */
export const formOf = async (c: PageContext) => {
  const form = await c.req.formData()
  const texts = (name: string): string[] =>
    form.getAll(name).flatMap((value) => (typeof value === "string" ? [value] : []))
  return { text: (name: string): string => texts(name)[0]?.trim() ?? "", texts, names: [...new Set(form.keys())] }
}

const pageSizes = [25, 50, 100, 200]
const defaultPageSize = 50

/** Which rows a list's URL asks for; numbers that cannot be meant count as the defaults. */
export const listOf = (
  c: PageContext,
): { state: ListState; page: number; pageSize: number; range: { limit: number; offset: number } } => {
  const state = listState(c.req.path, queryOf(c))
  const wanted = Number(state.params.page_size)
  const pageSize = pageSizes.includes(wanted) ? wanted : defaultPageSize
  const number = /^[1-9]\d{0,8}$/.test(state.params.page ?? "") ? Number(state.params.page) : 1
  return { state, page: number, pageSize, range: { limit: pageSize, offset: (number - 1) * pageSize } }
}

/** A date field's value as the start of that day, UTC. */
export const dayOf = (text: string | undefined): Date | undefined => {
  if (text === undefined || !/^\d{4}-\d\d-\d\d$/.test(text)) return undefined
  const day = new Date(`${text}T00:00:00Z`)
  return Number.isNaN(day.getTime()) ? undefined : day
}
