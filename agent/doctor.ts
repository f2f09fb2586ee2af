/**
 * `certctl agent doctor`: looks at everything an agent needs, changes nothing, and says of each thing what is wrong and what helps.
 * It claims no work and gives no sign of life.
 */

import { lookup } from "node:dns/promises"
import { accessSync, constants, existsSync, lstatSync, readdirSync, readFileSync, statfsSync } from "node:fs"
import { isIP } from "node:net"
import { join } from "node:path"
import * as v from "valibot"
import { type AgentClient, agentClient } from "../src/client/agent-client"
import { httpTransport, type Transport } from "../src/client/http-transport"
import { outboundProxy } from "../src/client/outbound-proxy"
import type { Clock } from "../src/clock"
import type { Env } from "../src/config/environment"
import { secretKeysOf } from "../src/connectors/config"
import { defaultPath } from "../src/connectors/program"
import { resolveReferences } from "../src/connectors/secret-reference"
import { mask } from "../src/connectors/stored-config"
import { targetConnector } from "../src/connectors/targets/catalog"
import { holdDataDirectory } from "../src/data-directory"
import { AppError, messageOf } from "../src/errors"
import { version } from "../src/version"
import { type AgentConfig, agentConfig } from "./agent.config"
import { inspectKeys, keySealFor } from "./keystore"
import { targetDepsOf } from "./target-deps"

export interface Finding {
  readonly check: string
  /** `skip`: could not be looked at from here. */
  readonly status: "ok" | "warn" | "fail" | "skip"
  readonly detail: string
  /** What helps. */
  readonly help?: string
}

export interface DoctorOptions {
  readonly env: Env
  readonly clock: Clock
  /** JSON files of one target each: `{"type": …, "config": …}`. */
  readonly targetConfigs: readonly string[]
}

const ok = (check: string, detail: string): Finding => ({ check, status: "ok", detail })
const skip = (check: string, detail: string, help?: string): Finding =>
  help === undefined ? { check, status: "skip", detail } : { check, status: "skip", detail, help }
const bad = (check: string, status: "warn" | "fail", detail: string, help: string): Finding => ({
  check,
  status,
  detail,
  help,
})

const skewWarnMs = 60_000
const skewFailMs = 5 * 60_000
const diskWarnBytes = 100 * 2 ** 20
const diskFailBytes = 10 * 2 ** 20
/** No certificate has this id, so that asking for it answers who we are and nothing else. */
const nobodysCertificate = "mc-doctor-asks-who-am-i"

/** Every finding, in the order in which things depend on each other. Never fails. */
export const examine = async ({ env, clock, targetConfigs }: DoctorOptions): Promise<Finding[]> => {
  const warnings: string[] = []
  let config: AgentConfig
  try {
    config = agentConfig(env, (line) => warnings.push(line))
  } catch (error) {
    return [bad("settings", "fail", messageOf(error), "set what is named, or join this host (certctl agent join)")]
  }
  const { findings, client } = await serverFindings(config, env, clock)
  return [
    ok("settings", `agent ${config.agentId} of ${config.server}, data in ${config.dataDir}`),
    ...warnings.map((line) => bad("settings", "warn", line, "correct the value: the default is used")),
    ...findings,
    ...hostFindings(config),
    ...keyFindings(config),
    ...leftOverFindings(config),
    ...programFindings(config),
    ...discoveryFindings(config),
    ...(await targetFindings({ config, env, clock }, client)),
    ...(await targetFileFindings({ config, env, clock }, targetConfigs)),
  ]
}

