/**
 * `certctl server --demo`: the server with the demo inventory, and beside it a TLS endpoint and an agent of this machine, so that
 * the first page shows a certificate that was really issued, deployed and seen.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { initialAdminKeyFile } from "../access/initial-admin-key"
import { type Env, environmentReader } from "../config/environment"
import { dataDirectoryOf } from "../data-directory"
import { AppError, messageOf } from "../errors"
import { type DemoParts, startDemoParts } from "./demo-parts"
import { type RunningServer, startServer } from "./server"

const usualPort = 8443
const portsToTry = 100

const isFree = (hostname: string, port: number): boolean => {
  try {
    Bun.listen({ hostname, port, socket: { data() {} } }).stop(true)
    return true
  } catch {
    // Whatever the reason is, the next port may do; if none does, the listener says why.
    return false
  }
}

const freePort = (host: string): number => {
  for (let port = usualPort; port < usualPort + portsToTry; port += 1) if (isFree(host, port)) return port
  return usualPort
}

/** What a first look needs, where the environment does not say otherwise. */
const demoEnvironment = (env: Env): { env: Env; isOtherPort: boolean } => {
  const given = environmentReader(env, () => undefined)
  const port = given.text("CERTCTL_SERVER_PORT") ?? String(freePort(given.text("CERTCTL_SERVER_HOST") ?? "127.0.0.1"))
  const scheme = given.text("CERTCTL_SERVER_TLS")?.trim() === "off" ? "http" : "https"
  return {
    isOtherPort: given.text("CERTCTL_SERVER_PORT") === null && port !== String(usualPort),
    env: {
      ...env,
      CERTCTL_DEMO_SEED: "true",
      // Never the folder of an installed server.
      CERTCTL_DATA_DIR: given.text("CERTCTL_DATA_DIR") ?? `${dataDirectoryOf(env)}-demo`,
      CERTCTL_SERVER_PORT: port,
      CERTCTL_PUBLIC_URL: given.text("CERTCTL_PUBLIC_URL") ?? `${scheme}://localhost:${port}`,
      CERTCTL_LOG_LEVEL: given.text("CERTCTL_LOG_LEVEL") ?? "warn",
      CERTCTL_LOG_FORMAT: given.text("CERTCTL_LOG_FORMAT") ?? "text",
      CERTCTL_AUDIT_FLUSH_TIMEOUT_SECONDS: given.text("CERTCTL_AUDIT_FLUSH_TIMEOUT_SECONDS") ?? "1",
    },
  }
}

const signInWords = ({ config }: RunningServer): string => {
  if (config.auth.type === "none") return "not needed, CERTCTL_AUTH_TYPE is none"
  const path = initialAdminKeyFile(config.dataDir)
  if (existsSync(path)) return readFileSync(path, "utf8").trim()
  return config.auth.keys.length > 0 ? "one of the environment's keys" : "the one you have made since the first start"
}

const introduction = (server: RunningServer, endpoint: string, isOtherPort: boolean): string => {
  const { config, caCertificatePem } = server
  const lines = [
    "",
    "certctl runs with a demo inventory.",
    "",
    `  Console    ${config.server.publicUrl}`,
    `  Admin key  ${signInWords(server)}`,
    `  Endpoint   ${endpoint}`,
    `  Data       ${config.dataDir} (remove it to begin anew)`,
    "  Stop       Ctrl-C",
    "",
  ]
  if (isOtherPort) lines.push(`Port ${usualPort} is taken, so this is port ${config.server.port}.`)
  if (caCertificatePem !== null) {
    const caPath = join(config.dataDir, "tls", "ca.pem")
    lines.push(
      "Your browser will warn, since the server has made a CA of its own; going on is fine here. To be rid of the warning,",
      `import ${caPath} (for tools: curl --cacert or NODE_EXTRA_CA_CERTS). You need not.`,
    )
  }
  return `${lines.join("\n")}\n`
}

/** The parts, or why there are none: the inventory is worth a look without them. */
const partsOf = async (server: RunningServer, env: Env): Promise<{ parts: DemoParts | null; words: string }> => {
  if (process.platform === "win32") return { parts: null, words: "none: the endpoint of the demo needs a Unix system" }
  try {
    const parts = await startDemoParts(server, env)
    return { parts, words: `${parts.endpointUrl} (its certificate is kept by the agent of this machine)` }
  } catch (error) {
    return { parts: null, words: `none: ${messageOf(error)}` }
  }
}

/** Runs until SIGTERM or SIGINT and returns the exit code; a second signal ends it at once. */
export const runDemo = async (given: Env): Promise<number> => {
  const { promise: asked, resolve } = Promise.withResolvers<void>()
  let signals = 0
  const onSignal = () => {
    signals += 1
    if (signals > 1) process.exit(130)
    resolve()
  }
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, onSignal)

  const { env, isOtherPort } = demoEnvironment(given)
  const server = await startServer(env)
  if (!(await server.wired.services.demo.isDemo())) {
    await server.stop()
    throw new AppError(
      "conflict",
      `${server.config.dataDir} holds an inventory of its own: give --demo a new CERTCTL_DATA_DIR, or leave --demo out`,
    )
  }
  const { parts, words } = await partsOf(server, env)
  process.stdout.write(introduction(server, words, isOtherPort))
  parts?.failed.catch((error) => {
    process.stderr.write(`certctl: ${messageOf(error)}; restart the demo to have it back\n`)
  })

  await asked
  await parts?.stop()
  await server.stop()
  return 0
}
