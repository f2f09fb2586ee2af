/**
 * A small fleet around the real services: several servers on one database, each of which can die between any two
 * transactions, a CA inside the process, one outside that answers, orders, fails or hangs, and a clock that tests move.
 */
import { agentService } from "../agents/agent.service"
import { agentStore, joinTokenStore } from "../agents/agent.store"
import { joinTokenService } from "../agents/join-token.service"
import { workService } from "../agents/work.service"
import { approvalService } from "../approvals/approval.service"
import { approvalStore } from "../approvals/approval.store"
import { approvalExpiry } from "../approvals/approval-expiry"
import { auditService } from "../audit/audit.service"
import { auditStore } from "../audit/audit.store"
import { certificateService } from "../certificates/certificate.service"
import { certificateStore } from "../certificates/certificate.store"
import { type CertificateNews, noNews } from "../certificates/certificate-news"
import { completionService } from "../certificates/completion.service"
import { deploymentService } from "../certificates/deployment.service"
import { dueStore } from "../certificates/due.store"
import { issuanceService } from "../certificates/issuance.service"
import { lifecycleService } from "../certificates/lifecycle.service"
import { renewalService } from "../certificates/renewal.service"
import { revocationService } from "../certificates/revocation.service"
import { revocationStore } from "../certificates/revocation.store"
import { servingStore } from "../certificates/serving.store"
import type { OpenIssuer } from "../certificates/signing.service"
import { versionStore } from "../certificates/version.store"
import type { Issued, IssueRequest, Issuer } from "../connectors/issuers/contract"
import type { Db, Tx } from "../db/db"
import { AppError } from "../errors"
import { observationService } from "../health/observation.service"
import { observationStore } from "../health/observation.store"
import { openGates } from "../issuers/issuer-gate"
import { jobService } from "../jobs/job.service"
import { jobStore } from "../jobs/job.store"
import { jobProcessorService } from "../jobs/job-processor.service"
import { jobQueueService } from "../jobs/job-queue.service"
import { outboxQueue, outboxWorker } from "../outbox/outbox.service"
import { outboxStore } from "../outbox/outbox.store"
import { type Authority, createRootAuthority, openAuthority } from "../pki/authority"
import { parseCsr } from "../pki/csr"
import { sanOf } from "../pki/names"
import { type PlanWaves, rolloutService } from "../rollouts/rollout.service"
import { rolloutStore } from "../rollouts/rollout.store"
import { targetStore } from "../targets/target.store"
import { targetCheckService } from "../targets/target-check.service"

export const dayMs = 86_400_000
const startedAt = Date.UTC(2030, 0, 1)

let authority: Promise<Authority> | undefined

/** One CA for all worlds: it has no state. */
const testAuthority = (): Promise<Authority> => {
  authority ??= createRootAuthority({
    keyType: "ecdsa-p256",
    commonName: "Test CA",
    notBefore: new Date(startedAt - dayMs),
    notAfter: new Date(startedAt + 40_000 * dayMs),
  }).then(({ certPem, privateKey }) => openAuthority({ certPem, chainPem: certPem, privateKey }))
  return authority
}

const sign = async (request: IssueRequest, now: Date, lifetimeMs: number): Promise<Issued> => {
  const ca = await testAuthority()
  const csr = parseCsr(request.csrPem)
  const { certPem } = await ca.sign({
    spkiDer: csr.spkiDer,
    subjectDer: csr.subjectDer,
    sans: [request.commonName, ...request.sans].map(sanOf),
    ekus: [],
    notBefore: new Date(now.getTime() - 900_000),
    notAfter: new Date(now.getTime() + lifetimeMs),
  })
  return { certPem, chainPem: ca.chainPem }
}

/** What the CA outside does with the next request. */
export type CaMood = "sign" | "order" | "refused-order" | "fail" | "hang" | "lose-answer"