/** `client`: where the server answers to this agent. */
const serverFindings = async (
  config: AgentConfig,
  env: Env,
  clock: Clock,
): Promise<{ findings: Finding[]; client: AgentClient | null }> => {
  const url = new URL(config.server)
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  const findings: Finding[] = []
  let send: Transport
  try {
    const proxy = outboundProxy(url, env)
    findings.push(ok("proxy", proxy === null ? "none for this server" : `the server is asked through ${proxy.host}`))
    if (proxy === null && isIP(host) === 0) {
      const addresses = await lookup(host, { all: true }).catch((error) => error as Error)
      if (addresses instanceof Error) {
        const help = "check the name, /etc/resolv.conf and /etc/hosts, or set HTTPS_PROXY"
        return { findings: [...findings, bad("name", "fail", `${host}: ${addresses.message}`, help)], client: null }
      }
      findings.push(ok("name", `${host} is ${addresses.map(({ address }) => address).join(", ")}`))
    }
    const userAgent = `certctl-agent/${version.version}`
    send = httpTransport({ ...config, userAgent, timeoutMs: 10_000 })
  } catch (error) {
    const problem = bad("proxy", "fail", messageOf(error), "correct HTTPS_PROXY and NO_PROXY")
    return { findings: [...findings, problem], client: null }
  }

  if (config.trust.kind === "none") {
    const help = "join again, or give the server's CA with --ca-bundle instead of --insecure"
    findings.push(bad("trust", "warn", "the server's certificate is not verified", help))
  }
  const began = performance.now()
  try {
    const answer = await send({ method: "GET", path: "/health" })
    const tookMs = Math.round(performance.now() - began)
    findings.push(
      answer.status === 200
        ? ok("server", `answers within ${tookMs} ms`)
        : bad("server", "fail", `/health answers ${answer.status}`, "is this the URL of a certctl server?"),
    )
    findings.push(clockFinding(answer.date, clock.now()))
  } catch (error) {
    const help = "check that the server runs, and firewalls, port and proxy on the way"
    return { findings: [...findings, bad("server", "fail", messageOf(error), help)], client: null }
  }
  const client = agentClient(send, config.agentId)
  const identity = await identityFinding(config, client)
  return { findings: [...findings, identity], client: identity.status === "ok" ? client : null }
}

const clockFinding = (server: Date | null, now: Date): Finding => {
  if (server === null) return skip("clock", "the server does not tell its time")
  const aheadMs = now.getTime() - server.getTime()
  const detail = `this host is ${Math.abs(Math.round(aheadMs / 1000))} s ${aheadMs < 0 ? "behind" : "ahead of"} the server`
  if (Math.abs(aheadMs) <= skewWarnMs) return ok("clock", detail)
  const help = "synchronise the clock (chronyc tracking, timedatectl): certificates seem expired or not yet valid"
  return bad("clock", Math.abs(aheadMs) > skewFailMs ? "fail" : "warn", detail, help)
}

const identityFinding = async ({ agentId }: AgentConfig, client: AgentClient): Promise<Finding> => {
  try {
    await client.certificate(nobodysCertificate, null)
    return ok("identity", `the server knows ${agentId}`)
  } catch (error) {
    const code = error instanceof AppError ? error.code : null
    const words = messageOf(error)
    if (code === "not_found" && words.includes(nobodysCertificate)) return ok("identity", `the server knows ${agentId}`)
    if (code === "unauthenticated") return bad("identity", "fail", `the key is refused: ${words}`, "join again")
    if (code === "forbidden") {
      return bad(
        "identity",
        "fail",
        words,
        `the key is not one of ${agentId}: correct CERTCTL_AGENT_ID or CERTCTL_API_KEY`,
      )
    }
    if (code === "gone") return bad("identity", "fail", `${agentId} was retired`, "join again, as a new agent")
    if (code === "not_found") return bad("identity", "fail", words, "join again: the server has no such agent")
    return bad("identity", "fail", words, "see the server's log")
  }
}

/** Mode and owner of a folder or file that nobody else may use. */
const privacyFinding = (check: string, path: string, mode: number): Finding => {
  let facts: ReturnType<typeof lstatSync>
  try {
    facts = lstatSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return skip(check, `${path} is not there yet`)
    return bad(check, "fail", messageOf(error), "run this as the user the agent runs as")
  }
  const found = facts.mode & 0o777
  const uid = process.getuid?.()
  if (process.platform !== "win32" && (found & ~mode) !== 0) {
    return bad(check, "fail", `${path} has mode ${found.toString(8)}`, `chmod ${mode.toString(8)} ${path}`)
  }
  if (uid !== undefined && uid !== 0 && facts.uid !== uid) {
    return bad(
      check,
      "fail",
      `${path} belongs to user ${facts.uid}`,
      `run this as its owner, or chown -R ${uid} ${path}`,
    )
  }
  try {
    accessSync(path, facts.isDirectory() ? constants.R_OK | constants.W_OK | constants.X_OK : constants.R_OK)
  } catch (error) {
    return bad(check, "fail", messageOf(error), "is the file system mounted read-only (ReadWritePaths of the unit)?")
  }
  return ok(check, `${path}, mode ${found.toString(8)}`)
}

