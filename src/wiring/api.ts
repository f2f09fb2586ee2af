/** The routes below /api/v1, and the type of the client made from them. */
import { Hono } from "hono"
import { apiKeyRoutes } from "../access/api-key.routes"
import { acmeAdminRoutes } from "../acme/acme-admin.routes"
import { agentGroupRoutes } from "../agent-groups/agent-group.routes"
import { agentRoutes, joinTokenRoutes } from "../agents/agent.routes"
import { approvalRoutes } from "../approvals/approval.routes"
import { auditRoutes } from "../audit/audit.routes"
import type { eventFeed } from "../audit/event-feed"
import { eventStreamRoutes } from "../audit/event-stream.routes"
import { certificateRoutes } from "../certificates/certificate.routes"
import { estRevocationRoutes, revocationRoutes } from "../certificates/revocation.routes"
import type { Db } from "../db/db"
import {
  discoveredCertificateRoutes,
  discoveryReportRoutes,
  discoveryScanRoutes,
  discoverySummaryRoutes,
} from "../discovery/discovery.routes"
import { networkScanTargetRoutes } from "../discovery/network-scan-target.routes"
import { estAdminRoutes } from "../est/est-admin.routes"
import { healthCheckRoutes } from "../health/health-check.routes"
import { intermediateRoutes, issuerIntermediateRoutes } from "../intermediates/intermediate.routes"
import { issuerRoutes } from "../issuers/issuer.routes"
import { rootRoutes } from "../issuers/root.routes"
import { jobRoutes } from "../jobs/job.routes"
import { digestRoutes } from "../notifications/digest.routes"
import { notificationRoutes } from "../notifications/notification.routes"
import { ownerRoutes } from "../owners/owner.routes"
import { policyRoutes } from "../policies/policy.routes"
import { profileRoutes } from "../profiles/profile.routes"
import { renewalPolicyRoutes } from "../renewal-policies/renewal-policy.routes"
import { revocationStatusRoutes } from "../revocation-status/revocation-status.routes"
import { challengeRoutes } from "../scep/challenge.routes"
import { scepAdminRoutes } from "../scep/scep-admin.routes"
import { searchRoutes } from "../search/search.routes"
import type { ApiEnv } from "../server/operation"
import { metricsRoutes } from "../stats/metrics.routes"
import type { metricsService } from "../stats/metrics.service"
import { statsRoutes } from "../stats/stats.routes"
import { targetRoutes } from "../targets/target.routes"
import { teamRoutes } from "../teams/team.routes"
import type { wireAccess } from "./access"
import type { Services } from "./services"

/** The routes below /api/v1; their type is the client's. */
export const apiRoutes = (
  services: Services,
  { keys }: ReturnType<typeof wireAccess>,
  feed: ReturnType<typeof eventFeed>,
  metrics: ReturnType<typeof metricsService>,
  db: Db,
) =>
  new Hono<ApiEnv>()
    .route("/teams", teamRoutes(services.teams))
    .route("/owners", ownerRoutes(services.owners))
    .route("/profiles", profileRoutes(services.profiles))
    .route("/renewal-policies", renewalPolicyRoutes(services.renewalPolicies))
    .route("/issuers", issuerRoutes(services.issuers))
    .route("/issuers", issuerIntermediateRoutes(services.intermediates))
    .route("/issuers", rootRoutes(services.roots))
    .route("/intermediates", intermediateRoutes(services.intermediates))
    .route("/targets", targetRoutes(services.targets, services.targetChecks))
    .route("/certificates", certificateRoutes({ ...services, renewals: services.renewals }))
    .route("/certificates", revocationRoutes(services))
    .route("/est", estRevocationRoutes(services.bulk))
    .route("/jobs", jobRoutes(services.jobs))
    .route("/approvals", approvalRoutes(services.approvals))
    .route("/agents", agentRoutes({ ...services, db }))
    .route("/agents", discoveryReportRoutes(services.discoveries))
    .route("/agent-groups", agentGroupRoutes(services.agentGroups))
    .route("/policies", policyRoutes(services.policies))
    .route("/discovered-certificates", discoveredCertificateRoutes(services.discoveries))
    .route("/discovery-scans", discoveryScanRoutes(services.discoveries))
    .route("/discovery-summary", discoverySummaryRoutes(services.discoveries))
    .route("/network-scan-targets", networkScanTargetRoutes(services.networkScanTargets))
    .route("/health-checks", healthCheckRoutes(services.healthChecks))
    .route("/join-tokens", joinTokenRoutes(services.tokens))
    .route("/api-keys", apiKeyRoutes(keys))
    .route("/audit", auditRoutes(services.audit))
    .route("/events", eventStreamRoutes({ feed }))
    .route("/search", searchRoutes(services.search))
    .route("/stats", statsRoutes(services.stats))
    .route("/metrics", metricsRoutes(metrics))
    .route("/notifications", notificationRoutes(services.notifications))
    .route("/scep", challengeRoutes(services.scepChallenges))
    .route("/admin/acme", acmeAdminRoutes(services.acme.admin))
    .route("/admin/est", estAdminRoutes(services.est))
    .route("/admin/scep", scepAdminRoutes(services.scep))
    .route("/admin/crl", revocationStatusRoutes(services.revocationStatus.crls))
    .route("/digest", digestRoutes(services.digest))

export type Api = ReturnType<typeof apiRoutes>
