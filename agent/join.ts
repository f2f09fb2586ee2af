/** `certctl agent join`: one token makes this host an agent. Nothing is sent before the server has been verified. */
import { registerAgent } from "../src/client/agent-client"
import { httpTransport, type Trust } from "../src/client/http-transport"
import { serverUrl } from "../src/client/server-url"
import { type Clock, systemClock } from "../src/clock"
import { type Env, environmentReader } from "../src/config/environment"
import { dataDirectoryOf, prepareDataDirectory } from "../src/data-directory"
import { AppError } from "../src/errors"
import { version } from "../src/version"
import { trustIn, withFlags } from "./agent.config"
import { hostFacts } from "./host"
import { type Identity, identityPath, readIdentity, writeIdentity } from "./identity"
import { pinnedAuthority } from "./server-pin"

export interface JoinOptions {
  /** CERTCTL_SERVER_URL when left out. */
  readonly server?: string
  /** `<id>.<secret>.<SHA-256 of the server's CA certificate, or nothing>`. */
  readonly token: string
  /** CERTCTL_AGENT_NAME, then the host's name, when left out. */
  readonly name?: string
  readonly caBundle?: string
  readonly insecure?: boolean
  readonly env: Env
  readonly clock?: Clock
}

/** The parts of a join token. Fails with `validation`, without repeating it. */
const readToken = (token: string): { pin: string | null } => {
  const [, pin] = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.([0-9a-f]{64}|)$/.exec(token) ?? []
  if (pin === undefined) {
    throw new AppError(
      "validation",
      "token is not a whole join token: copy all of what certctl agents token create printed",
    )
  }
  return { pin: pin === "" ? null : pin }
}

/** Registers this host, writes agent.json and returns what was agreed. Fails with AppError in words that say what to do. */
export const joinAgent = async (options: JoinOptions): Promise<Omit<Identity, "api_key">> => {
  const { server: serverFlag, caBundle, insecure, clock = systemClock } = options
  const env = withFlags(options.env, { server: serverFlag, caBundle, insecure })
  const settings = environmentReader(env, () => undefined)
  const token = options.token.trim()
  const { pin } = readToken(token)
  const configuredTrust = trustIn(env, null)
  const server = serverUrl(
    settings.text("CERTCTL_SERVER_URL") ?? "https://localhost:8443",
    configuredTrust.kind === "none",
  )

  // A token works once: what could fail on this host fails before it is spent.
  const dataDir = dataDirectoryOf(env)
  prepareDataDirectory(dataDir)
  const present = readIdentity(dataDir)
  if (present !== null) {
    throw new AppError(
      "conflict",
      `this host is agent ${present.agent_id} of ${present.server} already: retire it there and remove ${identityPath(dataDir)} to join anew`,
    )
  }

  const isPinned = pin !== null && server.startsWith("https:")
  const trust: Trust = isPinned ? { kind: "pinned", caPem: await pinnedAuthority(server, pin, clock) } : configuredTrust
  const facts = hostFacts()
  const send = httpTransport({ server, apiKey: token, trust, userAgent: `certctl-agent/${version.version}` })
  const answer = await registerAgent(send, {
    name: options.name ?? settings.text("CERTCTL_AGENT_NAME") ?? facts.hostname,
    ...facts,
  }).catch((error) => {
    throw explained(error, server)
  })

  const identity: Identity = {
    server,
    agent_id: answer.id,
    name: answer.name,
    api_key: answer.api_key,
    ca_pem: trust.kind === "pinned" || trust.kind === "extra" ? trust.caPem : null,
    is_ca_pinned: trust.kind === "pinned",
  }
  writeIdentity(dataDir, identity)
  const { api_key: _, ...shown } = identity
  return shown
}

/** The server's words and what helps, for the refusals that people meet. */
const explained = (error: unknown, server: string): unknown => {
  if (!(error instanceof AppError)) return error
  if (error.code === "unauthenticated") {
    return new AppError(
      "unauthenticated",
      `${server} does not accept the token (${error.message}): it was used, has expired or is of another server. Make a new one with certctl agents token create`,
      { cause: error },
    )
  }
  if (error.code === "conflict") {
    return new AppError(
      "conflict",
      `${error.message}: choose another name with --name, or retire the old agent first`,
      {
        cause: error,
      },
    )
  }
  return error
}
