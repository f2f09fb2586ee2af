/** Configuration to running services: the only file that sees everything. Nothing is decided here. */
import { Hono } from "hono"
import { Registry } from "prom-client"
import { consoleRoutes } from "../ui/console.routes"
import { apiKeyRoutes } from "./access/api-key.routes"
import { apiKeyService } from "./access/api-key.service"
import { apiKeyStore } from "./access/api-key.store"
import { authentication } from "./access/authentication"
import { ensureInitialAdminKey, forgetInitialAdminKey } from "./access/initial-admin-key"
import { loginThrottle } from "./access/login-throttle"
import { sameHash, secretHash } from "./access/secrets"
import { sessionService } from "./access/session.service"
import { sessionStore } from "./access/session.store"
import { sessionCookie } from "./access/session-cookie"
import { agentGroupRoutes } from "./agent-groups/agent-group.routes"
import { agentGroupService } from "./agent-groups/agent-group.service"
import { agentGroupStore } from "./agent-groups/agent-group.store"
import { agentRoutes, joinTokenRoutes } from "./agents/agent.routes"
import { agentService } from "./agents/agent.service"
import { agentStore, joinTokenStore } from "./agents/agent.store"
import { joinTokenService } from "./agents/join-token.service"
import { workService } from "./agents/work.service"
import { apiCallLog } from "./audit/api-call-log"
import { auditRoutes } from "./audit/audit.routes"
import { auditService } from "./audit/audit.service"
import { auditStore } from "./audit/audit.store"
import { eventFeed } from "./audit/event-feed"
import { eventStreamRoutes } from "./audit/event-stream.routes"
import { leafStore } from "./audit/leaf.store"
import { sealingService } from "./audit/sealing.service"
import { baselineService } from "./baseline/baseline.service"
import { baselineStore } from "./baseline/baseline.store"
import { certificateRoutes } from "./certificates/certificate.routes"
import { certificateService } from "./certificates/certificate.service"
import { certificateStore } from "./certificates/certificate.store"
import type { CertificateNews } from "./certificates/certificate-news"
import { deploymentService } from "./certificates/deployment.service"
import { issuanceService } from "./certificates/issuance.service"
import { lifecycleService } from "./certificates/lifecycle.service"
import { defaultPolicy, renewalService } from "./certificates/renewal.service"
import { servingStore } from "./certificates/serving.store"
import { leaseMs } from "./certificates/signing.service"
import { versionStore } from "./certificates/version.store"
import type { Clock } from "./clock"
import { type Config, proxyList } from "./config"
import { openNotifiers } from "./connectors/notifiers/catalog"
import { addressOf } from "./connectors/probe"
import { endpointIn } from "./connectors/targets/endpoint"
import type { Db } from "./db/db"
import { leaseStore } from "./db/lease.store"
import { demoService } from "./demo/demo.service"
import { demoStore } from "./demo/demo.store"
import { quickStartService } from "./demo/quick-start.service"
import {
  discoveredCertificateRoutes,
  discoveryReportRoutes,
  discoveryScanRoutes,
  discoverySummaryRoutes,
} from "./discovery/discovery.routes"
import { discoveryService } from "./discovery/discovery.service"
import { discoveryStore } from "./discovery/discovery.store"
import { networkScanTargetRoutes } from "./discovery/network-scan-target.routes"
import { networkScanTargetService } from "./discovery/network-scan-target.service"
import { networkScanTargetStore } from "./discovery/network-scan-target.store"
import { healthCheckRoutes } from "./health/health-check.routes"
import { healthCheckService } from "./health/health-check.service"
import { healthCheckStore } from "./health/health-check.store"
import { observationService } from "./health/observation.service"
import { observationStore } from "./health/observation.store"
import { alarmStore } from "./inventory/alarm.store"
import { fleetStore } from "./inventory/fleet.store"
import { inventoryService } from "./inventory/inventory.service"
import { namesStore } from "./inventory/names.store"
import { placeStore } from "./inventory/place.store"
import { caKeyStore } from "./issuers/ca-key.store"
import { environmentIssuers } from "./issuers/environment-issuers"
import { heldAuthorityService } from "./issuers/held-authority.service"
import { issuerRoutes } from "./issuers/issuer.routes"
import { issuerService } from "./issuers/issuer.service"
import { issuerStore } from "./issuers/issuer.store"
import { issuerDepsFor } from "./issuers/issuer-deps"
import { jobRoutes } from "./jobs/job.routes"
import { jobService } from "./jobs/job.service"
import { jobStore } from "./jobs/job.store"
import { jobProcessorService } from "./jobs/job-processor.service"
import { jobQueueService } from "./jobs/job-queue.service"
import { logger } from "./logging"
import { announcementService } from "./notifications/announcement.service"
import { deliveryService } from "./notifications/delivery.service"
import { digestRoutes } from "./notifications/digest.routes"
import { digestService } from "./notifications/digest.service"
import { digestStore } from "./notifications/digest.store"
import { expiryAlerts } from "./notifications/expiry-alerts"
import { jobNews } from "./notifications/job-news"
import { notificationRoutes } from "./notifications/notification.routes"
import { notificationService } from "./notifications/notification.service"
import { notificationStore } from "./notifications/notification.store"
import { ownerRoutes } from "./owners/owner.routes"
import { ownerService } from "./owners/owner.service"
import { ownerStore } from "./owners/owner.store"
import { policyRoutes } from "./policies/policy.routes"
import { policyService } from "./policies/policy.service"
import { policyStore } from "./policies/policy.store"
import { violationService } from "./policies/violation.service"
import { profileRoutes } from "./profiles/profile.routes"
import { profileService } from "./profiles/profile.service"
import { profileStore } from "./profiles/profile.store"
import { renewalPolicyRoutes } from "./renewal-policies/renewal-policy.routes"
import { renewalPolicyService } from "./renewal-policies/renewal-policy.service"
import { renewalPolicyStore } from "./renewal-policies/renewal-policy.store"
import { oneWave, rolloutService } from "./rollouts/rollout.service"
import { rolloutStore } from "./rollouts/rollout.store"
import { loops } from "./scheduler/loops"
import { scheduler, soleHolder } from "./scheduler/scheduler"
import type { Sealer } from "./secrets/sealing"
import { createApp } from "./server/app"
import type { ApiEnv } from "./server/operation"
import { attentionStore } from "./stats/attention.store"
import { metricsRoutes } from "./stats/metrics.routes"
import { metricsService } from "./stats/metrics.service"
import { statsRoutes } from "./stats/stats.routes"
import { statsService } from "./stats/stats.service"
import { statsStore } from "./stats/stats.store"
import { targetRoutes } from "./targets/target.routes"
import { targetService } from "./targets/target.service"
import { targetStore } from "./targets/target.store"
import { teamRoutes } from "./teams/team.routes"
import { teamService } from "./teams/team.service"
import { teamStore } from "./teams/team.store"
import { version } from "./version"

