/** Every loop: its name, its interval and the service call it makes. */

import type { SessionService } from "../access/session.service"
import type { ChallengeService } from "../acme/challenge.service"
import type { CleanUpService } from "../acme/clean-up.service"
import type { AgentService } from "../agents/agent.service"
import { auditTopic } from "../audit/audit.service"
import type { SealingService } from "../audit/sealing.service"
import type { RenewalService } from "../certificates/renewal.service"
import type { ShortLivedService } from "../certificates/short-lived.service"
import type { ObservationService } from "../health/observation.service"
import type { JobProcessor } from "../jobs/job-processor.service"
import { jobSignals } from "../jobs/job-queue.service"
import type { DeliveryService } from "../notifications/delivery.service"
import type { DigestService } from "../notifications/digest.service"
import { notificationTopic } from "../notifications/notification.service"
import { type OutboxWorker, outboxTopic } from "../outbox/outbox.service"
import { policyTopic } from "../policies/policy.service"
import type { ViolationService } from "../policies/violation.service"
import type { CrlService } from "../revocation-status/crl.service"
import type { WindowService } from "../rollouts/window.service"
import { windowsTopic } from "../targets/target.service"
import type { LoopDefinition } from "./loop"

interface Services {
  renewals: Pick<RenewalService, "checkAll">
  shortLived: ShortLivedService
  windows: WindowService
  processor: Pick<JobProcessor, "process" | "settleStragglers" | "retry" | "reap">
  agents: Pick<AgentService, "markSilent">
  sealing: Pick<SealingService, "seal">
  sessions: Pick<SessionService, "sweep">
  observations: Pick<ObservationService, "thin">
  deliveries: Pick<DeliveryService, "lanes">
  digest: Pick<DigestService, "sendWhenDue">
  outbox: OutboxWorker
  crls: Pick<CrlService, "refreshAll">
  violations: Pick<ViolationService, "sweep">
  /** Adds what writers have appended to the numbers of rows; SQLite's writer says when it has become much. */
  counters: { fold(signal: AbortSignal): Promise<void>; readonly wakeOn: string }
  /** Adds what is new to SQLite's text index; nothing on PostgreSQL. */
  searchIndex: { catchUp(signal: AbortSignal): Promise<void> }
  acme?: { readonly server: AcmeLoops | null }
}

interface AcmeLoops {
  readonly cleanUp: CleanUpService
  readonly challenges: Pick<ChallengeService, "resume">
  readonly settings: { readonly cleanUpMs: number }
}

const acmeLoops = ({ cleanUp, challenges, settings }: AcmeLoops): LoopDefinition[] => [
  {
    // A server that died while it looked at a proof left it to the others.
    name: "acme-challenges",
    everyMs: minuteMs,
    timeoutMs: minuteMs,
    onStart: true,
    run: () => challenges.resume(),
  },
  ...(settings.cleanUpMs === 0
    ? []
    : [
        {
          name: "acme-clean-up",
          everyMs: settings.cleanUpMs,
          timeoutMs: minuteMs,
          onStart: false,
          run: (signal: AbortSignal) => cleanUp.run(signal),
        },
      ]),
]

interface Intervals {
  readonly renewalCheckMs: number
  readonly jobProcessorMs: number
  readonly jobRetryMs: number
  readonly jobTimeoutMs: number
  readonly agentHealthMs: number
  readonly shortLivedExpiryMs: number
  readonly notificationProcessMs: number
  readonly notificationRetryMs: number
  readonly crlGenerationMs: number
  readonly digest: { readonly enabled: boolean; readonly intervalMs: number }
}

const secondMs = 1000
const minuteMs = 60 * secondMs
const hourMs = 60 * minuteMs

