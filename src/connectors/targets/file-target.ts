/**
 * What the targets that write PEM files share: the configuration keys for modes, owners, the proof on the wire and backups,
 * and their way into a plan.
 */
import * as v from "valibot"
import { commandProblem } from "../command"
import { field } from "../config"
import { startTlsProtocols } from "../probe"
import type { PlannedFile, PlanStep } from "./contract"
import { endpointIn } from "./endpoint"

const longestPath = 4096
/** Leaves room for what backups add to a name, which a file system limits to 255 bytes. */
const longestName = 200

/** An absolute path without `..`: what is checked is what is written. */
export const absolutePath = () =>
  v.pipe(
    absoluteFolder(),
    v.check((path) => !path.endsWith("/"), "must name a file, not a folder"),
  )

/** A path that may be left empty, which is to leave it out. */
export const pathOrNone = () =>
  v.pipe(
    v.union([v.literal(""), absolutePath()]),
    v.transform((path) => (path === "" ? undefined : path)),
  )

/** A folder, with or without a slash at its end. */
export const absoluteFolder = () =>
  v.pipe(
    v.string(),
    v.startsWith("/", "must be an absolute path"),
    v.check((path) => !path.includes("\0"), "must not contain NUL"),
    v.check((path) => !path.split("/").includes(".."), "must not contain .. segments"),
    v.check((path) => Buffer.byteLength(path) <= longestPath, `must be at most ${longestPath} bytes`),
  )

/** A file's name inside a folder that another key names. */
export const fileName = () =>
  v.pipe(
    v.string(),
    v.nonEmpty("must not be empty"),
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    v.regex(/^[^/\\\u0000-\u001f\u007f]*$/, "must be a file name without separators and control characters"),
    v.check((name) => name !== "." && name !== "..", "must name a file"),
    v.check((name) => Buffer.byteLength(name) <= longestName, `must be at most ${longestName} bytes`),
  )

/** A program and its arguments; the rules are those of the runner, so a bad one is refused before it reaches an agent. */
export const commandLine = () =>
  v.pipe(
    v.string(),
    v.rawCheck(({ dataset, addIssue }) => {
      const problem = dataset.typed ? commandProblem(dataset.value) : null
      if (problem !== null) addIssue({ message: problem })
    }),
  )

const fileMode = v.pipe(
  v.union([v.string(), v.number()]),
  v.check((mode) => !Number.isNaN(modeOf(mode)), 'must be a file mode such as "0640"'),
)

/** `"0640"` or 416. */
const modeOf = (mode: string | number): number => {
  const number = typeof mode === "number" ? mode : /^0?[0-7]{3}$/.test(mode) ? Number.parseInt(mode, 8) : Number.NaN
  return Number.isInteger(number) && number >= 0 && number <= 0o777 ? number : Number.NaN
}

const account = v.union([
  v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/, "must be a user or group name or a number")),
  v.pipe(v.number(), v.integer(), v.minValue(0)),
])

const ownerWords = "Name or number; owner and group are given together"

const keyMode = v.pipe(
  fileMode,
  v.check((mode) => (modeOf(mode) & 0o007) === 0, "must not let everybody on the host use the key"),
)
const openModeWords = 'Octal, as in "0644"; else that of the replaced file'
const keyModeWords = 'Octal, as in "0600"; else that of the replaced file'

/** The mode and owner keys of a certificate file. */
export const certFileFields = {
  cert_file_mode: field(v.optional(fileMode), "Certificate mode", openModeWords),
  cert_file_owner: field(v.optional(account), "Certificate owner", ownerWords),
  cert_file_group: field(v.optional(account), "Certificate group", ownerWords),
}

/** Those of a file with the rest of the chain. */
export const chainFileFields = {
  chain_file_mode: field(v.optional(fileMode), "Chain mode", openModeWords),
  chain_file_owner: field(v.optional(account), "Chain owner", ownerWords),
  chain_file_group: field(v.optional(account), "Chain group", ownerWords),
}

/** Those of a key file. */
export const keyFileFields = {
  key_file_mode: field(v.optional(keyMode), "Key mode", keyModeWords),
  key_file_owner: field(v.optional(account), "Key owner", ownerWords),
  key_file_group: field(v.optional(account), "Key group", ownerWords),
}

/** Those of one file that holds everything, the key included. */
export const pemFileFields = {
  pem_file_mode: field(v.optional(keyMode), "File mode", keyModeWords),
  pem_file_owner: field(v.optional(account), "File owner", ownerWords),
  pem_file_group: field(v.optional(account), "File group", ownerWords),
}