const hostFindings = ({ dataDir }: AgentConfig): Finding[] => {
  const findings = [privacyFinding("data folder", dataDir, 0o700)]
  if (!existsSync(dataDir)) return findings
  try {
    const { bavail, bsize } = statfsSync(dataDir)
    const free = bavail * bsize
    const detail = `${Math.floor(free / 2 ** 20)} MiB free`
    const help = "make room: keys and backups of replaced files must fit"
    if (free < diskWarnBytes) findings.push(bad("disk", free < diskFailBytes ? "fail" : "warn", detail, help))
    else findings.push(ok("disk", detail))
  } catch (error) {
    findings.push(skip("disk", messageOf(error)))
  }
  try {
    holdDataDirectory(dataDir, "agent")()
    findings.push(
      bad("process", "warn", "no agent is running in this data folder", "start it (systemctl start certctl-agent)"),
    )
  } catch (error) {
    const isRunning = error instanceof AppError && error.code === "conflict"
    findings.push(isRunning ? ok("process", "an agent is running") : skip("process", messageOf(error)))
  }
  return findings
}

const keyFindings = ({ keyDir, keyPassphrase }: AgentConfig): Finding[] => {
  const folder = privacyFinding("key folder", keyDir, 0o700)
  if (folder.status !== "ok") return [folder]
  try {
    const seal = keySealFor(keyDir, keyPassphrase)
    const keys = inspectKeys(keyDir, seal)
    const problems = keys.map(({ path }) => privacyFinding("keys", path, 0o600)).filter(({ status }) => status !== "ok")
    for (const { path, problem } of keys) {
      const help = "renew its certificate: a new key is made"
      if (problem !== null) problems.push(bad("keys", "fail", `${path}: ${problem}`, help))
    }
    const sealed = seal === null ? "not sealed" : "sealed"
    return [folder, ...(problems.length > 0 ? problems : [ok("keys", `${keys.length} key files, ${sealed}`)])]
  } catch (error) {
    return [folder, bad("keys", "fail", messageOf(error), "give the passphrase the keys were sealed with")]
  }
}

const countIn = (folder: string): number =>
  existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")).length : 0

const leftOverFindings = ({ dataDir }: AgentConfig): Finding[] => {
  try {
    const journals = countIn(join(dataDir, "deployments"))
    const reports = countIn(join(dataDir, "outbox"))
    return [
      journals === 0
        ? ok("deployments", "none was interrupted")
        : bad(
            "deployments",
            "warn",
            `${journals} under way or interrupted`,
            "the agent undoes interrupted ones at its start",
          ),
      reports === 0
        ? ok("reports", "none waits for the server")
        : bad("reports", "warn", `${reports} wait for the server`, "they are delivered when it answers again"),
    ]
  } catch (error) {
    return [bad("deployments", "fail", messageOf(error), "run this as the user the agent runs as")]
  }
}

const programFindings = ({ allowedPrograms, secretsDir }: AgentConfig): Finding[] => {
  const findings: Finding[] = []
  const PATH = process.env.PATH ?? defaultPath
  const missing = allowedPrograms.filter((name) => Bun.which(name, { PATH, cwd: "/" }) === null)
  for (const name of missing) {
    const help = "install it, give its absolute path, or take it out of CERTCTL_AGENT_ALLOWED_COMMANDS"
    findings.push(bad("programs", "warn", `${name} was not found`, help))
  }
  if (allowedPrograms.length === 0) {
    findings.push(ok("programs", "commands of targets may start any (CERTCTL_AGENT_ALLOWED_COMMANDS limits them)"))
  } else if (missing.length === 0) findings.push(ok("programs", `all of ${allowedPrograms.join(", ")} are there`))

  if (!existsSync(secretsDir))
    return [...findings, skip("secrets folder", `${secretsDir} is not there: no file: references`)]
  const { mode } = lstatSync(secretsDir)
  if (process.platform !== "win32" && (mode & 0o022) !== 0) {
    const detail = `${secretsDir} may be written by others (mode ${(mode & 0o777).toString(8)})`
    return [...findings, bad("secrets folder", "fail", detail, `chmod go-w ${secretsDir}`)]
  }
  return [...findings, ok("secrets folder", `${secretsDir}, mode ${(mode & 0o777).toString(8)}`)]
}