export const loops = (
  {
    renewals,
    shortLived,
    windows,
    processor,
    agents,
    sealing,
    sessions,
    observations,
    violations,
    deliveries,
    digest,
    crls,
    outbox,
    counters,
    searchIndex,
    acme,
  }: Services,
  intervals: Intervals,
): LoopDefinition[] => {
  return [
    {
      name: "renewal-check",
      everyMs: intervals.renewalCheckMs,
      // A server that was off for a month has much to catch up on.
      timeoutMs: 30 * minuteMs,
      onStart: true,
      run: (signal) => renewals.checkAll(signal),
    },
    {
      name: "short-lived-expiry",
      everyMs: intervals.shortLivedExpiryMs,
      timeoutMs: minuteMs,
      onStart: true,
      run: (signal) => shortLived.expire(signal),
    },
    {
      // As often as the renewal check, and not in it: looking at every certificate must not hold up those that are due.
      name: "policy-check",
      everyMs: intervals.renewalCheckMs,
      timeoutMs: 30 * minuteMs,
      onStart: true,
      wakeOn: [policyTopic],
      run: (signal) => violations.sweep({ signal }),
    },
    {
      name: "job-processor",
      everyMs: intervals.jobProcessorMs,
      timeoutMs: 2 * minuteMs,
      onStart: true,
      wakeOn: [jobSignals.processor],
      run: (signal) => processor.process(signal),
    },
    {
      // Windows open on the minute.
      name: "deployment-windows",
      everyMs: 20 * secondMs,
      timeoutMs: 2 * minuteMs,
      onStart: true,
      wakeOn: [windowsTopic],
      run: (signal) => windows.release(signal),
    },
    {
      // Looks at every roll-out under way: ten thousands of them after a weekend.
      name: "straggler-check",
      everyMs: intervals.jobProcessorMs,
      timeoutMs: 15 * minuteMs,
      onStart: true,
      mostShare: 0.1,
      run: (signal) => processor.settleStragglers(signal),
    },
    {
      name: "job-retry",
      everyMs: intervals.jobRetryMs,
      timeoutMs: 15 * minuteMs,
      onStart: true,
      run: (signal) => processor.retry(signal),
    },
    {
      name: "job-timeout",
      everyMs: intervals.jobTimeoutMs,
      timeoutMs: 15 * minuteMs,
      onStart: true,
      run: (signal) => processor.reap(signal),
    },
    {
      name: "agent-health",
      everyMs: intervals.agentHealthMs,
      timeoutMs: minuteMs,
      onStart: true,
      run: () => agents.markSilent(intervals.agentHealthMs),
    },
    {
      name: "audit-sealing",
      everyMs: 10 * secondMs,
      timeoutMs: minuteMs,
      onStart: true,
      wakeOn: [auditTopic],
      restMs: 500,
      run: (signal) => sealing.seal({ signal }),
    },
    {
      // Whoever takes it over looks at everything once: what a server with a wrong clock wrote lies where the other loop does not look.
      name: "audit-sealing-everything",
      everyMs: 24 * hourMs,
      timeoutMs: 30 * minuteMs,
      onStart: true,
      run: (signal) => sealing.seal({ everything: true, signal }),
    },
    {
      name: "session-sweep",
      everyMs: hourMs,
      timeoutMs: minuteMs,
      onStart: false,
      run: () => sessions.sweep(),
    },
    {
      name: "observation-thinning",
      everyMs: hourMs,
      timeoutMs: 5 * minuteMs,
      onStart: false,
      run: (signal) => observations.thin(signal),
    },
    {
      // Every list adds up what is not folded yet: the more of it, the longer that takes.
      name: "row-count-folding",
      everyMs: 2 * secondMs,
      timeoutMs: minuteMs,
      onStart: true,
      wakeOn: [counters.wakeOn],
      run: (signal) => counters.fold(signal),
    },
    {
      // Searches read what is not indexed yet.
      name: "search-indexing",
      everyMs: 5 * secondMs,
      timeoutMs: minuteMs,
      onStart: true,
      run: (signal) => searchIndex.catchUp(signal),
    },
    {
      name: "crl-generation",
      everyMs: intervals.crlGenerationMs,
      timeoutMs: 5 * minuteMs,
      onStart: false,
      run: (signal) => crls.refreshAll(signal),
    },
    {
      name: "outbox",
      everyMs: 30 * secondMs,
      // A pass lasts as long as there is something to do; its calls have limits of their own.
      timeoutMs: 30 * minuteMs,
      onStart: true,
      wakeOn: [outboxTopic],
      run: (signal) => outbox.work(signal),
    },
    {
      name: "outbox-thinning",
      everyMs: hourMs,
      timeoutMs: 5 * minuteMs,
      onStart: false,
      run: (signal) => outbox.thin(signal),
    },
    // A loop per channel: one that hangs keeps only itself waiting.
    ...deliveries.lanes.flatMap((lane): LoopDefinition[] => [
      {
        name: `notification-processor-${lane.name}`,
        everyMs: intervals.notificationProcessMs,
        timeoutMs: minuteMs,
        onStart: true,
        wakeOn: [notificationTopic],
        restMs: 250,
        run: (signal) => lane.deliverPending(signal),
      },
      {
        name: `notification-retry-${lane.name}`,
        everyMs: intervals.notificationRetryMs,
        timeoutMs: 2 * minuteMs,
        onStart: true,
        run: (signal) => lane.retry(signal),
      },
    ]),
    ...(acme?.server ? acmeLoops(acme.server) : []),
    // It knows itself when the next one is due; the loop only asks.
    ...(intervals.digest.enabled
      ? [
          {
            name: "certificate-digest",
            everyMs: Math.min(intervals.digest.intervalMs, 5 * minuteMs),
            timeoutMs: 5 * minuteMs,
            onStart: false,
            run: () => digest.sendWhenDue(),
          },
        ]
      : []),
  ]
}
