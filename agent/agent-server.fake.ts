/**
 * A certctl server as an agent sees it: the agent protocol over a real socket, strict about everything an agent sends, with a
 * CA behind it that signs. Start by hand: `bun agent/agent-server.fake.ts` prints its URL, agent id and key.
 */
import { randomBytes } from "node:crypto"
import * as v from "valibot"
import {
  CsrBody,
  DiscoveryBody,
  HeartbeatBody,
  RegistrationBody,
  StatusReport,
  VerifyBody,
} from "../src/agents/agent-protocol.schema"
import { type Authority, createRootAuthority, openAuthority } from "../src/pki/authority"
import { fingerprintOf } from "../src/pki/certificate"
import { parseCsr } from "../src/pki/csr"
import { generateKey, privateKeyPem, spkiOf } from "../src/pki/keys"
import { sanOf } from "../src/pki/names"
import { certificateBlocks } from "../src/pki/pem"

export interface FakeJob {
  id: string
  type: string
  certificateId: string
  status: string
  commonName?: string
  sans?: string[]
  targetId?: string
  versionId?: string
  error?: string
}

interface FakeVersion {
  id: string
  certificateId: string
  csrDer: Buffer
  chainPem: string
  fingerprint: string
}

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly body: unknown
}

/** An answer to give instead of the right one. */
export interface Interference {
  readonly path: RegExp
  readonly status: number
  readonly body?: string
  readonly headers?: Record<string, string>
  /** The request has its effect all the same: only the answer is lost. */
  readonly isHandled?: boolean
  times: number
}

export interface FakeServerOptions {
  /** "old" answers a poll at once and knows neither `wait` nor `holding`. */
  readonly style?: "old" | "new"
  readonly hasTls?: boolean
  /** Names of the server's certificate. */
  readonly names?: readonly string[]
  /** Whether the CA's certificate is sent behind the server's. */
  readonly sendsAuthority?: boolean
  readonly joinToken?: string
  readonly authority?: Authority
  /** Sent behind the server's certificate in place of the CA that signed it. */
  readonly shownAuthorityPem?: string
  /** Remaining life of the server's certificate; negative when it is over. */
  readonly leafHours?: number
}

const hour = 3_600_000
const span = (hours: number) => ({
  notBefore: new Date(Date.now() - hour),
  notAfter: new Date(Date.now() + hours * hour),
})

export const testAuthority = async (commonName = "Fake CA"): Promise<Authority> => {
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName, ...span(24 * 365) })
  return openAuthority({ ...root, chainPem: "" })
}

/** A leaf of the authority for a key made here. */
export const testLeaf = async (authority: Authority, names: readonly string[], hours = 24) => {
  const key = await generateKey("ecdsa-p256")
  const signed = await authority.sign({
    spkiDer: spkiOf(key),
    subjectCommonName: names[0] ?? "",
    sans: names.map(sanOf),
    ekus: ["serverAuth"],
    ...span(hours),
  })
  return { keyPem: privateKeyPem(key), certPem: signed.certPem, fingerprint: signed.fingerprint, der: signed.der }
}

