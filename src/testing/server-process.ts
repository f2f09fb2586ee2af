/** `certctl server` as a process of its own, and its API as a client outside sees it. */
import { existsSync, readFileSync } from "node:fs"
import { freePort } from "./free-port"
import { executable, type Program, type Stage } from "./stage"
import { until } from "./until"

// biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer is said in its assertions
export type Body = any

export interface Answer {
  readonly status: number
  readonly text: string
  /** Parsed; null when there was nothing. */
  readonly body: Body
}

export interface CallOptions {
  readonly key?: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface ServerProcess {
  readonly url: string
  readonly port: number
  readonly dataDir: string
  readonly env: Readonly<Record<string, string>>
  /** Whatever status comes back. `body` goes out as JSON unless it is text. Rejects when no answer came. */
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer>
  /** The parsed body of a successful answer. */
  get(path: string): Promise<Body>
  post(path: string, body?: unknown): Promise<Body>
  /** Every answer's headers and body so far. */
  readonly heard: readonly string[]
  /** Of the process that was started last. */
  readonly pid: number
  readonly adminKey: string
  readonly caPem: string
  /** Starts it, again after `kill` or `stop`; resolves when it answers. */
  start(): Promise<void>
  process(): Program
  kill(): Promise<void>
  stop(): Promise<number>
  log(): string
}

export interface ServerOptions {
  readonly name?: string
  readonly env?: Readonly<Record<string, string>>
  /** Links that it gives lead to its address on this machine, not to the machine's name. */
  readonly linksHere?: boolean
  /** Used in place of the one that the first start leaves in the data directory. */
  readonly adminKey?: string
  /** What signs its certificate, when that is not its own CA. */
  readonly caPem?: string
}

/** For PostgreSQL, where the operator has to choose one. */
export const encryptionKey = "a passphrase that nobody could guess, 1234567890"

/** With what an environment of `npm test` must not decide: nothing is inherited. */
export const serverProcess = async (
  stage: Stage,
  { name = "server", env: given = {}, linksHere = false, adminKey: givenKey, caPem: givenCa }: ServerOptions = {},
): Promise<ServerProcess> => {
  const port = await freePort()
  const dataDir = stage.at(name)
  const isPlain = given.CERTCTL_SERVER_TLS === "off"
  const url = `${isPlain ? "http" : "https"}://127.0.0.1:${port}`
  const env = {
    CERTCTL_DATA_DIR: dataDir,
    CERTCTL_SERVER_PORT: String(port),
    CERTCTL_LOG_LEVEL: "debug",
    // The journeys ask more often than any person does.
    CERTCTL_RATE_LIMIT_ENABLED: "false",
    ...(linksHere ? { CERTCTL_PUBLIC_URL: url } : {}),
    ...given,
  }
  const heard: string[] = []
  let program: Program | undefined
  let adminKey = givenKey

  const caPem = () => givenCa ?? readFileSync(`${dataDir}/tls/ca.pem`, "utf8")
  const key = (): string => {
    // Read once: the file goes when somebody makes a key of their own.
    adminKey ??= readFileSync(`${dataDir}/initial-admin-key`, "utf8").trim()
    return adminKey
  }

  const call: ServerProcess["call"] = async (method, path, body, { key: asked, headers = {}, signal } = {}) => {
    const bearer = asked === undefined ? key() : asked
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
      redirect: "manual",
      // A connection kept from before a kill would fail the first request after it.
      keepalive: false,
      signal: signal ?? AbortSignal.timeout(30_000),
      tls: isPlain ? undefined : { ca: caPem() },
    })
    const text = await response.text()
    heard.push(JSON.stringify([...response.headers]), text)
    const isJson = response.headers.get("content-type")?.includes("json") ?? false
    return { status: response.status, text, body: isJson && text !== "" ? JSON.parse(text) : null }
  }

  const must = async (method: string, path: string, body?: unknown): Promise<Body> => {
    const answer = await call(method, path, body)
    if (answer.status >= 300) throw new Error(`${method} ${path} answered ${answer.status}: ${answer.text}`)
    return answer.body
  }

  const running = (): Program => {
    if (program === undefined) throw new Error(`${name} was never started`)
    return program
  }

  const answers = async (): Promise<boolean> => {
    const code = running().exitCode()
    if (code !== null) throw new Error(`${name} ended with ${code}: ${running().stderr()}${running().stdout()}`)
    if (!isPlain && givenCa === undefined && !existsSync(`${dataDir}/tls/ca.pem`)) return false
    // Refused until it listens.
    return call("GET", "/health", undefined, { key: null }).then(
      ({ status }) => status === 200,
      () => false,
    )
  }

  return {
    url,
    port,
    dataDir,
    env,
    call,
    get: (path) => must("GET", path),
    post: (path, body) => must("POST", path, body),
    heard,
    get pid() {
      return running().pid
    },
    get adminKey() {
      return key()
    },
    get caPem() {
      return caPem()
    },
    async start() {
      program = stage.run([executable, "server"], { env, name })
      await until(`${name} answers`, answers)
    },
    process: running,
    kill: () => running().kill(),
    stop: () => running().stop(),
    log: () => running().stdout() + running().stderr(),
  }
}
