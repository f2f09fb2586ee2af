/**
 * SSH: PEM files on a host without an agent of its own. Files go over SFTP and are swapped in by renames; the host's own commands
 * check and reload. Nothing is installed there.
 */
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import { field, optionalSecret } from "../config"
import { defineTarget, type Material } from "./contract"
import { absolutePath, commandLine, durationSeconds, proofFields, proofSteps, retentionIn } from "./file-target"
import { knownHosts } from "./known-hosts"
import { joinPem } from "./pem-target"
import { type SshLogin, type SshServer, type SshSession, withSsh } from "./ssh.client"
import {
  areInPlace,
  forgetOld,
  isInterrupted,
  keepOld,
  type NewRemoteFile,
  putBack,
  replaceAll,
  resolveAll,
  type Snapshot,
  statusOf,
  tryPlaces,
} from "./ssh.files"

const octal = v.pipe(v.string(), v.regex(/^0[0-7]{3}$/, 'must be four octal digits such as "0644"'))

const roles = ["cert", "key", "chain"]

export const ssh = defineTarget({
  type: "SSH",
  label: "SSH (agentless)",
  isManagedRemotely: true,
  config: v.pipe(
    v.looseObject({
      host: field(
        v.pipe(
          v.string(),
          v.regex(/^[a-zA-Z0-9._-]+$/, "must be a host name or an IPv4 address"),
          v.maxLength(253, "must be at most 253 characters"),
        ),
        "Host",
        "Name or address as the agent reaches it",
      ),
      port: field(
        v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535)), 22),
        "Port",
        "Of the SSH server",
      ),
      user: field(
        v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,63}\$?$/, "must be a user name")),
        "User",
        "Needs write access to the files' folders and the right to run the commands",
      ),
      auth_method: field(
        v.optional(v.picklist(["key", "password", "agent"]), "key"),
        "Login",
        "key, password, or agent for an ssh-agent at the agent's SSH_AUTH_SOCK",
      ),
      private_key_path: field(
        v.optional(absolutePath()),
        "Private key file",
        "On the agent's host; OpenSSH, PKCS#1, SEC1, PKCS#8",
      ),
      private_key: optionalSecret("Private key", "The key itself, in place of a file"),
      passphrase: optionalSecret("Passphrase", "Of the private key"),
      password: optionalSecret("Password", "For auth_method password"),
      cert_path: field(absolutePath(), "Certificate file", "On the remote host"),
      key_path: field(absolutePath(), "Key file", "On the remote host"),
      chain_path: field(
        v.optional(absolutePath()),
        "Chain file",
        "Takes the chain alone; left out, the chain follows the leaf in the certificate file",
      ),
      cert_mode: field(v.optional(octal, "0644"), "Certificate mode", "Of certificate and chain file"),
      key_mode: field(
        v.optional(
          v.pipe(
            octal,
            v.check((mode) => mode.endsWith("0"), "must not let everybody on the host use the key"),
          ),
          "0600",
        ),
        "Key mode",
        "Of the key file",
      ),
      validate_command: field(
        v.optional(commandLine()),
        "Check command",
        "Run on the remote host before the reload, as in nginx -t; left out, nothing is checked",
      ),
      reload_command: field(
        v.optional(commandLine()),
        "Reload command",
        "Run on the remote host once the files are in place; left out, nothing is run",
      ),
      timeout: field(v.optional(durationSeconds, 30), "Time limit", "Of connecting and of every answer, in seconds"),
      host_key_fingerprint: field(
        v.optional(
          v.pipe(v.string(), v.regex(/^SHA256:[A-Za-z0-9+/]{43}=?$/, "must be as ssh-keygen -l prints it: SHA256:…")),
        ),
        "Host key fingerprint",
        "Left out, the key that the host shows first is kept, and another one is refused from then on",
      ),
      ...proofFields,
    }),
    v.check(
      ({ auth_method, private_key, private_key_path }) =>
        auth_method !== "key" || (private_key === undefined) !== (private_key_path === undefined),
      "must give private_key_path or private_key, one of them, for auth_method key",
    ),
    v.check(
      ({ auth_method, password }) => auth_method !== "password" || (password ?? "") !== "",
      "must give password for auth_method password",
    ),
    v.check(
      ({ cert_path, key_path, chain_path }) =>
        cert_path !== key_path && cert_path !== chain_path && key_path !== chain_path,
      "must name a file of its own in each of cert_path, key_path and chain_path",
    ),
  ),
  example: {
    host: "web1.internal",
    user: "deploy",
    private_key_path: "/etc/certctl/ssh/id_ed25519",
    cert_path: "/etc/nginx/tls/site.pem",
    key_path: "/etc/nginx/tls/site.key",
    validate_command: "sudo nginx -t",
    reload_command: "sudo systemctl reload nginx",
    verify_host: "www.example.com",
  },

  connect(config, deps) {
    const address = `${config.host}:${config.port}`
    const server: SshServer = {
      host: config.host,
      port: config.port,
      user: config.user,
      login: loginIn(config),
      hostKeyFingerprint: config.host_key_fingerprint,
      timeoutMs: Math.max(1, config.timeout * 1000),
      knownHosts: knownHosts(deps.stateFolder),
      warn: deps.warn,
    }
    const onHost = <R>(task: (session: SshSession) => Promise<R>) => withSsh(server, task)
    const commands = [
      ["validate_command", config.validate_command],
      ["reload_command", config.reload_command],
    ] as const

    /** Everything back, and the service told so. Fails when a file could not be restored. */
    const goBack = async (session: SshSession, snapshot: Snapshot, hasReloaded: boolean): Promise<void> => {
      const problems = await putBack(session, snapshot)
      if (hasReloaded && config.reload_command !== undefined) {
        await session.execute("reload_command", config.reload_command).catch((error) => {
          // The old files are in place; whether the service took them is what nobody can say now.
          deps.warn(`${address}: the service may not have read the restored files: ${messageOf(error)}`)
        })
      }
      if (problems.length > 0) throw new AppError("upstream", problems.join("; "))
    }

    return {
      plan(material) {
        const planned = filesOf(config, material)
        let snapshot: Snapshot | null = null
        let hasReloaded = false
        let isBack = false

        return {
          address,
          deploymentId: `ssh-${Math.floor(deps.clock.now().getTime() / 1000)}`,
          files: [],
          // Two names of one host are two locks: the server cannot be asked who it is before the connection.
          locks: planned.map(({ path }) => `ssh ${address.toLowerCase()} ${path}`),
          isInPlace: () =>
            onHost(async (session) => {
              const files = await resolveAll(session, planned)
              return !(await isInterrupted(session, files)) && (await areInPlace(session, files))
            }),
          steps: [
            {
              kind: "action",
              name: `the replacement of the files on ${address}`,
              run: () =>
                onHost(async (session) => {
                  const kept = await keepOld(session, await resolveAll(session, planned))
                  snapshot = kept
                  try {
                    await replaceAll(session, kept)
                    for (const [key, command] of commands) {
                      if (command === undefined) continue
                      hasReloaded ||= key === "reload_command"
                      await session.execute(key, command)
                    }
                  } catch (error) {
                    // Over the same connection, since another one may not come about.
                    const problem = await goBack(session, kept, hasReloaded).then(() => {
                      isBack = true
                      return ""
                    }, messageOf)
                    const words = `${messageOf(error)}; ${statusOf(kept, roles)}`
                    throw new AppError("upstream", problem === "" ? words : `${words} (${problem})`, { cause: error })
                  }
                }),
              undo: async () => {
                const kept = snapshot
                if (kept === null || isBack) return
                await onHost((session) => goBack(session, kept, hasReloaded)).catch((error) => {
                  throw new AppError("upstream", `${messageOf(error)}; ${statusOf(kept, roles)}`, { cause: error })
                })
              },
              settle: async () => {
                const kept = snapshot
                if (kept !== null) await onHost((session) => forgetOld(session, kept))
              },
            },
            ...proofSteps(config, true),
          ],
          backupRetention: retentionIn(config.backup_retention),
        }
      },

      check: () =>
        onHost((session) =>
          tryPlaces(session, [
            { key: "cert_path", path: config.cert_path },
            { key: "key_path", path: config.key_path },
            ...(config.chain_path === undefined ? [] : [{ key: "chain_path", path: config.chain_path }]),
          ]),
        ),
    }
  },
})

