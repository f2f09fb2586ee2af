/**
 * The inventory as people look at it: names in place of ids, certificates with the proof of where they are, agents with what
 * hangs on them. Reads only, and for a whole page of rows at once.
 */
import { sentinelAgentIds } from "../agents/sentinel-agents"
import { isRenewedByItsClient } from "../certificates/certificate.machine"
import type { Clock } from "../clock"
import { type Evidence, evidenceOf, type Observation } from "../health/evidence"
import { freshMs, type ObservationService } from "../health/observation.service"
import type { AlarmStore } from "./alarm.store"
import type { FleetStore } from "./fleet.store"
import type { NamesStore } from "./names.store"
import type { PlaceStore } from "./place.store"
import type { UsageStore } from "./usage.store"

/** An agent heard of within this time is online; after the second it is offline. */
const onlineMs = 5 * 60_000
const offlineMs = 15 * 60_000
const alarmRows = 20
const lapsingShown = 3

export type AgentHealth = "Online" | "Stale" | "Offline" | "Retired"

export interface Place {
  readonly target: {
    readonly id: string
    readonly name: string
    readonly type: string
    /** `host:port` where its certificate is served; null when its configuration names none. */
    readonly endpoint: string | null
    /** Nothing is deployed there any more. */
    readonly retired: boolean
  }
  readonly agent: { readonly id: string; readonly name: string; readonly health: AgentHealth }
  readonly delivered: Evidence
  readonly served: Evidence
  /** null: nobody has checked chain, name and revocation there. */
  readonly trusted: Evidence | null
  readonly lastDeployment: { readonly jobId: string; readonly status: string; readonly at: Date } | null
}

/** What decides how a certificate is renewed. */
export interface RenewalFacts {
  readonly status: string
  readonly source: string
  readonly renewAt: Date | null
  readonly renewalPolicyId: string
  readonly certificateProfileId: string | null
}

export type RenewalOutlook =
  | { readonly kind: "automatic"; readonly at: Date }
  | { readonly kind: "approval"; readonly at: Date }
  /** Nothing does it: no agent serves the certificate. */
  | { readonly kind: "manual" }
  | { readonly kind: "client"; readonly protocol: string }
  | { readonly kind: "none" }

interface Deps {
  names: NamesStore
  places: PlaceStore
  fleet: FleetStore
  alarms: AlarmStore
  usage: UsageStore
  observations: Pick<ObservationService, "newest" | "lastSeenServing">
  clock: Clock
  /** Agents make the keys, so that a certificate without agent is renewed by nobody. */
  needsAgent: boolean
  /** `host:port` where a target's configuration says that it serves; null where it says nothing. */
  endpointIn: (config: Readonly<Record<string, unknown>>) => string | null
}

const unique = (ids: readonly (string | null)[]): string[] => [...new Set(ids.flatMap((id) => id ?? []))]
const byId = <R extends { readonly id: string }>(rows: readonly R[]): ReadonlyMap<string, R> =>
  new Map(rows.map((row) => [row.id, row]))
const keyOf = (...parts: readonly (string | null)[]): string => parts.join(" ")