export interface WiringOptions {
  readonly config: Config
  readonly db: Db
  readonly sealer: Sealer
  readonly clock: Clock
  /** Names this process in leases; the same again after a restart, so that it finds what is its own. */
  readonly serverId: string
  /** SHA-256 of the server's own CA certificate; empty when its certificate comes from elsewhere. */
  readonly caFingerprint: string
}

const rowErrors = (category: string) => {
  const log = logger(category)
  return (id: string, error: unknown) => log.error("{id} failed: {error}", { id, error })
}

const wireServices = ({ config, db, sealer, clock, serverId, caFingerprint }: WiringOptions) => {
  const audit = auditService({ db, events: auditStore(db), clock })
  const common = { db, audit, clock }

  const notifiers = openNotifiers(config.notifiers, { fetch, clock })
  const notificationRows = notificationStore(db)
  const notifications = notificationService({ ...common, notifications: notificationRows })
  const { publicUrl } = config.server
  const telling = { notifications: notificationRows, notify: notifications.notify, clock, publicUrl }
  const alerts = expiryAlerts({ ...telling, audit })
  const announcements = announcementService(telling)

  const certificates = certificateStore(db)
  const versions = versionStore(db)
  const serving = servingStore(db)
  const jobs = jobStore(db)
  const policies = policyStore(db)
  const violations = violationService({
    ...common,
    policies,
    onViolated: announcements.policyViolated,
    onRowError: rowErrors("policies"),
  })
  const queue = jobQueueService({
    ...common,
    jobs,
    onMoved: jobNews({ announcements, notifications: notificationRows }),
  })
  const rollouts = rolloutService({ ...common, rollouts: rolloutStore(db), jobs, queue, planWaves: oneWave })
  const lifecycle = lifecycleService({ ...common, certificates, versions, serving, jobs, queue, rollouts })
  const news: CertificateNews = {
    changed: violations.onCertificateChanged,
    async issued(tx, certificateId) {
      await violations.onCertificateChanged(tx, certificateId)
      const certificate = await certificates.get(certificateId, tx)
      // One message for a run, not one for each of its agents.
      if (certificate !== null && certificate.status !== "RenewalInProgress") {
        await announcements.renewalSucceeded(tx, certificateId)
      }
    },
    checked: (tx, certificate, policy) => alerts.check(tx, certificate, policy ?? defaultPolicy),
  }
  const observations = observationService({ ...common, observations: observationStore(db) })

  const caKeys = caKeyStore(db)
  const issuers = issuerService({
    ...common,
    issuers: issuerStore(db),
    caKeys,
    sealer,
    depsFor: issuerDepsFor({
      fetch,
      clock,
      heldAuthorities: heldAuthorityService({ ...common, caKeys, sealer, settings: config.ca }),
      caKeyPassphrase: config.ca.files?.passphrase ?? null,
      backdateMs: config.ca.backdateMs,
      pkiUrl: config.pki.url,
    }),
    fromEnvironment: environmentIssuers(config.ca),
  })
  const openIssuer = issuers.connectorFor

  const deployments = deploymentService({
    ...common,
    certificates,
    versions,
    serving,
    jobs,
    queue,
    rollouts,
    lifecycle,
  })
  const issuance = issuanceService({
    ...common,
    news,
    certificates,
    versions,
    serving,
    jobs,
    queue,
    deployments,
    lifecycle,
    openIssuer,
    serverId,
    keygenMode: config.keygenMode,
    onBackgroundError: rowErrors("issuance"),
  })
  const renewals = renewalService({
    ...common,
    news,
    certificates,
    versions,
    serving,
    jobs,
    queue,
    rollouts,
    lifecycle,
    keygenMode: config.keygenMode,
    onRowError: rowErrors("renewal"),
  })
  const processor = jobProcessorService({
    ...common,
    jobs,
    queue,
    certificates,
    lifecycle,
    issuance,
    openIssuer,
    rollouts,
    seal: sealer.seal,
    serverId,
    settings: {
      keygenMode: config.keygenMode,
      concurrency: config.schedule.renewalConcurrency,
      ...config.jobs,
    },
    onRowError: rowErrors("jobs"),
  })

  const targets = targetService({
    ...common,
    targets: targetStore(db),
    sealer,
    onServingChanged: async (tx, certificateIds) => {
      for (const id of certificateIds) await lifecycle.afterTargetsChanged(tx, id)
    },
  })
  const owners = ownerService({ ...common, owners: ownerStore(db) })
  const jobsService = jobService({
    ...common,
    jobs,
    queue,
    certificates,
    versions,
    ownerOf: async (certificateId) => {
      const certificate = await certificates.get(certificateId)
      return certificate === null ? null : owners.get(certificate.ownerId).catch(() => null)
    },
    endpointOf: async (targetId) => {
      const endpoint = endpointIn((await targets.get(targetId)).config)
      return endpoint === null ? null : addressOf(endpoint.host, endpoint.port)
    },
    isServedBy: serving.isMapped,
    lifecycle,
    observations,
  })

  const tokens = joinTokenService({ ...common, tokens: joinTokenStore(db), caFingerprint: () => caFingerprint })
  const agents = agentService({ ...common, agents: agentStore(db), tokens, jobs, queue, serving, lifecycle })
  const work = workService({
    ...common,
    jobs,
    queue,
    certificates,
    versions,
    serving,
    lifecycle,
    targetFor: async (id) => {
      const target = await targets.get(id)
      return { type: target.type, config: await targets.fullConfig(id) }
    },
    onRowError: rowErrors("work"),
  })

  const stats = statsService({
    stats: statsStore(db),
    attention: attentionStore(db),
    clock,
    needsAgent: config.keygenMode === "agent",
  })

  const inventory = inventoryService({
    names: namesStore(db),
    places: placeStore(db),
    fleet: fleetStore(db),
    alarms: alarmStore(db),
    observations,
    clock,
    needsAgent: config.keygenMode === "agent",
    endpointIn: (config) => {
      const endpoint = endpointIn(config)
      return endpoint === null ? null : addressOf(endpoint.host, endpoint.port)
    },
  })
  const certificatesService = certificateService({
    ...common,
    certificates,
    versions,
    serving,
    queue,
    lifecycle,
    news,
  })
  const demo = demoService({ ...common, demo: demoStore(db), sealer })

  const rowError = rowErrors("notifications")
  const digest = digestService({
    ...common,
    digests: digestStore(db),
    stats,
    mail: notifiers.get("Email") ?? null,
    settings: config.digest,
    publicUrl,
    onRecipientError: (recipient, error) => rowError(`digest for ${recipient}`, error),
  })
  const deliveries = deliveryService({ ...common, notifications: notificationRows, notifiers, onRowError: rowError })

  return {
    alerts,
    announcements,
    deliveries,
    digest,
    notifications,
    audit,
    issuers,
    issuance,
    renewals,
    processor,
    deployments,
    observations,
    targets,
    owners,
    agents,
    tokens,
    work,
    stats,
    inventory,
    violations,
    policies: policyService({ ...common, policies, violations, onRowError: rowErrors("policies") }),
    agentGroups: agentGroupService({
      ...common,
      groups: agentGroupStore(db),
      onServingChanged: async (tx, policyIds) => {
        for (const id of policyIds) await lifecycle.afterPolicyChanged(tx, id)
      },
    }),
    discoveries: discoveryService({
      ...common,
      discoveries: discoveryStore(db),
      demandActiveAgent: (id) => agents.getActive(id),
    }),
    networkScanTargets: networkScanTargetService({ ...common, targets: networkScanTargetStore(db) }),
    healthChecks: healthCheckService({ ...common, checks: healthCheckStore(db) }),
    jobs: jobsService,
    certificates: certificatesService,
    teams: teamService({ ...common, teams: teamStore(db) }),
    profiles: profileService({ ...common, profiles: profileStore(db) }),
    renewalPolicies: renewalPolicyService({
      ...common,
      policies: renewalPolicyStore(db),
      onPolicyChanged: (tx, policyId) => lifecycle.afterPolicyChanged(tx, policyId),
    }),
    baseline: baselineService({ ...common, baseline: baselineStore(db), issuers }),
    demo,
    quickStart: quickStartService({
      clock,
      agents,
      targets,
      certificates: certificatesService,
      renewals,
      deployments,
      observations,
    }),
  }
}