/** A CA of somebody else's: its state survives every server, and it knows idempotency keys. */
export const outsideCa = (now: () => Date, lifetimeMs: number) => {
  let mood: CaMood = "sign"
  const signed = new Map<string, Issued>()
  const orders = new Map<string, { request: IssueRequest; refused: boolean }>()
  let held: (() => void)[] = []
  /** Serials, in the order in which the CA heard of them. */
  const revoked: string[] = []
  /** Jobs whose call is not answered. */
  const unanswered = new Set<string>()

  const issueOnce = async (request: IssueRequest): Promise<Issued> => {
    const key = `${request.idempotencyKey} ${request.csrPem}`
    const known = signed.get(key)
    if (known !== undefined) return known
    const issued = await sign(request, now(), lifetimeMs)
    signed.set(key, issued)
    return issued
  }

  return {
    revoked: revoked as readonly string[],
    be: (next: CaMood) => {
      mood = next
    },
    isUnanswered: (jobId: string) => unanswered.has(jobId),
    /** Answers everything that hangs. */
    release: () => {
      for (const answer of held) answer()
      held = []
    },
    connector: (died: () => boolean): Issuer => ({
      async issue(request) {
        const now = mood
        if (now !== "order") mood = "sign"
        switch (now) {
          case "fail":
            throw new AppError("upstream", "the CA is out of order")
          case "hang":
            unanswered.add(request.idempotencyKey)
            await new Promise<void>((resolve) => held.push(resolve))
            unanswered.delete(request.idempotencyKey)
            break
          case "order":
          case "refused-order": {
            mood = "sign"
            const orderId = `order-${orders.size + 1}`
            orders.set(orderId, { request, refused: now === "refused-order" })
            return { orderId }
          }
          case "lose-answer":
            await issueOnce(request)
            unanswered.add(request.idempotencyKey)
            return new Promise<never>(() => {})
        }
        // The CA has done its work; whether anybody is left to hear of it is another matter.
        const issued = await issueOnce(request)
        return died() ? new Promise<never>(() => {}) : issued
      },
      async orderStatus(orderId) {
        const order = orders.get(orderId)
        if (order === undefined) throw new AppError("upstream", `there is no order ${orderId}`)
        if (mood === "fail") {
          mood = "sign"
          throw new AppError("upstream", "the CA cannot be reached")
        }
        if (order.refused) return { state: "failed", message: "the order was refused" }
        if (mood === "hang") {
          mood = "sign"
          return { state: "pending" }
        }
        return { state: "completed", ...(await issueOnce(order.request)) }
      },
      async revoke({ serial }) {
        if (died()) return new Promise<never>(() => {})
        if (mood === "fail") {
          mood = "sign"
          throw new AppError("upstream", "the CA is out of order")
        }
        revoked.push(serial)
      },
      async testConnection() {},
    }),
  }
}

export type OutsideCa = ReturnType<typeof outsideCa>

interface ServerOptions {
  db: Db
  clock: { now(): Date }
  serverId: string
  ca: OutsideCa
  lifetimeMs: number
  keygenMode?: "agent" | "server"
  planWaves?: PlanWaves
  bypassesApproval?: boolean
  /** How long a CSR waits for the CA outside. */
  answerWithinMs?: number
  news?: CertificateNews
  /** Every issuance ends in a transaction of its own, as if something were out of the ordinary with it. */
  completesAlone?: boolean
  onError?: (what: string, error: unknown) => void
}

const ignore = () => {}

