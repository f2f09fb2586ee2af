/** Renewal policies: when certificates are renewed, how often that is tried, who hears of it. */
import type { FormSection } from "../parts/fields"
import type { Option } from "../parts/form"
import { mayWork } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { timeAgo } from "../parts/time"
import { type ListProps, resourceListPage } from "./resource-list.page"
import { changeActions, namedCell } from "./teams.page"
import type { Named } from "./views"

export interface RenewalPolicyRow extends Named {
  readonly windowDays: number
  readonly autoRenew: boolean
  /** "3 retries, 60 min apart". */
  readonly retryWords: string
  readonly thresholds: readonly number[]
  readonly group: Named | null
  readonly certificates: number
  readonly createdAt: Date
}

export const alertTiers = ["informational", "warning", "critical"] as const
export const alertChannels = ["Email", "Webhook", "Slack", "Teams", "PagerDuty", "OpsGenie"] as const

const tierWords = { informational: "Informational", warning: "Warning", critical: "Critical" } as const

export const renewalPolicySections = (groups: readonly Option[]): FormSection[] => [
  {
    title: "Renewal",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255, placeholder: "Standard" },
      [
        {
          kind: "number",
          name: "renewal_window_days",
          label: "Window, days before expiry",
          required: true,
          min: 1,
          max: 365,
        },
        { kind: "select", name: "agent_group_id", label: "Only on agents of", options: groups, empty: "Any agent" },
      ],
      {
        kind: "tick",
        name: "auto_renew",
        label: "Renew by itself",
        hint: "Otherwise a job is made at the same moment and waits for somebody to approve it.",
      },
      {
        kind: "select",
        name: "rollout",
        label: "Roll-out to several targets",
        options: [
          { value: "one_first", label: "One first, the others when it is verified" },
          { value: "all_at_once", label: "All at once" },
        ],
        hint: "When the first target cannot be verified, the others keep what they have.",
      },
      [
        { kind: "number", name: "max_retries", label: "Retries", required: true, min: 0, max: 10 },
        {
          kind: "number",
          name: "retry_interval_seconds",
          label: "Seconds between retries",
          required: true,
          min: 60,
          max: 86_400,
        },
      ],
    ],
  },
  {
    title: "Alerts",
    fields: [
      {
        kind: "text",
        name: "alert_thresholds_days",
        label: "Alert at days before expiry",
        mono: true,
        placeholder: "30, 14, 7, 0",
        hint: "Numbers with commas between them. One alert for each, and none twice.",
      },
      {
        kind: "text",
        name: "critical_days",
        label: "Critical from",
        mono: true,
        placeholder: "7, 0",
        hint: "Which of these thresholds count as critical.",
      },
      {
        kind: "text",
        name: "informational_days",
        label: "Informational at",
        mono: true,
        placeholder: "30",
        hint: "Which of them only inform. The rest warn.",
      },
    ],
  },
  {
    title: "Channels of alerts",
    folded: true,
    fields: alertTiers.map((tier) => ({
      kind: "ticks",
      name: `alert_channels.${tier}`,
      label: tierWords[tier],
      options: alertChannels.map((value) => ({ value, label: value === "Email" ? "E-mail to the owner" : value })),
    })),
  },
]

export const renewalPoliciesPage = (props: ListProps<RenewalPolicyRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Renewal policies",
    icon: "refresh",
    noun: "renewal policy",
    nouns: "renewal policies",
    searched: "Name, id",
    emptyText:
      "A renewal policy says how long before its end a certificate is renewed, whether that happens by itself, and when people are warned.",
    mayAdd: mayWork(frame),
    columns: [
      {
        head: "Policy",
        className: "lead",
        cell: (row) =>
          namedCell(frame, "/renewal-policies", row, row.group === null ? "" : `only on agents of ${row.group.name}`),
      },
      { head: "Window", cell: (row) => `${row.windowDays} ${row.windowDays === 1 ? "day" : "days"}` },
      {
        head: "Renewal",
        cell: (row) =>
          html`<span class="stacked"><span>${row.autoRenew ? "by itself" : "after approval"}</span><span class="sub">${row.retryWords}</span></span>`,
      },
      {
        head: "Alerts",
        className: "minor",
        cell: (row) =>
          row.thresholds.length === 0
            ? html`<span class="muted">none</span>`
            : `${row.thresholds.join(", ")} days before`,
      },
      {
        head: "Certificates",
        cell: (row) =>
          row.certificates === 0 ? html`<span class="muted">none</span>` : row.certificates.toLocaleString("en"),
      },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      changeActions(frame, "/renewal-policies"),
    ],
  })
}
