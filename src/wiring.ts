/** Configuration to running services: with the files of wiring/ the only place that sees everything. Nothing is decided here. */
import { consoleRoutes } from "../ui/console.routes"
import { registerApprovalMetrics } from "./approvals/approval.metrics"
import { apiCallLog } from "./audit/api-call-log"
import { auditStore } from "./audit/audit.store"
import { eventFeed } from "./audit/event-feed"
import { leafStore } from "./audit/leaf.store"
import { sealingService } from "./audit/sealing.service"
import { leaseMs } from "./certificates/signing.service"
import { proxyList } from "./config"
import { leaseStore } from "./db/lease.store"
import { foldRowCounts } from "./db/row-count-folding"
import { indexRecent } from "./db/search-triggers"
import { manyRowsChanged } from "./db/signals"
import { logger } from "./logging"
import { loops } from "./scheduler/loops"
import { scheduler, soleHolder } from "./scheduler/scheduler"
import { createApp } from "./server/app"
import { metricsService } from "./stats/metrics.service"
import { version } from "./version"
import { wireAccess } from "./wiring/access"
import { apiRoutes } from "./wiring/api"
import type { WiringOptions } from "./wiring/options"
import { protocolRoutes } from "./wiring/protocols"
import { wireServices } from "./wiring/services"

export const wire = (options: WiringOptions) => {
  const { config, db, clock, serverId } = options
  const services = wireServices(options)
  const access = wireAccess(options, services)
  const calls = apiCallLog({ db, events: auditStore(db), clock })
  const leaves = leafStore(db)
  const feed = eventFeed({ db, leaves })
  const { registry, revocationStatus } = services
  registerApprovalMetrics({ registry, approvals: services.approvals })
  const metrics = metricsService({ stats: services.stats, clock, startedAt: clock.now(), registry })

  const pages = consoleRoutes({
    ...services,
    sessions: access.sessions,
    keys: access.keys,
    cookie: access.cookie,
    clock,
    publicUrl: config.server.publicUrl,
    isDemo: services.demo.isDemo,
  })
  const app = createApp({
    api: apiRoutes(services, access, feed, metrics, db),
    protocols: protocolRoutes(services),
    console: pages,
    authentication: access.authentication,
    apiCalls: calls,
    ping: db.ping,
    clock,
    version,
    publicUrl: config.server.publicUrl,
    maxBodyBytes: config.server.maxBodyBytes,
    rateLimits: config.rateLimit.enabled ? config.rateLimit : null,
    corsOrigins: config.corsOrigins,
    trustedProxies: proxyList(config.server.trustedProxies),
    registry,
  })

  const timetable = scheduler({
    loops: loops(
      {
        ...services,
        crls: revocationStatus.crls,
        sealing: sealingService({ db, leaves, clock }),
        sessions: access.sessions,
        counters: { fold: (signal) => foldRowCounts(db, signal), wakeOn: manyRowsChanged },
        searchIndex: { catchUp: (signal) => indexRecent(db, signal) },
      },
      { ...config.schedule, digest: config.digest },
    ),
    // Only one process can have a SQLite file open.
    leases: db.dialect === "sqlite" ? soleHolder : leaseStore(db),
    serverId,
    onSignal: db.onSignal,
    onHeartbeat: () => services.processor.renewLeases(leaseMs),
  })

  return {
    app,
    services,
    access,
    scheduler: timetable,

    /** What a new or restarted database needs before the first request. Throws where the server must not start. */
    async prepare() {
      await services.baseline.ensure()
      if (config.database.demoSeed && (await services.demo.load()) === "refused") {
        logger("demo").warn("CERTCTL_DEMO_SEED is ignored: the database holds an inventory already")
      }
      await services.issuers.start()
      await services.est.demandIssuers()
      await services.scep.demandIssuers()
      await services.processor.dropOwnLeases()
      return access.ensureFirstKey()
    },

    /** Answers whoever waits: long polls and event streams. */
    drain(): void {
      services.work.close()
      feed.close()
      revocationStatus.close()
    },

    /** Writes what is queued, for at most `budgetMs`. */
    async close(budgetMs: number): Promise<void> {
      await access.keys.close()
      await calls.close(budgetMs)
    },
  }
}

export type Wired = ReturnType<typeof wire>
