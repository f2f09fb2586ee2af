/**
 * The real half of the demo: one target and one certificate that a local agent renews, deploys and proves at an endpoint on this
 * machine. Every step is the one that people take through the API.
 */
import { type Actor, systemActor } from "../access/actor"
import type { AgentService } from "../agents/agent.service"
import type { CertificateService } from "../certificates/certificate.service"
import type { DeploymentService } from "../certificates/deployment.service"
import type { RenewalService } from "../certificates/renewal.service"
import type { Clock } from "../clock"
import { AppError } from "../errors"
import { evidenceOf } from "../health/evidence"
import type { ObservationService } from "../health/observation.service"
import type { TargetService } from "../targets/target.service"

export const quickStartAgentName = "this-machine"
export const quickStartTargetId = "tgt-demo-endpoint"
export const quickStartCertificateId = "mc-quick-start"
/** Names below localhost stay on this machine (RFC 6761 section 6.3). */
export const quickStartHost = "demo.certctl.localhost"

const actor: Actor = { ...systemActor, name: "quick-start" }

interface Deps {
  agents: Pick<AgentService, "get">
  targets: Pick<TargetService, "get" | "create" | "update" | "whole">
  certificates: Pick<CertificateService, "get" | "create" | "versions">
  renewals: Pick<RenewalService, "trigger">
  deployments: Pick<DeploymentService, "deploy">
  observations: Pick<ObservationService, "newest">
  clock: Clock
}

export interface QuickStartEndpoint {
  readonly certPath: string
  readonly keyPath: string
  /** Without a shell: a program of the agent's PATH and its arguments. */
  readonly checkCommand: string
  readonly reloadCommand: string
  readonly port: number
  /** Who reads the files; root would hand them to the user of a web server. */
  readonly userId: number
  readonly groupId: number
}

const orNull = async <R>(found: Promise<R>): Promise<R | null> => {
  try {
    return await found
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") return null
    throw error
  }
}

const targetConfig = (endpoint: QuickStartEndpoint) => ({
  cert_path: endpoint.certPath,
  key_path: endpoint.keyPath,
  validate_command: endpoint.checkCommand,
  reload_command: endpoint.reloadCommand,
  cert_file_owner: endpoint.userId,
  cert_file_group: endpoint.groupId,
  key_file_owner: endpoint.userId,
  key_file_group: endpoint.groupId,
  verify_host: "127.0.0.1",
  verify_port: endpoint.port,
  verify_server_name: quickStartHost,
})

const isSubset = (part: Readonly<Record<string, unknown>>, whole: Readonly<Record<string, unknown>>): boolean =>
  Object.entries(part).every(([key, value]) => whole[key] === value)

export const quickStartService = (deps: Deps) => {
  const { agents, targets, certificates, renewals, deployments, observations, clock } = deps

  /** Whether the target is new or has changed, so that what was seen there says nothing any more. */
  const ensureTarget = async (agentId: string, endpoint: QuickStartEndpoint): Promise<boolean> => {
    const config = targetConfig(endpoint)
    const target = await orNull(targets.get(quickStartTargetId))
    if (target === null) {
      await targets.create(
        {
          ...{ id: quickStartTargetId, name: "Demo endpoint", type: "NGINX", agentId, config, enabled: true },
          deploymentWindows: null,
        },
        actor,
      )
      return true
    }
    const { config: stored } = await targets.whole(quickStartTargetId)
    if (target.agentId === agentId && isSubset(config, stored)) return false
    await targets.update(quickStartTargetId, { agentId, config: { ...stored, ...config } }, actor)
    return true
  }

  const ensureCertificate = async () => {
    const certificate = await orNull(certificates.get(quickStartCertificateId))
    if (certificate !== null) return certificate
    return certificates.create(
      {
        id: quickStartCertificateId,
        name: quickStartHost,
        commonName: quickStartHost,
        sans: [quickStartHost, "127.0.0.1"],
        environment: "development",
        ownerId: "o-lena",
        teamId: "t-devops",
        issuerId: "iss-local",
        renewalPolicyId: "rp-standard",
        certificateProfileId: null,
        targetIds: [quickStartTargetId],
        tags: { purpose: "quick-start" },
      },
      actor,
    )
  }

  const isSeenServed = async (agentId: string): Promise<boolean> => {
    const { rows } = await certificates.versions(quickStartCertificateId, { limit: 1, offset: 0 })
    const [version] = rows
    if (version === undefined || version.agentId !== agentId) return false
    const seen = await observations.newest([quickStartCertificateId])
    // What counts is the wire; the agent reads the files back a moment later than it looks there.
    const served = seen.find(({ targetId, kind }) => targetId === quickStartTargetId && kind === "served")
    return evidenceOf(served, version.fingerprintSha256, new Set(), clock.now()).state === "confirmed"
  }

  return {
    /** The agent of the former start, if it still is one of this server. */
    async isKnownAgent(agentId: string): Promise<boolean> {
      return (await orNull(agents.get(agentId)))?.retiredAt === null
    },

    /**
     * Brings target and certificate about and has issued and deployed what is missing. Doing it again finds everything as it is.
     * What somebody archived, revoked or took off the endpoint stays so.
     */
    async ensure(agentId: string, endpoint: QuickStartEndpoint): Promise<void> {
      const isChanged = await ensureTarget(agentId, endpoint)
      const { status, targetIds } = await ensureCertificate()
      if (status === "Revoked" || status === "Archived" || !targetIds.includes(quickStartTargetId)) return
      // Under way since before the server was stopped: the loops see to its end.
      if (status === "RenewalInProgress") return
      const { total } = await certificates.versions(quickStartCertificateId, { limit: 1, offset: 0 })
      if (total === 0) await renewals.trigger(quickStartCertificateId, { force: false }, actor)
      else if (isChanged || !(await isSeenServed(agentId))) await deployments.deploy(quickStartCertificateId, {}, actor)
    },
  }
}
