/** Agents, what lets them join, and the targets they deploy to. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { OwnershipTables } from "./ownership.tables"
import { createdAt, updatedAt } from "./stamps"

/** As `src/rollouts/deployment-window.ts` reads it. */
export interface DeploymentWindows {
  /** IANA name. */
  readonly timeZone: string
  readonly windows: readonly {
    readonly days: readonly ("mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun")[]
    readonly from: string
    readonly to: string
  }[]
}

export const fleetTables = (k: Kit, { agentGroups }: OwnershipTables) => {
  const agents = k.table(
    "agents",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull(),
      hostname: k.text("hostname").notNull(),
      status: k.oneOf("status", ["Online", "Offline", "Degraded"]).notNull().default("Offline"),
      lastHeartbeatAt: k.time("last_heartbeat_at"),
      registeredAt: k.time("registered_at").notNull(),
      /** SHA-256 hex of the agent's own key; empty for agents that use an ordinary API key. */
      apiKeyHash: k.text("api_key_hash").notNull().default(""),
      os: k.text("os").notNull().default(""),
      architecture: k.text("architecture").notNull().default(""),
      ipAddress: k.text("ip_address").notNull().default(""),
      version: k.text("version").notNull().default(""),
      /** Whether it runs the checks of connectors when it is asked to: its polls say what it holds. */
      takesChecks: k.bool("takes_checks").notNull().default(false),
      retiredAt: k.time("retired_at"),
      retiredReason: k.text("retired_reason"),
    },
    (t) => [
      k.uniqueIndex("uq_agents_name").on(t.name).where(sql`retired_at is null`),
      k.uniqueIndex("uq_agents_api_key_hash").on(t.apiKeyHash).where(sql`api_key_hash <> ''`),
      k.index("idx_agents_status").on(t.status),
      k.index("idx_agents_hostname").on(t.hostname),
      k.index("idx_agents_last_heartbeat_at").on(t.lastHeartbeatAt),
      k.index("idx_agents_os").on(t.os),
      k.index("idx_agents_architecture").on(t.architecture),
      k.index("idx_agents_registered_at").on(t.registeredAt, t.id),
      k.index("idx_agents_online").on(t.status, t.lastHeartbeatAt).where(sql`status = 'Online'`),
      k.index("idx_agents_retired_at").on(t.retiredAt, t.id).where(sql`retired_at is not null`),
    ],
  )
  const joinTokens = k.table(
    "join_tokens",
    {
      id: k.text("id").primaryKey(),
      /** SHA-256 hex of the secret part. */
      hash: k.text("hash").notNull().unique(),
      createdBy: k.text("created_by").notNull(),
      createdAt: createdAt(k),
      expiresAt: k.time("expires_at").notNull(),
      usedAt: k.time("used_at"),
      agentId: k.text("agent_id").references(() => agents.id, { onDelete: "set null" }),
    },
    (t) => [
      k.index("idx_join_tokens_expires_at").on(t.expiresAt),
      k.index("idx_join_tokens_created_at").on(t.createdAt, t.id),
    ],
  )
  const agentGroupMembers = k.table(
    "agent_group_members",
    {
      agentGroupId: k
        .text("agent_group_id")
        .notNull()
        .references(() => agentGroups.id, { onDelete: "cascade" }),
      agentId: k
        .text("agent_id")
        .notNull()
        .references(() => agents.id, { onDelete: "cascade" }),
      membershipType: k.oneOf("membership_type", ["include", "exclude"]).notNull().default("include"),
      createdAt: createdAt(k),
    },
    (t) => [
      k.primaryKey({ columns: [t.agentGroupId, t.agentId] }),
      k.index("idx_agent_group_members_agent_id").on(t.agentId),
    ],
  )
  const deploymentTargets = k.table(
    "deployment_targets",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull(),
      type: k.text("type").notNull(),
      agentId: k
        .text("agent_id")
        .notNull()
        .references(() => agents.id, { onDelete: "restrict" }),
      /** Redacted copy, fit to be shown; the real one is sealed. */
      config: k.json<Record<string, unknown>>("config").notNull(),
      encryptedConfig: k.blob("encrypted_config"),
      enabled: k.bool("enabled").notNull().default(true),
      /** When deployments may begin; null: at any time. */
      deploymentWindows: k.json<DeploymentWindows>("deployment_windows"),
      lastTestedAt: k.time("last_tested_at"),
      testStatus: k.oneOf("test_status", ["untested", "success", "failed"]).notNull().default("untested"),
      source: k.oneOf("source", ["database", "env"]).notNull().default("database"),
      retiredAt: k.time("retired_at"),
      retiredReason: k.text("retired_reason"),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_deployment_targets_agent_id_name").on(t.agentId, t.name),
      k.index("idx_deployment_targets_enabled").on(t.enabled),
      k.index("idx_deployment_targets_name").on(t.name),
      k.index("idx_deployment_targets_created_at").on(t.createdAt, t.id),
      k.index("idx_deployment_targets_retired_at").on(t.retiredAt).where(sql`retired_at is not null`),
    ],
  )
  return { agents, joinTokens, agentGroupMembers, deploymentTargets }
}

export type FleetTables = ReturnType<typeof fleetTables>