const discoveryFindings = ({ discovery }: AgentConfig): Finding[] => {
  const findings = discovery.folders.map((folder): Finding => {
    try {
      accessSync(folder, constants.R_OK | constants.X_OK)
      return ok("discovery", `${folder} can be read`)
    } catch (error) {
      return bad(
        "discovery",
        "warn",
        messageOf(error),
        "let the agent's user read it, or take it out of CERTCTL_DISCOVERY_DIRS",
      )
    }
  })
  if (discovery.passwordsFile !== null) findings.push(privacyFinding("passwords file", discovery.passwordsFile, 0o640))
  return findings
}

const TargetFile = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ type: v.string(), config: v.record(v.string(), v.unknown()) }),
)

interface Host {
  readonly config: AgentConfig
  readonly env: Env
  readonly clock: Clock
}

/** Has a connector check a configuration on this host. What it only warns of comes in front of its verdict. */
const checkFindings = async (
  { config, env, clock }: Host,
  name: string,
  read: () => { readonly type: string; readonly config: Record<string, unknown> },
): Promise<Finding[]> => {
  const findings: Finding[] = []
  try {
    const { type, config: raw } = read()
    const connector = targetConnector(type)
    const references = { env, secretsDir: config.secretsDir }
    const warn = (message: string) =>
      void findings.push(bad("target", "warn", `${name}: ${message}`, "see docs/connectors.md"))
    const resolved = resolveReferences(raw, secretKeysOf(connector.config), references)
    const target = connector.open(resolved, targetDepsOf(config, clock, warn))
    await target.check?.()
    const detail = target.check === undefined ? "its configuration is well-formed" : "its check found nothing wrong"
    findings.push(ok("target", `${name} (${type}): ${detail}`))
  } catch (error) {
    // A parser's words could quote a secret.
    const words = error instanceof v.ValiError ? 'must hold {"type": "NGINX", "config": {…}}' : messageOf(error)
    findings.push(bad("target", "fail", `${name}: ${words}`, "correct what is named"))
  }
  return findings
}

/** Of the targets that the server has for this agent. `client`: null where it could not be asked. */
const targetFindings = async (host: Host, client: AgentClient | null): Promise<Finding[]> => {
  const byHand = "--target-config FILE checks a target without the server"
  if (client === null) return [skip("targets", "the server was not asked for them", byHand)]
  let targets: Awaited<ReturnType<AgentClient["targets"]>>
  try {
    targets = await client.targets()
  } catch (error) {
    const isOld = error instanceof AppError && error.code === "not_found"
    if (isOld) return [skip("targets", "the server is too old to list an agent's targets", byHand)]
    return [bad("targets", "fail", messageOf(error), "see the server's log")]
  }
  if (targets.length === 0) return [ok("targets", "none is assigned to this agent")]
  const findings: Finding[] = []
  for (const { id, name, type, enabled, config } of targets) {
    const label = `${name} ${id}`
    if (config === undefined) {
      const detail = `${label}: the server cannot open its configuration`
      findings.push(bad("target", "fail", detail, "enter it again; see the server's log"))
    } else if (!enabled) findings.push(skip("target", `${label} (${type}): disabled`))
    // With another key than the agent's own, or none at all, the server shows no secrets.
    else if (JSON.stringify(config).includes(`"${mask}"`)) {
      const detail = `${label} (${type}): its secrets are for the agent's own key only`
      findings.push(skip("target", detail, `${byHand}; certctl targets test ${id} runs the check through it`))
    } else findings.push(...(await checkFindings(host, label, () => ({ type, config }))))
  }
  return findings
}

const targetFileFindings = async (host: Host, paths: readonly string[]): Promise<Finding[]> => {
  const findings: Finding[] = []
  for (const path of paths) {
    findings.push(...(await checkFindings(host, path, () => v.parse(TargetFile, readFileSync(path, "utf8")))))
  }
  return findings
}