interface FileConfig {
  readonly cert_path: string
  readonly key_path: string
  readonly chain_path?: string | undefined
  readonly cert_mode: string
  readonly key_mode: string
}

/** The certificate first: its backup is the one that says whether a deployment is final. */
const filesOf = (config: FileConfig, { certPem, chainPem, keyPem }: Material): NewRemoteFile[] => {
  const { cert_path, key_path, chain_path } = config
  const open = { mode: Number.parseInt(config.cert_mode, 8), isKey: false }
  const whole = chain_path === undefined ? joinPem(certPem, chainPem) : joinPem(certPem)
  const keyMode = Number.parseInt(config.key_mode, 8)
  return [
    { role: "cert", path: cert_path, bytes: Buffer.from(whole), ...open },
    { role: "key", path: key_path, bytes: Buffer.from(joinPem(keyPem)), mode: keyMode, isKey: true },
    ...(chain_path === undefined
      ? []
      : [{ role: "chain", path: chain_path, bytes: Buffer.from(joinPem(chainPem)), ...open }]),
  ]
}

interface LoginConfig {
  readonly auth_method: "key" | "password" | "agent"
  readonly private_key?: string | undefined
  readonly private_key_path?: string | undefined
  readonly passphrase?: string | undefined
  readonly password?: string | undefined
}

const loginIn = (config: LoginConfig): SshLogin => {
  switch (config.auth_method) {
    case "password":
      return { method: "password", password: config.password ?? "" }
    case "agent":
      return { method: "agent", socket: process.env.SSH_AUTH_SOCK }
    case "key":
      return {
        method: "key",
        keyPem: config.private_key ?? { path: config.private_key_path ?? "" },
        passphrase: config.passphrase,
      }
  }
}
