/** Stores and services, each given what it uses. Nothing is decided here. */
import { agentGroupService } from "../agent-groups/agent-group.service"
import { agentGroupStore } from "../agent-groups/agent-group.store"
import { agentService } from "../agents/agent.service"
import { agentStore, joinTokenStore } from "../agents/agent.store"
import { joinTokenService } from "../agents/join-token.service"
import { workService } from "../agents/work.service"
import { auditService } from "../audit/audit.service"
import { auditStore } from "../audit/audit.store"
import { baselineService } from "../baseline/baseline.service"
import { baselineStore } from "../baseline/baseline.store"
import { certificateService } from "../certificates/certificate.service"
import { certificateStore } from "../certificates/certificate.store"
import type { CertificateNews } from "../certificates/certificate-news"
import { deploymentService } from "../certificates/deployment.service"
import { issuanceService } from "../certificates/issuance.service"
import { lifecycleService } from "../certificates/lifecycle.service"
import { defaultPolicy, renewalService } from "../certificates/renewal.service"
import { servingStore } from "../certificates/serving.store"
import { versionStore } from "../certificates/version.store"
import { openNotifiers } from "../connectors/notifiers/catalog"
import { addressOf } from "../connectors/probe"
import { endpointIn } from "../connectors/targets/endpoint"
import { demoService } from "../demo/demo.service"
import { demoStore } from "../demo/demo.store"
import { quickStartService } from "../demo/quick-start.service"
import { discoveryService } from "../discovery/discovery.service"
import { discoveryStore } from "../discovery/discovery.store"
import { networkScanTargetService } from "../discovery/network-scan-target.service"
import { networkScanTargetStore } from "../discovery/network-scan-target.store"
import { healthCheckService } from "../health/health-check.service"
import { healthCheckStore } from "../health/health-check.store"
import { observationService } from "../health/observation.service"
import { observationStore } from "../health/observation.store"
import { alarmStore } from "../inventory/alarm.store"
import { fleetStore } from "../inventory/fleet.store"
import { inventoryService } from "../inventory/inventory.service"
import { namesStore } from "../inventory/names.store"
import { placeStore } from "../inventory/place.store"
import { caKeyStore } from "../issuers/ca-key.store"
import { environmentIssuers } from "../issuers/environment-issuers"
import { heldAuthorityService } from "../issuers/held-authority.service"
import { issuerService } from "../issuers/issuer.service"
import { issuerStore } from "../issuers/issuer.store"
import { issuerDepsFor } from "../issuers/issuer-deps"
import { jobService } from "../jobs/job.service"
import { jobStore } from "../jobs/job.store"
import { jobProcessorService } from "../jobs/job-processor.service"
import { jobQueueService } from "../jobs/job-queue.service"
import { logger } from "../logging"
import { announcementService } from "../notifications/announcement.service"
import { deliveryService } from "../notifications/delivery.service"
import { digestService } from "../notifications/digest.service"
import { digestStore } from "../notifications/digest.store"
import { expiryAlerts } from "../notifications/expiry-alerts"
import { jobNews } from "../notifications/job-news"
import { notificationService } from "../notifications/notification.service"
import { notificationStore } from "../notifications/notification.store"
import { ownerService } from "../owners/owner.service"
import { ownerStore } from "../owners/owner.store"
import { policyService } from "../policies/policy.service"
import { policyStore } from "../policies/policy.store"
import { violationService } from "../policies/violation.service"
import { profileService } from "../profiles/profile.service"
import { profileStore } from "../profiles/profile.store"
import { renewalPolicyService } from "../renewal-policies/renewal-policy.service"
import { renewalPolicyStore } from "../renewal-policies/renewal-policy.store"
import { oneWave, rolloutService } from "../rollouts/rollout.service"
import { rolloutStore } from "../rollouts/rollout.store"
import { attentionStore } from "../stats/attention.store"
import { statsService } from "../stats/stats.service"
import { statsStore } from "../stats/stats.store"
import { targetService } from "../targets/target.service"
import { targetStore } from "../targets/target.store"
import { teamService } from "../teams/team.service"
import { teamStore } from "../teams/team.store"
import type { WiringOptions } from "./options"

const rowErrors = (category: string) => {
  const log = logger(category)
  return (id: string, error: unknown) => log.error("{id} failed: {error}", { id, error })
}

export const wireServices = ({ config, db, sealer, clock, serverId, caFingerprint }: WiringOptions) => {
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
