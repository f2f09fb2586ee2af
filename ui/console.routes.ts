/** The console: every page, form and asset, mounted at the root. Who is signed in was decided before a request gets here. */
import { Hono } from "hono"
import type { ApiEnv } from "../src/server/operation"
import { accessRoom } from "./console/access.room"
import { agentGroupsRoom } from "./console/agent-groups.room"
import { agentsRoom } from "./console/agents.room"
import { approvalsRoom } from "./console/approvals.room"
import { assetRoom } from "./console/asset.room"
import { auditRoom } from "./console/audit.room"
import { certificateRoom } from "./console/certificate.room"
import { certificatesRoom } from "./console/certificates.room"
import { dashboardRoom } from "./console/dashboard.room"
import { issuersRoom } from "./console/issuers.room"
import { jobsRoom } from "./console/jobs.room"
import { keysRoom } from "./console/keys.room"
import { notificationsRoom } from "./console/notifications.room"
import { peopleRoom } from "./console/people.room"
import { policiesRoom } from "./console/policies.room"
import { profilesRoom } from "./console/profiles.room"
import { renewalPoliciesRoom } from "./console/renewal-policies.room"
import { revocationRoom } from "./console/revocation.room"
import { bareFrame, type ConsoleDeps, frameOf, type PageContext, page } from "./console/room"
import { searchRoom } from "./console/search.room"
import { targetsRoom } from "./console/targets.room"
import { bareMessagePage, type MessageProps, messagePage } from "./pages/message.page"

const kindOf = (status: number): MessageProps["kind"] =>
  status === 404 ? "not-found" : status === 403 ? "forbidden" : status >= 500 ? "failed" : "refused"

const shownStatuses = [400, 403, 404, 409, 429, 500] as const

export const consoleRoutes = (deps: ConsoleDeps) => ({
  app: new Hono<ApiEnv>()
    .route("/", assetRoom())
    .route("/", accessRoom(deps))
    .route("/", dashboardRoom(deps))
    // The list before the certificate: `/certificates/new` is no id.
    .route("/", certificatesRoom(deps))
    .route("/", revocationRoom(deps))
    .route("/", certificateRoom(deps))
    .route("/", agentsRoom(deps))
    .route("/", jobsRoom(deps))
    .route("/", approvalsRoom(deps))
    .route("/", notificationsRoom(deps))
    .route("/", targetsRoom(deps))
    .route("/", issuersRoom(deps))
    .route("/", policiesRoom(deps))
    .route("/", renewalPoliciesRoom(deps))
    .route("/", profilesRoom(deps))
    .route("/", agentGroupsRoom(deps))
    .route("/", peopleRoom(deps))
    .route("/", keysRoom(deps))
    .route("/", searchRoom(deps))
    .route("/", auditRoom(deps)),

  /** What a failed request gets: the frame stays wherever somebody is signed in, so that the way on is at hand. */
  async problemPage(c: PageContext, { status, message }: { status: number; message: string }): Promise<Response> {
    const kind = kindOf(status)
    // Also of an asset: what is missing now may be there after an upgrade.
    c.header("cache-control", "no-store")
    const props: MessageProps = {
      kind,
      requestId: c.get("requestId"),
      ...(kind === "failed" ? {} : { text: `${message.charAt(0).toUpperCase()}${message.slice(1)}.` }),
    }
    const shown = shownStatuses.find((one) => one === status) ?? (status >= 500 ? 500 : 400)
    if (c.get("actor") === undefined) return page(c, bareMessagePage(bareFrame(c), props), shown)
    return page(c, messagePage(await frameOf(deps, c, kind === "failed"), props), shown)
  },
})
