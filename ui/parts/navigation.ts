/** The side bar's entries in order. A page that joins the console adds its line here. */
import type { IconName } from "./icon"

/** Numbers beside an entry: what waits for a person there. */
export interface NavigationCounts {
  readonly awaitingApproval: number
  readonly deadNotifications: number
}

interface NavigationEntry {
  readonly label: string
  readonly path: string
  readonly icon: IconName
  readonly count?: { readonly of: keyof NavigationCounts; readonly meaning: string }
  /** Shown to administrators only. */
  readonly adminOnly?: boolean
}

interface NavigationGroup {
  readonly label: string
  readonly entries: readonly NavigationEntry[]
}

export const navigation: readonly NavigationGroup[] = [
  {
    label: "Inventory",
    entries: [
      { label: "Dashboard", path: "/", icon: "dashboard" },
      { label: "Certificates", path: "/certificates", icon: "certificate" },
      { label: "Agents", path: "/agents", icon: "agent" },
      { label: "Targets", path: "/targets", icon: "target" },
      { label: "Issuers", path: "/issuers", icon: "issuer" },
    ],
  },
  {
    label: "Rules",
    entries: [
      { label: "Policies", path: "/policies", icon: "policy" },
      { label: "Renewal policies", path: "/renewal-policies", icon: "refresh" },
      { label: "Profiles", path: "/profiles", icon: "profile" },
      { label: "Agent groups", path: "/agent-groups", icon: "group" },
    ],
  },
  {
    label: "People",
    entries: [
      { label: "Teams", path: "/teams", icon: "team" },
      { label: "Owners", path: "/owners", icon: "owner" },
      { label: "API keys", path: "/keys", icon: "key", adminOnly: true },
    ],
  },
  {
    label: "Activity",
    entries: [
      {
        label: "Approvals",
        path: "/approvals",
        icon: "approval",
        count: { of: "awaitingApproval", meaning: "awaiting approval" },
      },
      { label: "Jobs", path: "/jobs", icon: "job" },
      {
        label: "Notifications",
        path: "/notifications",
        icon: "notification",
        count: { of: "deadNotifications", meaning: "not delivered" },
      },
      { label: "Audit trail", path: "/audit", icon: "audit" },
    ],
  },
]

/** Whether an entry is the one the path belongs to (its detail pages included). */
export const isActive = (entry: NavigationEntry, path: string): boolean =>
  entry.path === "/" ? path === "/" : path === entry.path || path.startsWith(`${entry.path}/`)
