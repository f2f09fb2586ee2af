/** Stores and services, each given what it uses. Nothing is decided here. */
import { Registry } from "prom-client"
import { agentGroupService } from "../agent-groups/agent-group.service"
import { agentGroupStore } from "../agent-groups/agent-group.store"
import { agentService } from "../agents/agent.service"
import { agentStore, joinTokenStore } from "../agents/agent.store"
import { joinTokenService } from "../agents/join-token.service"
import { workService } from "../agents/work.service"
import { approvalService } from "../approvals/approval.service"
import { approvalStore } from "../approvals/approval.store"
import { approvalExpiry } from "../approvals/approval-expiry"
import { auditService } from "../audit/audit.service"
import { auditStore } from "../audit/audit.store"
import { baselineService } from "../baseline/baseline.service"
import { baselineStore } from "../baseline/baseline.store"
import { bulkService } from "../certificates/bulk.service"
import { certificateService } from "../certificates/certificate.service"
import { certificateStore } from "../certificates/certificate.store"
import type { CertificateNews } from "../certificates/certificate-news"
import { completionService } from "../certificates/completion.service"
import { deploymentService } from "../certificates/deployment.service"
import { dueStore } from "../certificates/due.store"
import { enrolmentService } from "../certificates/enrolment.service"
import { exportService } from "../certificates/export.service"
import { exportStore } from "../certificates/export.store"
import { issuanceService } from "../certificates/issuance.service"
import { defaultPolicy } from "../certificates/issuing-run.service"
import { lifecycleService } from "../certificates/lifecycle.service"
import { renewalService } from "../certificates/renewal.service"
import { renewalDatesService } from "../certificates/renewal-dates.service"
import { revocationService } from "../certificates/revocation.service"
import { revocationStore } from "../certificates/revocation.store"
import { servingStore } from "../certificates/serving.store"
import { shortLivedService } from "../certificates/short-lived.service"
import { versionStore } from "../certificates/version.store"
import { openNotifiers } from "../connectors/notifiers/catalog"
import { addressOf } from "../connectors/probe"
import { targetConnector } from "../connectors/targets/catalog"
import { endpointIn } from "../connectors/targets/endpoint"
import { demoService } from "../demo/demo.service"
import { demoStore } from "../demo/demo.store"
import { quickStartService } from "../demo/quick-start.service"
import { discoveryService } from "../discovery/discovery.service"
import { discoveryStore } from "../discovery/discovery.store"
import { networkScanTargetService } from "../discovery/network-scan-target.service"
import { networkScanTargetStore } from "../discovery/network-scan-target.store"
import { openTrustBundle } from "../enrolment/trust-bundle"
import { AppError } from "../errors"
import { estService } from "../est/est.service"
import { healthCheckService } from "../health/health-check.service"
import { healthCheckStore } from "../health/health-check.store"
import { observationService } from "../health/observation.service"
import { observationStore } from "../health/observation.store"
import { intermediateService } from "../intermediates/intermediate.service"
import { intermediateStore } from "../intermediates/intermediate.store"
import { alarmStore } from "../inventory/alarm.store"
import { fleetStore } from "../inventory/fleet.store"
import { inventoryService } from "../inventory/inventory.service"
import { namesStore } from "../inventory/names.store"
import { placeStore } from "../inventory/place.store"
import { usageStore } from "../inventory/usage.store"
import { caKeyStore } from "../issuers/ca-key.store"
import { environmentIssuers } from "../issuers/environment-issuers"
import { heldAuthorityService } from "../issuers/held-authority.service"
import { issuanceMetrics } from "../issuers/issuance.metrics"
import { issuerService } from "../issuers/issuer.service"
import { issuerStore } from "../issuers/issuer.store"
import { issuerDepsFor, publicUrlsOf } from "../issuers/issuer-deps"
import { issuerGates } from "../issuers/issuer-gate"
import { issuerTrouble } from "../issuers/issuer-trouble"
import { rootService } from "../issuers/root.service"
import { deploymentMetrics } from "../jobs/deployment.metrics"
import { jobService } from "../jobs/job.service"
import { jobStore } from "../jobs/job.store"
import { jobProcessorService } from "../jobs/job-processor.service"
import { jobQueueService } from "../jobs/job-queue.service"
import { logger } from "../logging"
import { alertMetrics } from "../notifications/alert.metrics"
import { announcementService } from "../notifications/announcement.service"
import { deliveryService } from "../notifications/delivery.service"
import { digestService } from "../notifications/digest.service"
import { digestStore } from "../notifications/digest.store"
import { expiryAlerts } from "../notifications/expiry-alerts"
import { jobNews } from "../notifications/job-news"
import { notificationService } from "../notifications/notification.service"
import { notificationStore } from "../notifications/notification.store"
import { outboxQueue, outboxWorker } from "../outbox/outbox.service"
import { outboxStore } from "../outbox/outbox.store"
import { ownerService } from "../owners/owner.service"
import { ownerStore } from "../owners/owner.store"
import { policyService } from "../policies/policy.service"
import { policyStore } from "../policies/policy.store"
import { violationService } from "../policies/violation.service"
import { profileService } from "../profiles/profile.service"
import { profileStore } from "../profiles/profile.store"
import { renewalPolicyService } from "../renewal-policies/renewal-policy.service"
import { renewalPolicyStore } from "../renewal-policies/renewal-policy.store"
import { rolloutService, wavesOfPolicy } from "../rollouts/rollout.service"
import { rolloutStore } from "../rollouts/rollout.store"
import { windowService } from "../rollouts/window.service"
import { searchService } from "../search/search.service"
import { searchStore } from "../search/search.store"
import { attentionStore } from "../stats/attention.store"
import { statsService } from "../stats/stats.service"
import { statsStore } from "../stats/stats.store"
import { targetService } from "../targets/target.service"
import { targetStore } from "../targets/target.store"
import { targetCheckService } from "../targets/target-check.service"
import { teamService } from "../teams/team.service"
import { teamStore } from "../teams/team.store"
import { wireAcme } from "./acme"
import type { WiringOptions } from "./options"
import { wireRevocationStatus } from "./revocation-status"
import { wireScep } from "./scep"

