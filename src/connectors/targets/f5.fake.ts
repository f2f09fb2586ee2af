/**
 * iControl REST of a BIG-IP as far as client-SSL profiles go: tokens that expire, uploads by range, installed objects, transactions
 * that apply all or nothing, the device's error bodies, over TLS on a real socket. Start by hand:
 * `bun src/connectors/targets/f5.fake.ts` prints its address.
 */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:https"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"

class Refusal extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message)
  }
}

interface Profile {
  cert?: string
  key?: string
  chain?: string
  /** The same pair once more under its name, and any others. */
  certKeyChain?: { name: string; cert: string; key: string }[]
}
type Change = { path: string; identity: Profile }

interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage["headers"]
}

const downloads = "/var/config/rest/downloads/"
const fromUrl = (part: string) => decodeURIComponent(part).replaceAll("~", "/")

export const startFakeBigIp = async () => {
  const authority = await testAuthority("Fake BIG-IP CA")
  const leaf = await testLeaf(authority, ["127.0.0.1"])
  const username = "certctl"
  const password = "b1g-ip s3cret"
  const state = {
    tokens: new Set<string>(),
    logins: 0,
    uploads: new Map<string, Buffer>(),
    partial: new Map<string, Buffer>(),
    cert: new Map<string, string>(),
    key: new Map<string, string>(),
    profiles: new Map<string, Profile>(),
    transactions: new Map<number, { changes: Change[]; state: string; failureReason?: string }>(),
    nextTransaction: 1700000000,
    seen: [] as Seen[],
    /** Applied once: an answer in place of the right one; "after" does it first. */
    failure: null as { at: "before" | "after"; path: RegExp; method: string; status: number } | null,
    /** Whether a transaction vanishes between its begin and its commit. */
    forgetsTransactions: false,
    hangs: false,
  }

  const pairProblem = ({ cert, key, chain }: Profile): string | null => {
    for (const [kind, name] of [
      ["cert", cert],
      ["key", key],
      ["cert", chain],
    ] as const) {
      if (name !== undefined && name !== "none" && !state[kind].has(name)) {
        return `01020036:3: The requested ${kind === "cert" ? "certificate" : "key"} file (${name}) was not found.`
      }
    }
    const [certPem, keyPem] = [state.cert.get(cert ?? ""), state.key.get(key ?? "")]
    if (certPem === undefined || keyPem === undefined) return "01070313:3: profile must have a certificate and a key."
    return new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem))
      ? null
      : "01070317:3: profile's key and certificate do not match"
  }

  const apply = ({ path, identity }: Change) => {
    const merged = Object.fromEntries(
      Object.entries({ ...state.profiles.get(path), ...identity }).filter(([, value]) => value !== "none"),
    )
    const problem = pairProblem(merged)
    if (problem !== null) throw new Refusal(400, problem)
    state.profiles.set(path, merged)
  }

  const isUsed = (name: string) =>
    [...state.profiles.values()].some(({ cert, key, chain }) => [cert, key, chain].includes(name))

  const upload = (name: string, range: string | undefined, body: Buffer) => {
    const [, first, last, total] = /^(\d+)-(\d+)\/(\d+)$/.exec(range ?? "") ?? []
    if (first === undefined) throw new Refusal(400, "Content-Range header must be specified.")
    if (Number(last) - Number(first) + 1 !== body.length || body.length > 1024 * 1024) {
      throw new Refusal(
        400,
        `Chunk byte count ${Number(last) - Number(first) + 1} in Content-Range header different from received buffer length ${body.length}`,
      )
    }
    const before = Number(first) === 0 ? Buffer.alloc(0) : (state.partial.get(name) ?? Buffer.alloc(0))
    if (before.length !== Number(first)) throw new Refusal(400, "Content-Range does not continue the file")
    const whole = Buffer.concat([before, body])
    if (whole.length === Number(total)) {
      state.partial.delete(name)
      state.uploads.set(name, whole)
    } else state.partial.set(name, whole)
    return { remainingByteCount: Number(total) - whole.length, localFilePath: downloads + name }
  }

  const install = (kind: "cert" | "key", body: Record<string, unknown>) => {
    const { command, name, "from-local-file": from } = body
    if (command !== "install" || typeof name !== "string" || typeof from !== "string") {
      throw new Refusal(400, "invalid property value")
    }
    const content = from.startsWith(downloads) ? state.uploads.get(from.slice(downloads.length)) : undefined
    if (content === undefined) throw new Refusal(400, `Failed! exit_code (2). ${from}: No such file or directory`)
    const path = name.startsWith("/") ? name : `/Common/${name}`
    // A name without the suffix would get one here.
    if (!path.endsWith(kind === "cert" ? ".crt" : ".key"))
      throw new Refusal(400, "the fake wants names with their suffix")
    if (state[kind].has(path))
      throw new Refusal(409, `01020066:3: The requested file (${path}) already exists in partition.`)
    const text = content.toString("utf8")
    try {
      if (kind === "cert") new X509Certificate(text)
      else createPrivateKey(text)
    } catch {
      throw new Refusal(400, `Failed! exit_code (3). The ${kind} file is not in PEM format`)
    }
    state[kind].set(path, text)
    return { kind: `tm:sys:crypto:${kind}:installstate`, command, name }
  }

  const commit = (id: number) => {
    const transaction = state.transactions.get(id)
    if (transaction === undefined || state.forgetsTransactions)
      throw new Refusal(404, `there is no transaction with ID ${id}`)
    const before = new Map(state.profiles)
    try {
      for (const change of transaction.changes) apply(change)
      transaction.state = "COMPLETED"
    } catch (error) {
      state.profiles = before
      state.transactions.delete(id)
      throw new Refusal(400, `transaction failed:${error instanceof Error ? error.message : ""}`)
    }
    return { transId: id, state: "COMPLETED", kind: "tm:transactionstate" }
  }

  const route = (request: IncomingMessage, path: string, raw: Buffer): unknown => {
    const method = request.method ?? ""
    const wants = (...methods: string[]) => {
      if (!methods.includes(method)) throw new Refusal(405, `Method ${method} not allowed`)
    }
    const json = (): Record<string, unknown> => {
      if (!request.headers["content-type"]?.startsWith("application/json"))
        throw new Refusal(415, "unsupported content type")
      return JSON.parse(raw.toString("utf8"))
    }
    if (path === "/mgmt/shared/authn/login") {
      wants("POST")
      const body = json()
      if (body.username !== username || body.password !== password || body.loginProviderName !== "tmos") {
        throw new Refusal(401, "Authentication failed.")
      }
      const token = randomBytes(13).toString("hex").toUpperCase()
      state.tokens.add(token)
      state.logins++
      return { username, token: { token, timeout: 1200 } }
    }
    if (!state.tokens.has(String(request.headers["x-f5-auth-token"])))
      throw new Refusal(401, "X-F5-Auth-Token does not exist.")

    const [, file] = /^\/mgmt\/shared\/file-transfer\/uploads\/([^/]+)$/.exec(path) ?? []
    if (file !== undefined) {
      wants("POST")
      if (request.headers["content-type"] !== "application/octet-stream")
        throw new Refusal(415, "unsupported content type")
      return upload(decodeURIComponent(file), request.headers["content-range"], raw)
    }
    const [, kind, name] = /^\/mgmt\/tm\/sys\/crypto\/(cert|key)(?:\/([^/]+))?$/.exec(path) ?? []
    if (kind === "cert" || kind === "key") {
      if (name === undefined) {
        wants("POST")
        return install(kind, json())
      }
      wants("DELETE")
      const object = fromUrl(name)
      if (!state[kind].has(object)) throw new Refusal(404, `01020036:3: The requested file (${object}) was not found.`)
      if (isUsed(object)) {
        throw new Refusal(400, `01071349:3: File object by name (${object}) is in use.`)
      }
      state[kind].delete(object)
      return null
    }
    const [, certificate] = /^\/mgmt\/tm\/sys\/file\/ssl-cert\/([^/]+)$/.exec(path) ?? []
    if (certificate !== undefined) {
      wants("GET")
      const pem = state.cert.get(fromUrl(certificate))
      if (pem === undefined)
        throw new Refusal(404, `01020036:3: The requested file (${fromUrl(certificate)}) was not found.`)
      const { fingerprint256, serialNumber } = new X509Certificate(pem)
      return { kind: "tm:sys:file:ssl-cert:ssl-certstate", fingerprint: `SHA256/${fingerprint256}`, serialNumber }
    }
    const [, profileName] = /^\/mgmt\/tm\/ltm\/profile\/client-ssl\/([^/]+)$/.exec(path) ?? []
    if (profileName !== undefined) {
      wants("GET", "PATCH")
      const profile = fromUrl(profileName)
      const found = state.profiles.get(profile)
      if (found === undefined) throw new Refusal(404, `01020036:3: The requested profile (${profile}) was not found.`)
      if (method === "GET") return { kind: "tm:ltm:profile:client-ssl:client-sslstate", fullPath: profile, ...found }
      const identity = json() as Profile
      const coordination = request.headers["x-f5-rest-coordination-id"]
      if (coordination === undefined) apply({ path: profile, identity })
      else {
        const transaction = state.transactions.get(Number(coordination))
        if (transaction === undefined) throw new Refusal(404, `there is no transaction with ID ${coordination}`)
        transaction.changes.push({ path: profile, identity })
      }
      return { ...found, ...identity }
    }
    if (path === "/mgmt/tm/transaction") {
      wants("POST")
      json()
      const id = state.nextTransaction++
      state.transactions.set(id, { changes: [], state: "STARTED" })
      return { transId: id, state: "STARTED", timeoutSeconds: 120, kind: "tm:transactionstate" }
    }
    const [, id] = /^\/mgmt\/tm\/transaction\/(\d+)$/.exec(path) ?? []
    if (id !== undefined) {
      wants("PATCH", "GET")
      if (method === "PATCH") {
        if (request.headers["x-f5-rest-coordination-id"] !== undefined)
          throw new Refusal(400, "a commit is no part of its transaction")
        if (json().state !== "VALIDATING") throw new Refusal(400, "invalid state")
        return commit(Number(id))
      }
      const transaction = state.transactions.get(Number(id))
      if (transaction === undefined) throw new Refusal(404, `there is no transaction with ID ${id}`)
      return { transId: Number(id), ...transaction }
    }
    throw new Refusal(404, `Public URI path not registered: ${path}`)
  }

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const path = new URL(request.url ?? "/", "https://fake").pathname
    const method = request.method ?? ""
    state.seen.push({ method, path, headers: request.headers })
    if (state.hangs) return
    const answer = (code: number, body: unknown) => {
      response.writeHead(code, { "content-type": "application/json" })
      response.end(body === null ? "" : JSON.stringify(body))
    }
    const refuse = (code: number, message: string) => answer(code, { code, message, errorStack: [], apiError: 3 })
    const failing = state.failure?.method === method && state.failure.path.test(path) ? state.failure : null
    if (failing !== null) state.failure = null
    if (failing?.at === "before") return refuse(failing.status, "the fake was told to fail")
    try {
      const body = route(request, path, Buffer.concat(chunks))
      if (failing !== null) refuse(failing.status, "the fake was told to fail")
      else answer(200, body)
    } catch (error) {
      refuse(error instanceof Refusal ? error.code : 500, error instanceof Error ? error.message : "")
    }
  }

  const server = createServer(
    { key: leaf.keyPem, cert: leaf.certPem },
    (request, response) => void handle(request, response),
  )
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as { port: number }
  return {
    state,
    username,
    password,
    port,
    caPem: authority.certPem,
    /** A profile with a pair of its own, as an administrator made it. */
    addProfile(path: string, pair: { certPem: string; keyPem: string }) {
      const name = path.split("/").at(-1)
      const partition = path.split("/")[1]
      state.cert.set(`/${partition}/${name}.crt`, pair.certPem)
      state.key.set(`/${partition}/${name}.key`, pair.keyPem)
      state.profiles.set(path, { cert: `/${partition}/${name}.crt`, key: `/${partition}/${name}.key` })
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

if (import.meta.main) {
  const { port, username, password, addProfile } = await startFakeBigIp()
  addProfile("/Common/www", await testLeaf(await testAuthority(), ["www"]))
  console.log(`https://127.0.0.1:${port} ${username} ${password} /Common/www`)
}