/** All services of one server process. `kill` it, or let it die after a number of transactions; nothing of it moves then. */
export const lifecycleServer = (options: ServerOptions) => {
  const {
    clock,
    serverId,
    ca,
    lifetimeMs,
    keygenMode = "agent",
    planWaves = oneWave,
    onError = ignore,
    news = noNews,
  } = options
  let fuse = Number.POSITIVE_INFINITY
  let isDead = false
  let underWay = 0
  const { promise: death, reject } = Promise.withResolvers<never>()
  death.catch(ignore)
  const kill = () => {
    isDead = true
    reject(new ServerDied())
  }
  const db: Db = {
    ...options.db,
    async transaction<R>(run: (tx: Tx) => Promise<R>): Promise<R> {
      if (isDead) return new Promise<never>(ignore)
      underWay += 1
      const result = await options.db.transaction(run).finally(() => {
        underWay -= 1
      })
      fuse -= 1
      if (fuse <= 0) kill()
      // What was committed stays; nobody hears of it.
      return isDead ? new Promise<never>(ignore) : result
    },
  }
  const audit = auditService({ db, events: auditStore(db), clock })
  const certificates = certificateStore(db)
  const versions = versionStore(db)
  const serving = servingStore(db)
  const jobs = jobStore(db)
  const common = { db, audit, clock, certificates, versions, serving, jobs }
  const approvalRows = approvalStore(db)
  const queue = jobQueueService({ ...common, onMoved: approvalExpiry({ ...common, approvals: approvalRows }) })
  const rollouts = rolloutService({ ...common, rollouts: rolloutStore(db), queue, planWaves })
  const lifecycle = lifecycleService({ ...common, queue, rollouts })
  const ownerOf = async () => ({ name: "owner", email: "owner@example.com" })
  const approvals = approvalService({
    ...common,
    approvals: approvalRows,
    queue,
    lifecycle,
    ownerOf,
    bypass: options.bypassesApproval ?? false,
  })
  const deployments = deploymentService({ ...common, queue, rollouts, approvals, lifecycle })
  const observations = observationService({ ...common, observations: observationStore(db) })
  const inside: OpenIssuer = {
    inProcess: true,
    connector: {
      issue: (request) => sign(request, clock.now(), lifetimeMs),
      async revoke() {},
      async testConnection() {},
    },
  }
  const outside: OpenIssuer = { inProcess: false, connector: ca.connector(() => isDead) }
  const openIssuer = async (id: string) => (id === "iss-inside" ? inside : outside)
  const outboxRows = outboxStore(db)
  const revocations = revocationService({
    ...common,
    news,
    revocations: revocationStore(db),
    lifecycle,
    outbox: outboxQueue({ ...common, rows: outboxRows }),
    openIssuer,
  })
  const outbox = outboxWorker({
    ...common,
    rows: outboxRows,
    handlers: revocations.handlers,
    onRowError: (id, error) => onError(`outbox ${id}`, error),
  })
  const completions = completionService({
    ...common,
    due: dueStore(db),
    rollouts: options.completesAlone === true ? { getAll: async () => new Map() } : rolloutStore(db),
    queue,
    deployments,
    lifecycle,
    news,
    revocations,
    keygenMode,
  })
  const issuance = issuanceService({
    ...common,
    news,
    completions,
    due: dueStore(db),
    queue,
    deployments,
    lifecycle,
    openIssuer,
    gates: openGates,
    serverId,
    answerWithinMs: options.answerWithinMs,
    onBackgroundError: ignore,
  })
  const renewals = renewalService({
    ...common,
    due: dueStore(db),
    approvals,
    news,
    queue,
    rollouts,
    lifecycle,
    keygenMode,
    onRowError: (id, error) => onError(`renewal of ${id}`, error),
  })
  const processor = jobProcessorService({
    ...common,
    queue,
    lifecycle,
    issuance,
    openIssuer,
    gates: openGates,
    rollouts,
    seal: (plain) => plain,
    serverId,
    settings: { keygenMode, concurrency: 4, awaitingCsrMs: dayMs, awaitingApprovalMs: 7 * dayMs },
    onRowError: (id, error) => onError(`job ${id}`, error),
  })
  const jobsService = jobService({
    ...common,
    queue,
    approvals,
    ownerOf,
    endpointOf: async (targetId) => (targetId.endsWith("blind") ? null : `${targetId}.example:443`),
    isServedBy: serving.isMapped,
    lifecycle,
    checks: targetCheckService({ ...common, targets: targetStore(db), queue }),
    observations,
  })
  const tokens = joinTokenService({ ...common, tokens: joinTokenStore(db), caFingerprint: () => "ca-fingerprint" })
  const agents = agentService({ ...common, agents: agentStore(db), tokens, queue, lifecycle })
  const work = workService({
    ...common,
    queue,
    lifecycle,
    windowsOf: targetStore(db).windowsOf,
    targetRows: targetStore(db),
    targetFor: async () => ({ type: "NGINX", config: {} }),
    onRowError: (id, error) => onError(`work ${id}`, error),
  })
  return {
    serverId,
    db,
    audit,
    lifecycle,
    approvals,
    issuance,
    renewals,
    revocations,
    outbox,
    processor,
    deployments,
    agents,
    tokens,
    work,
    observations,
    jobs: jobsService,
    certificates: certificateService({ ...common, queue, lifecycle, news }),
    kill,
    /** Dies after so many more transactions. */
    dieAfter: (transactions: number) => {
      fuse = transactions
    },
    isDead: () => isDead,
    /** Whether the database or a CA that will answer still has something of this server's under way. */
    isBusy: () => underWay > 0 || (!isDead && [...issuance.inHand].some((jobId) => !ca.isUnanswered(jobId))),
    /** A call to this server; fails with ServerDied when it dies before the answer. */
    call: <R>(work: Promise<R>): Promise<R> => Promise.race([work, death]),
    stop: () => work.close(),
  }
}

