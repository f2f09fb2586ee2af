/** Teams, owners and agent groups: who answers for a certificate, and which agents may serve it. */
import type { Kit } from "../kit"
import { createdAt, updatedAt } from "./stamps"

export const ownershipTables = (k: Kit) => {
  const teams = k.table(
    "teams",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull().unique(),
      description: k.text("description").notNull().default(""),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [k.index("idx_teams_created_at").on(t.createdAt, t.id)],
  )
  const owners = k.table(
    "owners",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull(),
      email: k.text("email").notNull().default(""),
      teamId: k.text("team_id").references(() => teams.id, { onDelete: "restrict" }),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.index("idx_owners_email").on(t.email),
      k.index("idx_owners_team_id").on(t.teamId),
      k.index("idx_owners_created_at").on(t.createdAt, t.id),
    ],
  )
  const agentGroups = k.table("agent_groups", {
    id: k.text("id").primaryKey(),
    name: k.text("name").notNull().unique(),
    description: k.text("description").notNull().default(""),
    matchOs: k.text("match_os").notNull().default(""),
    matchArchitecture: k.text("match_architecture").notNull().default(""),
    matchIpCidr: k.text("match_ip_cidr").notNull().default(""),
    matchVersion: k.text("match_version").notNull().default(""),
    enabled: k.bool("enabled").notNull().default(true),
    createdAt: createdAt(k),
    updatedAt: updatedAt(k),
  })
  return { teams, owners, agentGroups }
}

export type OwnershipTables = ReturnType<typeof ownershipTables>