export const startFakeServer = async (options: FakeServerOptions = {}) => {
  const { style = "new", hasTls = false, sendsAuthority = true } = options
  const authority = options.authority ?? (await testAuthority())
  let joinToken = options.joinToken
  const agentId = "agent-1"
  const apiKey = randomBytes(24).toString("base64url")
  const own = `/api/v1/agents/${agentId}`

  const state = {
    jobs: [] as FakeJob[],
    versions: [] as FakeVersion[],
    targets: new Map<string, { type: string; config: Record<string, unknown>; certificateId: string }>(),
    seen: [] as SeenRequest[],
    interferences: [] as Interference[],
    verifications: [] as v.InferOutput<typeof VerifyBody>[],
    isRetired: false,
    pollsWaiting: 0,
    /** Polls of an earlier round are answered. */
    pollRound: 0,
  }
  const woken = new Set<() => void>()
  const wake = () => {
    for (const call of woken) call()
  }

  const refuse = (status: number, message: string) =>
    Response.json({ error: String(status), message, request_id: "r-1" }, { status })

  const parse = <S extends v.GenericSchema>(schema: S, body: unknown): v.InferOutput<S> | Response => {
    const parsed = v.safeParse(schema, body)
    return parsed.success ? parsed.output : refuse(400, parsed.issues[0].message)
  }

  const takeWork = (holding: readonly string[] | null) => {
    const items: Record<string, unknown>[] = []
    for (const job of state.jobs.filter(({ type }) => type === "Deployment" || type === "Validation")) {
      const isLost = holding !== null && job.status === "Running" && !holding.includes(job.id)
      if (job.status !== "Pending" && !isLost) continue
      job.status = "Running"
      const target = state.targets.get(job.targetId ?? "")
      items.push({
        id: job.id,
        type: job.type,
        certificate_id: job.certificateId,
        status: "Running",
        target_id: job.targetId,
        target_type: target?.type,
        target_config: target?.config,
        ...(job.versionId === undefined ? {} : { version_id: job.versionId }),
        ...(job.versionId === undefined
          ? {}
          : { fingerprint_sha256: state.versions.find(({ id }) => id === job.versionId)?.fingerprint }),
      })
    }
    for (const job of state.jobs.filter(({ status }) => status === "AwaitingCSR")) {
      if (holding?.includes(job.id)) continue
      items.push({
        id: job.id,
        type: job.type,
        certificate_id: job.certificateId,
        status: "AwaitingCSR",
        common_name: job.commonName,
        sans: job.sans ?? null,
      })
    }
    return items
  }

  const work = async (url: URL, request: Request): Promise<Response> => {
    const holding = style === "new" ? (url.searchParams.get("holding")?.split(",") ?? null) : null
    const waitMs = style === "new" ? Number(url.searchParams.get("wait") ?? 0) * 1000 : 0
    const until = Date.now() + waitMs
    let items = takeWork(holding)
    const round = state.pollRound
    while (
      items.length === 0 &&
      Date.now() < until &&
      !request.signal.aborted &&
      !state.isRetired &&
      state.pollRound === round
    ) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, until - Date.now())
      woken.add(resolve)
      request.signal.addEventListener("abort", () => resolve())
      state.pollsWaiting++
      await promise
      state.pollsWaiting--
      clearTimeout(timer)
      woken.delete(resolve)
      if (!request.signal.aborted) items = takeWork(holding)
    }
    return state.isRetired ? refuse(410, "agent is retired") : Response.json({ jobs: items, count: items.length })
  }

  const sign = async (body: v.InferOutput<typeof CsrBody>): Promise<Response> => {
    const certificateId = body.certificate_id ?? ""
    let csr: ReturnType<typeof parseCsr>
    try {
      csr = parseCsr(body.csr_pem)
    } catch (error) {
      return refuse(400, String(error))
    }
    const job = state.jobs.find((entry) => entry.certificateId === certificateId && entry.status === "AwaitingCSR")
    if (job === undefined) {
      const newest = state.versions.findLast((version) => version.certificateId === certificateId)
      if (newest?.csrDer.equals(csr.der)) return Response.json({ status: "csr_signed" }, { status: 202 })
      return refuse(404, "no certificate")
    }
    const signed = await authority.sign({
      spkiDer: csr.spkiDer,
      subjectCommonName: csr.commonName,
      sans: csr.sans,
      ekus: ["serverAuth"],
      ...span(24),
    })
    const version = {
      id: `cv-${state.versions.length + 1}`,
      certificateId,
      csrDer: csr.der,
      chainPem: `${signed.certPem}\n${authority.certPem}`,
      fingerprint: signed.fingerprint,
    }
    state.versions.push(version)
    job.status = "Completed"
    for (const [targetId, target] of state.targets) {
      if (target.certificateId === certificateId) addDeployment(targetId, version.id)
    }
    return Response.json({ status: "csr_signed" }, { status: 202 })
  }

  const addJob = (job: Omit<FakeJob, "id">): FakeJob => {
    const added = { ...job, id: `job-${state.jobs.length + 1}` }
    state.jobs.push(added)
    wake()
    return added
  }
  const addDeployment = (targetId: string, versionId?: string) =>
    addJob({
      type: "Deployment",
      certificateId: state.targets.get(targetId)?.certificateId ?? "",
      status: "Pending",
      targetId,
      ...(style === "new" && versionId !== undefined ? { versionId } : {}),
    })

  const report = (jobId: string, { status, error }: v.InferOutput<typeof StatusReport>): Response => {
    const job = state.jobs.find(({ id }) => id === jobId)
    if (job === undefined) return refuse(404, "job not found")
    if (job.status === "Completed" && status !== "Completed") return refuse(409, "job is Completed")
    job.status = status
    if (error) job.error = error
    return Response.json({ status: "updated" })
  }

  const answer = async (request: Request): Promise<Response> => {
    const path = new URL(request.url).pathname
    const interference = state.interferences.find((entry) => entry.times > 0 && entry.path.test(path))
    if (interference === undefined) return rightAnswer(request)
    interference.times--
    if (interference.isHandled) await rightAnswer(request)
    else state.seen.push({ method: request.method, path, query: "", body: await request.json().catch(() => undefined) })
    return new Response(interference.body ?? `{"error":"${interference.status}"}`, {
      status: interference.status,
      headers: interference.headers ?? {},
    })
  }

  const rightAnswer = async (request: Request): Promise<Response> => {
    const url = new URL(request.url)
    const text = await request.text()
    let body: unknown
    try {
      body = text === "" ? undefined : JSON.parse(text)
    } catch {
      return refuse(400, "body must be JSON")
    }
    state.seen.push({ method: request.method, path: url.pathname, query: url.search, body })
    if (request.headers.get("content-type") !== "application/json") return refuse(400, "Content-Type is missing")

    const bearer = request.headers.get("authorization")
    if (url.pathname === "/api/v1/agents" && request.method === "POST") {
      if (bearer !== `Bearer ${joinToken}`) {
        return Response.json({ error: "invalid_or_missing_bootstrap_token" }, { status: 401 })
      }
      const registration = parse(RegistrationBody, body)
      if (registration instanceof Response) return registration
      return Response.json({ id: agentId, ...registration, status: "Online", api_key: apiKey }, { status: 201 })
    }
    if (url.pathname === "/health") return Response.json({ status: "healthy" })
    if (bearer !== `Bearer ${apiKey}`) return Response.json({ error: "Invalid API key" }, { status: 401 })
    if (state.isRetired) return refuse(410, "agent is retired")

    const route = `${request.method} ${url.pathname}`
    if (route === `POST ${own}/heartbeat`) {
      const beat = parse(HeartbeatBody, body)
      return beat instanceof Response ? beat : Response.json({ status: "heartbeat_recorded" })
    }
    if (route === `GET ${own}/work`) return work(url, request)
    if (route === `POST ${own}/csr`) {
      const csr = parse(CsrBody, body)
      return csr instanceof Response ? csr : sign(csr)
    }
    if (route === `POST ${own}/discoveries`) {
      const found = parse(DiscoveryBody, body)
      return found instanceof Response ? found : Response.json({ id: "ds-1" }, { status: 202 })
    }
    if (style === "new" && route === `GET ${own}/targets`) {
      const data = [...state.targets].map(([id, { type, config }]) => ({
        id,
        name: `at ${id}`,
        type,
        enabled: true,
        config,
      }))
      return Response.json({ data, total: data.length, page: 1, per_page: 500 })
    }
    const [, certificateId] = new RegExp(`^GET ${own}/certificates/([^/]+)$`).exec(route) ?? []
    if (certificateId !== undefined) {
      const wanted = style === "new" ? url.searchParams.get("version_id") : null
      const version = state.versions.findLast(
        (entry) => entry.certificateId === certificateId && (wanted === null || entry.id === wanted),
      )
      return version === undefined
        ? refuse(404, `there is no certificate ${certificateId} for agent ${agentId}`)
        : Response.json({ certificate_pem: version.chainPem })
    }
    const [, statusJob] = new RegExp(`^POST ${own}/jobs/([^/]+)/status$`).exec(route) ?? []
    if (statusJob !== undefined) {
      const status = parse(StatusReport, body)
      return status instanceof Response ? status : report(statusJob, status)
    }
    const [, verifyJob] = /^POST \/api\/v1\/jobs\/([^/]+)\/verify$/.exec(route) ?? []
    if (verifyJob !== undefined) {
      const verification = parse(VerifyBody, body)
      if (verification instanceof Response) return verification
      state.verifications.push(verification)
      return Response.json({
        job_id: verifyJob,
        verified: verification.verified,
        verified_at: new Date().toISOString(),
      })
    }
    return refuse(404, `no route ${route}`)
  }

  const leaf = await testLeaf(authority, options.names ?? ["localhost", "127.0.0.1"], options.leafHours)
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    fetch: answer,
    ...(hasTls
      ? {
          tls: {
            key: leaf.keyPem,
            cert: leaf.certPem + (sendsAuthority ? (options.shownAuthorityPem ?? authority.certPem) : ""),
          },
        }
      : {}),
  })

  return {
    url: `${hasTls ? "https" : "http"}://127.0.0.1:${server.port}`,
    port: server.port,
    agentId,
    apiKey,
    authority,
    pin: fingerprintOf(certificateBlocks(authority.certPem)[0] ?? Buffer.alloc(0)),
    state,
    wake,
    /** Answers the polls that are held, with nothing, as a server that shuts down does. */
    endPolls(): void {
      state.pollRound++
      wake()
    },
    addTarget(targetId: string, certificateId: string, type: string, config: Record<string, unknown>): void {
      state.targets.set(targetId, { type, config, certificateId })
    },
    /** Another join token to take from now on. */
    accept: (token: string) => {
      joinToken = token
    },
    addDeployment,
    addJob,
    addCsrJob: (certificateId: string, commonName: string, sans: string[] = []) =>
      addJob({ type: "Renewal", certificateId, status: "AwaitingCSR", commonName, sans }),
    /** The next `times` requests to a path get this answer. */
    interfere: (
      path: RegExp,
      status: number,
      times = 1,
      rest: Pick<Interference, "body" | "headers" | "isHandled"> = {},
    ) => state.interferences.push({ path, status, times, ...rest }),
    requests: (path: RegExp) => state.seen.filter((request) => path.test(request.path)),
    stop: () => server.stop(true),
  }
}

export type FakeServer = Awaited<ReturnType<typeof startFakeServer>>

if (import.meta.main) {
  const fake = await startFakeServer()
  console.log(`CERTCTL_SERVER_URL=${fake.url} CERTCTL_AGENT_ID=${fake.agentId} CERTCTL_API_KEY=${fake.apiKey}`)
}