export class ServerDied extends Error {
  override name = "ServerDied"
}

export type LifecycleServer = ReturnType<typeof lifecycleServer>

/**
 * Rows that every world starts with: three agents, each with two targets, and three certificates, not yet mapped. The profile of
 * one of them wants every issuance approved.
 */
export const agentIds = ["agent-1", "agent-2", "agent-3"] as const
export const targetIds = agentIds.flatMap((agentId) => [`${agentId}-a`, `${agentId}-b`])
export const agentOf = (targetId: string): string => targetId.slice(0, -2)
export const certificateIds = ["mc-inside", "mc-outside", "mc-approved"] as const

export const layOut = (db: Db, now: Date): Promise<void> =>
  db.transaction(async (tx) => {
    const { t } = db
    const stamps = { createdAt: now, updatedAt: now }
    await tx.insert(t.teams).values({ id: "t-1", name: "team", ...stamps })
    await tx.insert(t.owners).values({ id: "o-1", name: "owner", ...stamps })
    for (const id of ["iss-inside", "iss-outside"]) {
      await tx.insert(t.issuers).values({ id, name: id, type: "GenericCA", config: {}, ...stamps })
    }
    const policy = { alertThresholdsDays: [14, 7, 0], alertChannels: {}, alertSeverityMap: {}, renewalWindowDays: 30 }
    await tx.insert(t.renewalPolicies).values({ id: "rp-auto", name: "auto", ...policy, ...stamps })
    await tx.insert(t.renewalPolicies).values({ id: "rp-asks", name: "asks", autoRenew: false, ...policy, ...stamps })
    await tx.insert(t.certificateProfiles).values({
      ...{ id: "prof-two-person", name: "two-person", requiresApproval: true, allowedEkus: ["serverAuth"] },
      allowedKeyAlgorithms: [{ algorithm: "ECDSA", min_size: 256 }],
      requiredSanPatterns: [],
      requiredCsrAttributes: [],
      ...stamps,
    })
    for (const id of agentIds) {
      await tx
        .insert(t.agents)
        .values({ id, name: id, hostname: id, status: "Online", registeredAt: now, lastHeartbeatAt: now })
    }
    for (const [place, id] of targetIds.entries()) {
      const createdAt = new Date(now.getTime() + place)
      await tx
        .insert(t.deploymentTargets)
        .values({ id, name: id, type: "NGINX", config: {}, agentId: agentOf(id), createdAt, updatedAt: createdAt })
    }
    for (const id of certificateIds) {
      await tx.insert(t.certificates).values({
        id,
        name: id,
        commonName: `${id}.example.com`,
        sans: [`www.${id}.example.com`],
        tags: {},
        ownerId: "o-1",
        teamId: "t-1",
        issuerId: id === "mc-outside" ? "iss-outside" : "iss-inside",
        renewalPolicyId: "rp-auto",
        certificateProfileId: id === "mc-approved" ? "prof-two-person" : null,
        ...stamps,
      })
    }
  })

/** Everything at once. */
const oneWave: PlanWaves = (places) => [places.map((place) => place.targetId)]

/** Waves that do not depend on what is mapped at the moment: agent-1 first, then agent-2, then agent-3. */
export const wavesByAgent =
  (count: number): PlanWaves =>
  (places) =>
    Array.from({ length: count }, (_, wave) =>
      places
        .map((place) => place.targetId)
        .filter((id) => Math.min(agentIds.indexOf(agentOf(id) as (typeof agentIds)[number]), count - 1) === wave),
    )
