/** How to reach a Kubernetes API server and as whom: as the pod that the agent runs in, or by a kubeconfig file. */
import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import type { TlsPeer } from "../tls-request"
import type { TargetDeps } from "./contract"

export interface ClusterAccess extends Omit<TlsPeer, "timeoutMs"> {
  /** Before `/api`, where a proxy serves several clusters; without a slash at its end. */
  readonly basePath: string
  readonly token?: string
}

const textOf = (path: string): Promise<string> =>
  readFile(path, "utf8").catch((error) => {
    throw new AppError("validation", messageOf(error), { cause: error })
  })

export const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

/** The pod's service account. Its token is read every time: Kubernetes replaces it within the hour. */
export const inCluster = async (
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
): Promise<ClusterAccess> => {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env
  if (!host || !port) {
    throw new AppError("validation", "kubeconfig_path is required where the agent does not run in a Kubernetes pod")
  }
  const [token, ca] = await Promise.all([textOf(join(folder, "token")), textOf(join(folder, "ca.crt"))])
  return { host, port: Number(port), basePath: "", token: token.trim(), ca }
}

const Cluster = v.object({
  server: v.string(),
  "certificate-authority": v.optional(v.string()),
  "certificate-authority-data": v.optional(v.string()),
  "insecure-skip-tls-verify": v.optional(v.boolean(), false),
  "tls-server-name": v.optional(v.string()),
})
const Exec = v.object({
  apiVersion: v.string(),
  command: v.string(),
  args: v.nullish(v.array(v.string())),
  env: v.nullish(v.array(v.object({ name: v.string(), value: v.string() }))),
})
const User = v.object({
  token: v.optional(v.string()),
  tokenFile: v.optional(v.string()),
  "client-certificate": v.optional(v.string()),
  "client-certificate-data": v.optional(v.string()),
  "client-key": v.optional(v.string()),
  "client-key-data": v.optional(v.string()),
  exec: v.optional(Exec),
})
const Kubeconfig = v.object({
  "current-context": v.pipe(v.string(), v.nonEmpty()),
  contexts: v.array(v.object({ name: v.string(), context: v.object({ cluster: v.string(), user: v.string() }) })),
  clusters: v.array(v.object({ name: v.string(), cluster: Cluster })),
  users: v.array(v.object({ name: v.string(), user: v.nullish(User, {}) })),
})
const ExecCredential = v.object({
  kind: v.literal("ExecCredential"),
  status: v.object({
    token: v.optional(v.string()),
    clientCertificateData: v.optional(v.string()),
    clientKeyData: v.optional(v.string()),
  }),
})

type ExecDeps = Pick<TargetDeps, "start" | "checkCommand" | "warn">

/** The current context of a kubeconfig. Fails with `validation` naming what is missing in it; it repeats no value of it. */
export const fromKubeconfig = async (path: string, deps: ExecDeps): Promise<ClusterAccess> => {
  const wrong = (what: string) => new AppError("validation", `kubeconfig_path: ${path} ${what}`)
  let raw: unknown
  try {
    raw = Bun.YAML.parse(await textOf(path))
  } catch (error) {
    throw error instanceof AppError
      ? new AppError("validation", `kubeconfig_path: ${error.message}`)
      : wrong("is no YAML")
  }
  const parsed = v.safeParse(Kubeconfig, raw)
  if (!parsed.success) {
    throw wrong(`is no usable kubeconfig: see ${parsed.issues.map((issue) => v.getDotPath(issue)).join(", ")}`)
  }
  const file = parsed.output
  const context = file.contexts.find(({ name }) => name === file["current-context"])?.context
  if (context === undefined) throw wrong("has no context of the name in current-context")
  const cluster = file.clusters.find(({ name }) => name === context.cluster)?.cluster
  const user = file.users.find(({ name }) => name === context.user)?.user
  if (cluster === undefined || user === undefined) throw wrong("lacks the cluster or the user of its current context")

  const server = URL.canParse(cluster.server) ? new URL(cluster.server) : null
  if (server?.protocol !== "https:") throw wrong("must give its server as an https address")
  // Relative to the file, as kubectl has it.
  const beside = (name: string) => (isAbsolute(name) ? name : join(dirname(path), name))
  const dataOrFile = async (data: string | undefined, name: string | undefined): Promise<string | undefined> =>
    data !== undefined
      ? Buffer.from(data, "base64").toString("utf8")
      : name === undefined
        ? undefined
        : textOf(beside(name))

  if (cluster["insecure-skip-tls-verify"]) {
    deps.warn(`${path} says insecure-skip-tls-verify: whoever is on the way to ${server.host} gets the private key`)
  }
  const ca = await dataOrFile(cluster["certificate-authority-data"], cluster["certificate-authority"])
  const plugin = user.exec === undefined ? {} : await execCredential(user.exec, beside, wrong, deps)
  const cert = plugin.cert ?? (await dataOrFile(user["client-certificate-data"], user["client-certificate"]))
  const key = plugin.key ?? (await dataOrFile(user["client-key-data"], user["client-key"]))
  const token =
    plugin.token ?? (user.tokenFile === undefined ? user.token : (await textOf(beside(user.tokenFile))).trim())
  if ((cert === undefined) !== (key === undefined)) throw wrong("gives a client certificate without its key")
  if (token === undefined && cert === undefined) throw wrong("has neither token nor client certificate for its user")
  return {
    host: server.hostname,
    port: server.port === "" ? 443 : Number(server.port),
    basePath: server.pathname.replace(/\/+$/, ""),
    ...(ca === undefined ? {} : { ca }),
    ...(cluster["insecure-skip-tls-verify"] ? { isUnchecked: true } : {}),
    ...(cluster["tls-server-name"] === undefined ? {} : { serverName: cluster["tls-server-name"] }),
    ...(cert === undefined || key === undefined ? {} : { client: { cert, key } }),
    ...(token === undefined ? {} : { token }),
  }
}

interface PluginCredential {
  readonly token?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** A client-go credential plugin. It is a program that a configuration leads to, so the agent must be allowed to start it. */
const execCredential = async (
  { apiVersion, command, args, env }: v.InferOutput<typeof Exec>,
  beside: (name: string) => string,
  wrong: (what: string) => AppError,
  { start, checkCommand }: ExecDeps,
): Promise<PluginCredential> => {
  const program = command.includes("/") ? beside(command) : command
  checkCommand({ key: "kubeconfig_path (exec)", command: program })
  const { stdout } = await start({
    name: `credential plugin ${command}`,
    program,
    args: args ?? [],
    env: {
      HOME: homedir(),
      ...Object.fromEntries((env ?? []).map(({ name, value }) => [name, value])),
      KUBERNETES_EXEC_INFO: JSON.stringify({ apiVersion, kind: "ExecCredential", spec: { interactive: false } }),
    },
    timeoutMs: 30_000,
  })
  try {
    const { status } = v.parse(ExecCredential, JSON.parse(stdout))
    return { token: status.token, cert: status.clientCertificateData, key: status.clientKeyData }
  } catch {
    // Its output is a credential: not even a piece of it is shown.
    throw wrong(`names a credential plugin (${command}) that answered no ExecCredential`)
  }
}