export type Services = ReturnType<typeof wireServices>

const wireAccess = ({ config, db, clock }: WiringOptions, { audit, agents, tokens }: Services) => {
  const sessions = sessionStore(db)
  const store = apiKeyStore(db)
  const keys = apiKeyService({
    db,
    keys: store,
    sessions,
    audit,
    clock,
    configured: config.auth.keys,
    findAgentByKeyHash: agents.findByKeyHash,
    onCreated: () => forgetInitialAdminKey(config.dataDir),
  })
  const sessionsService = sessionService({ db, sessions, keys, throttle: loginThrottle(clock), clock })
  const bootstrapHash = config.auth.agentBootstrapToken === null ? null : secretHash(config.auth.agentBootstrapToken)
  const cookie = sessionCookie(config.server.publicUrl.startsWith("https:"))
  const who = authentication({
    mode: config.auth.type,
    keys,
    sessions: sessionsService,
    cookie,
    registration: {
      exclusive: bootstrapHash !== null,
      async check(token) {
        if (bootstrapHash !== null && sameHash(bootstrapHash, secretHash(token))) {
          return { name: "bootstrap-token", type: "System", role: "operator" }
        }
        const row = await tokens.check(token)
        return row === null ? null : { name: row.createdBy, type: "User", role: "operator", joinTokenId: row.id }
      },
    },
  })
  return {
    keys,
    sessions: sessionsService,
    cookie,
    authentication: who,
    /** Makes the first key where there is none anywhere. */
    ensureFirstKey: () =>
      config.auth.type === "none" || config.auth.keys.length > 0
        ? Promise.resolve(null)
        : ensureInitialAdminKey({ db, keys: store, audit, clock, dataDir: config.dataDir }),
  }
}