const rowErrors = (category: string) => {
  const log = logger(category)
  return (id: string, error: unknown) => log.error("{id} failed: {error}", { id, error })
}

const warnOf = (category: string) => {
  const log = logger(category)
  return (line: string) => log.warn("{line}", { line })
}

export const wireServices = (options: WiringOptions) => {
  const { config, db, sealer, clock, serverId, caFingerprint } = options
  const audit = auditService({ db, events: auditStore(db), clock })
  const common = { db, audit, clock }

  const notifiers = openNotifiers(config.notifiers, { fetch, clock })
  const notificationRows = notificationStore(db)
  const notifications = notificationService({ ...common, notifications: notificationRows })
  const { publicUrl } = config.server
  const registry = new Registry()
  const telling = { notifications: notificationRows, notify: notifications.notify, clock, publicUrl }
  const alertCounts = alertMetrics(registry)
  const alerts = expiryAlerts({ ...telling, audit, onDeduped: alertCounts.deduped })
  const announcements = announcementService(telling)

  const certificates = certificateStore(db)
  const versions = versionStore(db)
  const serving = servingStore(db)
  const due = dueStore(db)
  const jobs = jobStore(db)
  const policies = policyStore(db)
  const violations = violationService({
    ...common,
    policies,
    onViolated: announcements.policyViolated,
    onRowError: rowErrors("policies"),
  })
  const approvalRows = approvalStore(db)
  const expireApproval = approvalExpiry({ ...common, approvals: approvalRows })
  const tellOfJob = jobNews({ announcements, notifications: notificationRows })
  const targetRows = targetStore(db)
  const deploymentCounts = deploymentMetrics({
    registry,
    db,
    typeOf: async (id) => (await targetRows.get(id))?.type ?? "unknown",
  })
  const queue = jobQueueService({
    ...common,
    jobs,
    async onMoved(tx, job, how) {
      await expireApproval(tx, job, how)
      await tellOfJob(tx, job)
      deploymentCounts.moved(tx, job)
    },
  })
  const rolloutRows = rolloutStore(db)
  const rollouts = rolloutService({ ...common, rollouts: rolloutRows, jobs, queue, planWaves: wavesOfPolicy })
  const lifecycle = lifecycleService({ ...common, certificates, versions, serving, jobs, queue, rollouts })
  const news: CertificateNews = {
    changed: (tx, certificate) => violations.judge(tx, [certificate]),
    async issued(tx, ...issued) {
      await violations.judge(tx, issued)
      // One message for a run, not one for each of its agents.
      const done = issued.filter(({ status }) => status !== "RenewalInProgress")
      await announcements.renewalsSucceeded(
        tx,
        done.map(({ id }) => id),
      )
    },
    revoked: announcements.revoked,
    unsaid: (query, looked) =>
      alerts.unsaid(
        query,
        looked.map(({ certificate, policy }) => ({ certificate, policy: policy ?? defaultPolicy })),
      ),
    checked: (tx, certificate, policy) => alerts.check(tx, certificate, policy ?? defaultPolicy),
  }
  const observations = observationService({ ...common, observations: observationStore(db) })

  const caKeys = caKeyStore(db)
  const issuerRows = issuerStore(db)
  const intermediates = intermediateService({
    ...common,
    cas: intermediateStore(db),
    caKeys,
    findIssuer: async (id) => {
      const issuer = await issuerRows.get(id)
      if (issuer === null) throw new AppError("not_found", `issuer ${id} does not exist`)
      return issuer
    },
    caKeyPassphrase: config.ca.files?.passphrase ?? null,
    sealer,
    backdateMs: config.ca.backdateMs,
  })
  const heldAuthorities = heldAuthorityService({ ...common, caKeys, sealer, settings: config.ca })
  const issuers = issuerService({
    ...common,
    issuers: issuerRows,
    caKeys,
    sealer,
    depsFor: issuerDepsFor({
      fetch,
      clock,
      treeAuthority: intermediates.signing,
      heldAuthorities,
      caKeyPassphrase: config.ca.files?.passphrase ?? null,
      backdateMs: config.ca.backdateMs,
      pkiUrl: config.pki.url,
    }),
    fromEnvironment: environmentIssuers(config.ca),
  })
  const roots = rootService({
    caKeys,
    issuers,
    heldAuthorities,
    crlUrls: (issuerId, authority) => publicUrlsOf(config.pki.url, issuerId)(authority).crl,
    clock,
  })
  const issuanceCounts = issuanceMetrics(registry)
  const openIssuer = async (id: string) => {
    const opened = await (options.openIssuer ?? issuers.connectorFor)(id)
    return { ...opened, connector: issuanceCounts.metered(opened.type, opened.connector) }
  }

  const gates = issuerGates({
    clock,
    ...issuerTrouble({ ...common, issuers: issuerRows }),
    onError: rowErrors("issuers"),
  })

  const outboxRows = outboxStore(db)
  const revocations = revocationService({
    ...common,
    news,
    certificates,
    revocations: revocationStore(db),
    lifecycle,
    outbox: outboxQueue({ ...common, rows: outboxRows }),
    openIssuer,
  })
  const renewalDates = renewalDatesService({
    ...common,
    certificates,
    versions,
    serving,
    due,
    outbox: outboxQueue({ ...common, rows: outboxRows }),
  })
  const outbox = outboxWorker({
    ...common,
    rows: outboxRows,
    handlers: { ...revocations.handlers, ...renewalDates.handlers },
    onRowError: rowErrors("outbox"),
  })

  const owners = ownerService({ ...common, owners: ownerStore(db) })
  const ownerOf = async (certificateId: string) => {
    const certificate = await certificates.get(certificateId)
    return certificate === null ? null : owners.get(certificate.ownerId).catch(() => null)
  }
  const approvals = approvalService({
    ...common,
    approvals: approvalRows,
    jobs,
    queue,
    certificates,
    lifecycle,
    ownerOf,
    bypass: config.approvalBypass,
  })
  const deployments = deploymentService({
    ...common,
    approvals,
    certificates,
    versions,
    serving,
    jobs,
    queue,
    rollouts,
    lifecycle,
  })
  const completions = completionService({
    ...common,
    certificates,
    versions,
    jobs,
    rollouts: rolloutRows,
    serving,
    due,
    queue,
    deployments,
    lifecycle,
    news,
    revocations,
    keygenMode: config.keygenMode,
  })
  const issuance = issuanceService({
    ...common,
    news,
    completions,
    due,
    certificates,
    versions,
    serving,
    jobs,
    queue,
    deployments,
    lifecycle,
    openIssuer,
    gates,
    serverId,
    onBackgroundError: rowErrors("issuance"),
  })
  const profiles = profileService({ ...common, profiles: profileStore(db) })
  const baseline = baselineService({ ...common, baseline: baselineStore(db), issuers })
  const enrolments = enrolmentService({
    ...common,
    news,
    completions,
    certificates,
    versions,
    jobs,
    queue,
    deployments,
    lifecycle,
    openIssuer,
    gates,
    serverId,
    onBackgroundError: rowErrors("enrolment"),
    ensureSystemRows: baseline.ensureSystemRows,
    teamOf: ownerStore(db).teamOf,
    findProfile: profiles.find,
    onMissingProfile: (profileId) =>
      logger("enrolment").warn("profile {profileId} does not exist: only the general rules are checked", { profileId }),
  })
  const renewals = renewalService({
    ...common,
    due,
    approvals,
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
    gates,
    serving,
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
    targets: targetRows,
    sealer,
    onServingChanged: async (tx, certificateIds) => {
      for (const id of certificateIds) await lifecycle.afterTargetsChanged(tx, id)
    },
  })
  const targetChecks = targetCheckService({ ...common, targets: targetRows, jobs, queue })
  const jobsService = jobService({
    ...common,
    jobs,
    queue,
    certificates,
    versions,
    approvals,
    ownerOf,
    endpointOf: async (targetId) => {
      const { type, config } = await targets.get(targetId)
      const endpoint = endpointIn(config, targetConnector(type).isManagedRemotely)
      return endpoint === null ? null : addressOf(endpoint.host, endpoint.port)
    },
    isServedBy: serving.isMapped,
    lifecycle,
    checks: targetChecks,
    observations,
    metrics: deploymentCounts,
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
    windowsOf: targetRows.windowsOf,
    targetRows,
    targetFor: targets.whole,
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
    usage: usageStore(db),
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
  const deliveries = deliveryService({
    ...common,
    notifications: notificationRows,
    notifiers,
    onRowError: rowError,
    onOutcome: alertCounts.delivered,
  })

  const search = searchService({ search: searchStore(db) })

  return {
    search,
    registry,
    revocationStatus: wireRevocationStatus({ config, db, sealer, clock, audit, issuers, registry }),
    alerts,
    announcements,
    approvals,
    deliveries,
    digest,
    notifications,
    audit,
    outbox,
    revocations,
    bulk: bulkService({
      ...common,
      certificates,
      update: certificatesService.update,
      get: certificatesService.get,
      revocations,
      renewals,
      onRowError: rowErrors("bulk"),
    }),
    exports: exportService({
      ...common,
      certificates,
      versions,
      exports: exportStore(db),
      hourlyLimit: config.exportsPerHour,
    }),
    issuers,
    issuance,
    renewals,
    shortLived: shortLivedService({ ...common, certificates, due, lifecycle, onRowError: rowErrors("renewal") }),
    processor,
    windows: windowService({ ...common, jobs, queue, windowsOf: targetRows.windowsOf }),
    deployments,
    observations,
    targets,
    targetChecks,
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
        for (const id of policyIds) await renewalDates.afterPolicyChanged(tx, id)
      },
    }),
    discoveries: discoveryService({
      ...common,
      discoveries: discoveryStore(db),
      demandActiveAgent: (id) => agents.getActive(id),
    }),
    networkScanTargets: networkScanTargetService({ ...common, targets: networkScanTargetStore(db) }),
    healthChecks: healthCheckService({
      ...common,
      checks: healthCheckStore(db),
      onNews: announcements.healthChanged,
    }),
    jobs: jobsService,
    certificates: certificatesService,
    teams: teamService({ ...common, teams: teamStore(db) }),
    profiles,
    renewalPolicies: renewalPolicyService({
      ...common,
      policies: renewalPolicyStore(db),
      onPolicyChanged: renewalDates.afterPolicyChanged,
    }),
    baseline,
    enrolments,
    intermediates,
    roots,
    est: estService({
      ...common,
      profiles: config.est.map((profile) => ({
        ...profile,
        trust: profile.trustBundlePath === null ? null : openTrustBundle(profile.trustBundlePath, clock, warnOf("est")),
      })),
      enrolments,
      caChainOf: issuers.caChainOf,
      findProfile: profiles.find,
    }),
    acme: wireAcme({ ...options, audit, profiles, certificates, versions, enrolments, revocations, registry }),
    ...wireScep({ config, db, sealer, clock, audit, issuers, enrolments, registry }),
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