export const inventoryService = (deps: Deps) => {
  const { names, places, fleet, alarms, usage, observations, clock, needsAgent, endpointIn } = deps

  const healthOf = (agent: { lastHeartbeatAt: Date | null; retiredAt: Date | null }): AgentHealth => {
    if (agent.retiredAt !== null) return "Retired"
    const silenceMs =
      agent.lastHeartbeatAt === null ? offlineMs : clock.now().getTime() - agent.lastHeartbeatAt.getTime()
    return silenceMs < onlineMs ? "Online" : silenceMs < offlineMs ? "Stale" : "Offline"
  }

  /** When and how a certificate renews, judged by the rules that the renewal check follows. */
  const outlookOf = (
    certificate: RenewalFacts,
    rules: { readonly autoRenew: boolean; readonly requiresApproval: boolean },
    isServed: boolean,
  ): RenewalOutlook => {
    const { status, source, renewAt } = certificate
    if (status === "Archived" || status === "Revoked" || renewAt === null) return { kind: "none" }
    if (isRenewedByItsClient(source)) return { kind: "client", protocol: source }
    if (needsAgent && !isServed) return { kind: "manual" }
    return { kind: rules.autoRenew && !rules.requiresApproval ? "automatic" : "approval", at: renewAt }
  }

  return {
    healthOf,
    /** Whether the agent stands for a source inside the server and is no process of its own. */
    isBuiltIn: (agentId: string): boolean => sentinelAgentIds.includes(agentId),

    /** Names of what certificates refer to. */
    async referencesOf(
      rows: readonly {
        readonly issuerId: string
        readonly ownerId: string
        readonly teamId: string
        readonly renewalPolicyId: string
        readonly certificateProfileId: string | null
      }[],
    ) {
      const ids = (of: (row: (typeof rows)[number]) => string | null) => unique(rows.map(of))
      const [issuers, owners, teams, policies, profiles] = await Promise.all([
        names.issuers(ids((row) => row.issuerId)),
        names.owners(ids((row) => row.ownerId)),
        names.teams(ids((row) => row.teamId)),
        names.policies(ids((row) => row.renewalPolicyId)),
        names.profiles(ids((row) => row.certificateProfileId)),
      ])
      return {
        issuers: byId(issuers),
        owners: byId(owners),
        teams: byId(teams),
        policies: byId(policies),
        profiles: byId(profiles),
      }
    },

    /** Names of what approval requests are about. */
    async askedOf(rows: readonly { readonly issuerId: string; readonly profileId: string }[]) {
      const [issuers, profiles] = await Promise.all([
        names.issuers(unique(rows.map(({ issuerId }) => issuerId))),
        names.profiles(unique(rows.map(({ profileId }) => profileId))),
      ])
      return { issuers: byId(issuers), profiles: byId(profiles) }
    },

    /** Names of what jobs are about. */
    async subjectsOf(
      rows: readonly {
        readonly certificateId: string | null
        readonly targetId: string | null
        readonly agentId: string | null
      }[],
    ) {
      const [certificates, targets, agents] = await Promise.all([
        names.certificates(unique(rows.map((row) => row.certificateId))),
        names.targets(unique(rows.map((row) => row.targetId))),
        names.agents(unique(rows.map((row) => row.agentId))),
      ])
      return { certificates: byId(certificates), targets: byId(targets), agents: byId(agents) }
    },

    async agentNames(ids: readonly (string | null)[]): Promise<ReadonlyMap<string, { id: string; name: string }>> {
      return byId(await names.agents(unique(ids)))
    },

    async teamNames(ids: readonly (string | null)[]): Promise<ReadonlyMap<string, { id: string; name: string }>> {
      return byId(await names.teams(unique(ids)))
    },

    /** What a form for certificates, or a filter over them, can be chosen from; by name. */
    async choices() {
      const [issuers, owners, teams, profiles] = await Promise.all([
        names.issuerChoices(),
        names.ownerChoices(),
        names.teamChoices(),
        names.profileChoices(),
      ])
      return { issuers, owners, teams, profiles }
    },
    policyChoices: names.policyChoices,
    targetChoices: names.targetChoices,

    /** The places of each certificate, with what was seen there. Certificates without a target have none. */
    async placesOf(certificateIds: readonly string[]): Promise<ReadonlyMap<string, readonly Place[]>> {
      const [mappings, current, deployments, seen] = await Promise.all([
        places.mappings(certificateIds),
        places.currentVersions(certificateIds),
        places.newestDeployments(certificateIds),
        observations.newest(certificateIds),
      ])
      const expected = new Map(current.map((row) => [keyOf(row.certificateId, row.agentId), row.fingerprint]))
      const odd = new Set(seen.map(({ fingerprint }) => fingerprint).filter((fingerprint) => fingerprint !== ""))
      for (const fingerprint of expected.values()) odd.delete(fingerprint)
      const known = await places.versionsWith([...odd])
      const now = clock.now()

      const found = new Map<string, Place[]>()
      for (const row of mappings) {
        const { certificateId, targetId } = row
        const here = seen.filter((one) => one.certificateId === certificateId && one.targetId === targetId)
        const earlier = new Set(
          known.flatMap((version) => (version.certificateId === certificateId ? [version.fingerprint] : [])),
        )
        const version = expected.get(keyOf(certificateId, row.agentId)) ?? null
        const newest = (kind: Observation["kind"]) => here.find((one) => one.kind === kind)
        const evidence = (kind: Observation["kind"]): Evidence => {
          const { observer, ...rest } = evidenceOf(newest(kind), version, earlier, now)
          return { ...rest, observer: observer === row.agentId ? row.agentName : observer }
        }
        const job = deployments.find((one) => one.certificateId === certificateId && one.targetId === targetId)
        const place: Place = {
          target: {
            id: targetId,
            name: row.targetName,
            type: row.targetType,
            endpoint: endpointIn(row.config),
            retired: row.targetRetiredAt !== null || row.agentRetiredAt !== null,
          },
          agent: {
            id: row.agentId,
            name: row.agentName,
            health: healthOf({ lastHeartbeatAt: row.lastHeartbeatAt, retiredAt: row.agentRetiredAt }),
          },
          delivered: evidence("delivered"),
          served: evidence("served"),
          trusted: newest("trusted") === undefined ? null : evidence("trusted"),
          lastDeployment:
            job === undefined
              ? null
              : { jobId: job.id, status: job.status, at: job.completedAt ?? job.startedAt ?? job.createdAt },
        }
        found.set(certificateId, [...(found.get(certificateId) ?? []), place])
      }
      return found
    },

    /** Where the current version was seen on the wire last, the newest sighting first. */
    async proofs(limit: number) {
      const since = new Date(clock.now().getTime() - freshMs)
      const ids = [...new Set(await observations.lastSeenServing(since, 3 * limit))]
      const [found, certificates] = await Promise.all([this.placesOf(ids), names.certificates(ids)])
      const nameOf = byId(certificates)
      return ids
        .flatMap((certificateId) =>
          (found.get(certificateId) ?? []).flatMap(({ target, agent, served }) => {
            const certificate = nameOf.get(certificateId)
            return served.state === "confirmed" && certificate !== undefined
              ? [{ certificate, target, agent, served }]
              : []
          }),
        )
        .sort((a, b) => (b.served.observedAt?.getTime() ?? 0) - (a.served.observedAt?.getTime() ?? 0))
        .slice(0, limit)
    },

    outlookOf,

    /** Agents with how many certificates hang on them. */
    async dependentsOf(agentIds: readonly string[]) {
      const rows = await fleet.dependents(agentIds)
      return new Map(rows.map((row) => [row.agentId, row]))
    },

    /** One agent's targets with their certificates, what it found, and what retiring it would take along. */
    async agentFacts(agentId: string) {
      const [targets, certificates, discovered, dependencies] = await Promise.all([
        fleet.targets(agentId),
        fleet.certificates(agentId),
        fleet.discovered(agentId),
        fleet.dependencies(agentId),
      ])
      return {
        targets: targets.map((target) => ({
          ...target,
          certificates: certificates.filter((certificate) => certificate.targetId === target.id),
        })),
        discovered,
        dependencies,
      }
    },
    dependencies: fleet.dependencies,
    /** What hangs on teams, owners, rules and the like. */
    usage,

    approvals: alarms.approvals,
    failedAttempts: alarms.failedAttempts,

    /** The first certificates to lapse of each of the agents. */
    firstToLapse: (agentIds: readonly string[]) => fleet.firstToLapse(agentIds, lapsingShown),

    /** What is wrong beside what the statistics already list, at most twenty rows of each kind. */
    async alarms() {
      const now = clock.now()
      const [expired, failedDeployments, mismatches, approvals, degradedIssuers] = await Promise.all([
        alarms.expired(now, alarmRows),
        alarms.failedDeployments(alarmRows),
        alarms.mismatches(new Date(now.getTime() - freshMs), alarmRows),
        alarms.approvals(),
        alarms.degradedIssuers(alarmRows),
      ])
      return { expired, failedDeployments, mismatches, approvals, degradedIssuers }
    },

    /** What comes next by itself, and what lapses next. */
    async ahead(limit: number) {
      const now = clock.now()
      const [[nextRenewal], expiringNext] = await Promise.all([
        alarms.nextRenewal(now),
        alarms.expiringNext(now, limit),
      ])
      return {
        nextRenewal: nextRenewal ?? null,
        expiringNext: expiringNext.map(({ autoRenew, requiresApproval, isServed, ...row }) => ({
          ...row,
          renewal: outlookOf(row, { autoRenew, requiresApproval: requiresApproval === true }, isServed),
        })),
      }
    },
  }
}

export type InventoryService = ReturnType<typeof inventoryService>