/** The routes below /api/v1; their type is the client's. */
const apiRoutes = (
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
    .route("/targets", targetRoutes(services.targets))
    .route("/certificates", certificateRoutes({ ...services, renewals: services.renewals }))
    .route("/jobs", jobRoutes(services.jobs))
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
    .route("/stats", statsRoutes(services.stats))
    .route("/metrics", metricsRoutes(metrics))
    .route("/notifications", notificationRoutes(services.notifications))
    .route("/digest", digestRoutes(services.digest))

export type Api = ReturnType<typeof apiRoutes>

export const wire = (options: WiringOptions) => {
  const { config, db, clock, serverId } = options
  const services = wireServices(options)
  const access = wireAccess(options, services)
  const calls = apiCallLog({ db, events: auditStore(db), clock })
  const leaves = leafStore(db)
  const feed = eventFeed({ db, leaves })
  const registry = new Registry()
  const metrics = metricsService({ stats: services.stats, clock, startedAt: clock.now(), registry })

  const pages = consoleRoutes({
    ...services,
    sessions: access.sessions,
    cookie: access.cookie,
    clock,
    publicUrl: config.server.publicUrl,
    isDemo: services.demo.isDemo,
  })
  const app = createApp({
    api: apiRoutes(services, access, feed, metrics, db),
    console: pages,
    authentication: access.authentication,
    apiCalls: calls,
    ping: db.ping,
    clock,
    version,
    publicUrl: config.server.publicUrl,
    maxBodyBytes: config.server.maxBodyBytes,
    rateLimits: config.rateLimit.enabled ? { address: config.rateLimit, caller: config.rateLimit } : null,
    corsOrigins: config.corsOrigins,
    trustedProxies: proxyList(config.server.trustedProxies),
    registry,
  })

  const timetable = scheduler({
    loops: loops(
      { ...services, sealing: sealingService({ db, leaves, clock }), sessions: access.sessions },
      { ...config.schedule, digest: config.digest },
    ),
    // Only one process can have a SQLite file open.
    leases: db.dialect === "sqlite" ? soleHolder : leaseStore(db),
    serverId,
    onSignal: db.onSignal,
    onHeartbeat: () => services.processor.renewLeases(leaseMs),
  })

  return {
    app,
    services,
    access,
    scheduler: timetable,

    /** What a new or restarted database needs before the first request. Throws where the server must not start. */
    async prepare() {
      await services.baseline.ensure()
      if (config.database.demoSeed && (await services.demo.load()) === "refused") {
        logger("demo").warn("CERTCTL_DEMO_SEED is ignored: the database holds an inventory already")
      }
      await services.issuers.start()
      await services.processor.dropOwnLeases()
      return access.ensureFirstKey()
    },

    /** Answers whoever waits: long polls and event streams. */
    drain(): void {
      services.work.close()
      feed.close()
    },

    /** Writes what is queued, for at most `budgetMs`. */
    async close(budgetMs: number): Promise<void> {
      await access.keys.close()
      await calls.close(budgetMs)
    },
  }
}

export type Wired = ReturnType<typeof wire>
