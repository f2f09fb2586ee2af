/** What pages are given: plain values in camelCase with real Dates. The console's routes fill them from the services. */
import type { Evidence } from "../parts/evidence"

export interface Named {
  readonly id: string
  readonly name: string
}

export type AgentHealth = "Online" | "Stale" | "Offline" | "Retired"

export interface JobRow {
  readonly id: string
  readonly type: string
  readonly status: string
  readonly certificate: { readonly id: string; readonly commonName: string } | null
  readonly target: Named | null
  readonly agent: Named | null
  readonly attempts: number
  readonly maxAttempts: number
  /** Why it waits, though nobody has to do anything; null where nothing holds it. */
  readonly hold: string | null
  readonly lastError: string | null
  readonly createdAt: Date
  readonly scheduledAt: Date
  readonly startedAt: Date | null
  readonly completedAt: Date | null
  /** `pending`, `success`, `failed` or `skipped`; null for jobs that verify nothing. */
  readonly verification: string | null
  readonly requestedBy: string | null
}

export interface AuditRow {
  readonly id: string
  readonly action: string
  readonly actor: string
  readonly actorType: string
  readonly resourceType: string
  readonly resourceId: string
  readonly details: unknown
  readonly at: Date
}

/** When and how a certificate renews. */
export type RenewalOutlook =
  | { readonly kind: "automatic"; readonly at: Date }
  /** The renewal policy asks a person to approve each renewal. */
  | { readonly kind: "approval"; readonly at: Date }
  /** Nothing will renew it: its policy is manual. */
  | { readonly kind: "manual" }
  /** An enrolment client (EST, SCEP, ACME) renews it. */
  | { readonly kind: "client"; readonly protocol: string }
  /** Revoked, archived or never issued. */
  | { readonly kind: "none" }

export interface TargetEvidence {
  readonly target: Named & { readonly type: string; readonly endpoint: string | null; readonly retired: boolean }
  readonly agent: (Named & { readonly health: AgentHealth }) | null
  readonly delivered: Evidence
  readonly served: Evidence
  /** null: nobody checks chain, name and revocation there. */
  readonly trusted: Evidence | null
  /** The newest deployment to this target. */
  readonly lastDeployment: { readonly jobId: string; readonly status: string; readonly at: Date } | null
}

/** Somebody's wish to have a certificate issued, which another person must grant. */
export interface ApprovalRow {
  readonly id: string
  /** `pending`, `approved`, `rejected` or `expired`. */
  readonly state: string
  readonly jobId: string
  /** The certificate's names are those that were asked for. */
  readonly certificate: { readonly id: string; readonly commonName: string }
  readonly sans: readonly string[]
  readonly issuer: Named | null
  readonly profile: Named
  /** null: the schedule. */
  readonly requestedBy: string | null
  readonly createdAt: Date
  readonly decidedBy: string | null
  readonly decidedAt: Date | null
  readonly note: string | null
  /** Why the visitor may not say so; null: they may. */
  readonly objections: { readonly approve: string | null; readonly reject: string | null }
}