const seconds = (smallest: number) => v.pipe(v.number(), v.minValue(smallest, `must be at least ${smallest} seconds`))
/** `"10s"`, `"500ms"`, `"2m"` or a number of seconds, as seconds. */
export const durationSeconds = v.pipe(
  v.union([
    v.number(),
    v.pipe(
      v.string(),
      v.regex(/^\d+(\.\d+)?(ms|s|m|h)$/, 'must be a duration such as "10s"'),
      v.transform((text) => Number.parseFloat(text) * unitSeconds(text)),
    ),
  ]),
  seconds(0),
)
const unitSeconds = (text: string): number =>
  text.endsWith("ms") ? 0.001 : text.endsWith("h") ? 3600 : text.endsWith("m") ? 60 : 1

/** The key `post_deploy_verify_attempts`; products that take their time get more of them. */
export const proofAttempts = (usual: number) =>
  field(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(20)), usual),
    "Proof attempts",
    "How often the endpoint is asked before the old files come back",
  )

/** The keys that say where the new certificate must be seen, and how patiently. */
export const proofFields = {
  post_deploy_verify: field(
    v.optional(
      v.object({
        enabled: v.optional(v.boolean(), true),
        endpoint: v.optional(v.string()),
        timeout: v.optional(durationSeconds, 10),
        server_name: v.optional(v.string()),
        starttls: v.optional(v.picklist(startTlsProtocols)),
      }),
    ),
    "Proof on the wire",
    'After the reload this endpoint must serve the new certificate: {"endpoint": "host:port", "timeout": "10s", "server_name": "", "starttls": "smtp"}',
  ),
  post_deploy_verify_attempts: proofAttempts(3),
  post_deploy_verify_backoff: field(v.optional(durationSeconds, 1), "Proof wait", "Wait between attempts, doubling"),
  post_deploy_verify_max_backoff: field(
    v.optional(durationSeconds, 16),
    "Longest proof wait",
    "The longest of those waits",
  ),
  verify_host: field(v.optional(v.string()), "Verify host", "Host that serves the certificate"),
  verify_port: field(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535))),
    "Verify port",
    "Its port; when left out 443, with verify_starttls the protocol's own (25, 143, 110, 389, 5432)",
  ),
  verify_server_name: field(v.optional(v.string()), "Verify server name", "SNI, when it is not the host's name"),
  verify_starttls: field(
    v.optional(v.picklist(startTlsProtocols)),
    "Verify STARTTLS",
    `Protocol spoken before TLS begins: ${startTlsProtocols.join(", ")}; left out, TLS begins at once`,
  ),
  backup_retention: field(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(-1), v.maxValue(100))),
    "Backups kept",
    "Previous files kept beside each file; 0 means the agent's default (3), -1 none",
  ),
}

export interface ProofConfig {
  readonly post_deploy_verify?: { readonly enabled: boolean; readonly timeout: number } | undefined
  readonly post_deploy_verify_attempts: number
  readonly post_deploy_verify_backoff: number
  readonly post_deploy_verify_max_backoff: number
}

/** The probe step, where the configuration names an endpoint and does not switch the proof off. */
export const proofSteps = (
  config: ProofConfig & Readonly<Record<string, unknown>>,
  isManagedRemotely = false,
): PlanStep[] => {
  const endpoint = endpointIn(config, isManagedRemotely)
  if (endpoint === null || config.post_deploy_verify?.enabled === false) return []
  return [
    {
      kind: "probe",
      endpoint: {
        ...endpoint,
        timeoutMs: (config.post_deploy_verify?.timeout ?? 10) * 1000,
        attempts: config.post_deploy_verify_attempts,
        backoffMs: config.post_deploy_verify_backoff * 1000,
        maxBackoffMs: config.post_deploy_verify_max_backoff * 1000,
      },
    },
  ]
}

/** `backup_retention` in the engine's terms: undefined is the agent's default, 0 keeps none. */
export const retentionIn = (configured: number | undefined): number | undefined =>
  configured === undefined || configured === 0 ? undefined : Math.max(0, configured)

/** The mode and owner an operator asked for, ready to spread into a planned file. */
export const placement = (
  mode: string | number | undefined,
  user: string | number | undefined,
  group: string | number | undefined,
): Pick<PlannedFile, "mode" | "owner"> => ({
  ...(mode === undefined ? {} : { mode: modeOf(mode) }),
  ...(user === undefined || group === undefined ? {} : { owner: { user: String(user), group: String(group) } }),
})

/** Whether owner and group of every file come together. Pipe it onto the whole configuration object with the words below. */
export const ownersAreComplete = (config: Readonly<Record<string, unknown>>): boolean =>
  ["cert", "chain", "key", "pem"].every(
    (file) => (config[`${file}_file_owner`] === undefined) === (config[`${file}_file_group`] === undefined),
  )

export const ownersIncomplete = "must give the owner and the group of a file together"
