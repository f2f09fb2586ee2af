/**
 * One SSH connection: the host's key is checked before anything is told to it, files go over SFTP, commands over exec channels.
 * Every wait has an end.
 */
import { readFile } from "node:fs/promises"
import type { Client, ConnectConfig, ServerHostKeyAlgorithm, SFTPWrapper, Stats } from "ssh2"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import { readPrivateKey } from "../../pki/keys"
import { hostKeyFingerprint, hostKeyType, type KnownHosts, sameKey } from "./known-hosts"

export type SshLogin =
  | {
      readonly method: "key"
      readonly keyPem: string | { readonly path: string }
      readonly passphrase: string | undefined
    }
  | { readonly method: "password"; readonly password: string }
  | { readonly method: "agent"; readonly socket: string | undefined }

export interface SshServer {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly login: SshLogin
  /** `SHA256:…`; left out, the key seen first is the key. */
  readonly hostKeyFingerprint: string | undefined
  /** For the connection with its login, and for every single answer afterwards. */
  readonly timeoutMs: number
  readonly knownHosts: KnownHosts
  warn(message: string): void
}

export interface RemoteFile {
  readonly bytes: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export interface SshSession {
  /** null when there is no such file; any other trouble is an error. */
  read(path: string): Promise<RemoteFile | null>
  /** Creates a file that is private until it is whole, then has the mode; durable where the server can do that. */
  create(path: string, bytes: Uint8Array, mode: number, owner: Pick<RemoteFile, "uid" | "gid"> | null): Promise<void>
  /** Replaces in one step where the server can do that. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** The file that a link leads to; the path itself when it is no link. */
  resolve(path: string): Promise<string>
  isFolder(path: string): Promise<boolean>
  /** Fails with `upstream` and the last 4 KiB of both outputs unless the command ends with code 0. */
  execute(name: string, command: string): Promise<void>
}

/** A certificate and its chain; nothing that is deployed is larger. */
const largestFile = 4 * 1024 * 1024
const longestWords = 4096
const commandLimitMs = 60_000

/** Connects, runs the task and disconnects. */
export const withSsh = async <R>(server: SshServer, task: (session: SshSession) => Promise<R>): Promise<R> => {
  const client = await connect(server)
  // Whatever happens to the connection later fails the call that is waiting for it.
  client.on("error", () => undefined)
  try {
    const limited: Limited = (what, start, limitMs = server.timeoutMs) => answered(client, what, start, limitMs)
    const sftp = await limited<SFTPWrapper>("opening SFTP", (done) => client.sftp(done))
    return await task({ ...filesOver(sftp, limited, server.warn), execute: executeOver(client) })
  } finally {
    client.end()
    // A peer that does not answer the goodbye must not hold the socket.
    setTimeout(() => client.destroy(), 1000).unref()
  }
}

type Done<T> = (error: Error | undefined | null, value: T) => void
type Limited = <T = unknown>(what: string, start: (done: Done<T>) => void, limitMs?: number) => Promise<T>

const answered = <T>(client: Client, what: string, start: (done: Done<T>) => void, limitMs: number): Promise<T> => {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const timer = setTimeout(
    () => reject(new AppError("upstream", `${what}: no answer within ${limitMs / 1000} s`)),
    limitMs,
  )
  const onClose = () => reject(new AppError("upstream", `${what}: the connection was closed`))
  client.once("close", onClose)
  try {
    start((error, value) => {
      if (error) reject(error)
      else resolve(value)
    })
  } catch (error) {
    reject(error)
  }
  return promise.finally(() => {
    clearTimeout(timer)
    client.removeListener("close", onClose)
  })
}

/** RSA keys sign with any of three algorithms. */
const algorithmsOf = (type: string): ServerHostKeyAlgorithm[] =>
  type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"] : [type as ServerHostKeyAlgorithm]

const connect = async (server: SshServer): Promise<Client> => {
  const { host, port, user, timeoutMs, knownHosts } = server
  const address = `${host}:${port}`
  const login = await loginOptions(server.login)
  const { Client } = await import("ssh2")
  const client = new Client()
  const known = server.hostKeyFingerprint === undefined ? knownHosts.find(server) : null
  let refusal: AppError | null = null

  const isTrusted = (key: Buffer): boolean => {
    const seen = `${hostKeyType(key)} ${hostKeyFingerprint(key)}`
    if (server.hostKeyFingerprint !== undefined) {
      if (hostKeyFingerprint(key) === server.hostKeyFingerprint.replace(/=+$/, "")) return true
      refusal = new AppError("upstream", `${address} has the host key ${seen}, not that of host_key_fingerprint`)
      return false
    }
    if (known !== null) {
      if (sameKey(known, key)) return true
      const words = `${address} has changed its host key: it was ${hostKeyFingerprint(known)} and is ${seen}`
      refusal = new AppError("upstream", `${words}; if that is right, remove its line from ${knownHosts.path}`)
      return false
    }
    try {
      knownHosts.pin(server, key)
    } catch (error) {
      refusal = new AppError("upstream", `the host key of ${address} cannot be kept: ${messageOf(error)}`)
      return false
    }
    server.warn(`${address} was never seen before: its host key ${seen} is trusted from now on`)
    return true
  }

  const { promise, resolve, reject } = Promise.withResolvers<Client>()
  // Covers the name lookup too; the library's own limit begins with the connection.
  const timer = setTimeout(
    () => reject(new AppError("upstream", `${address}: no login within ${timeoutMs / 1000} s`)),
    timeoutMs,
  )
  client.once("ready", () => resolve(client))
  client.on("error", (error) => reject(refusal ?? loginProblem(error, server)))
  client.once("close", () => reject(refusal ?? new AppError("upstream", `${address} closed the connection`)))
  if (server.login.method === "password") {
    const { password } = server.login
    // What PAM asks in place of the plain password method. Anything but one hidden question is not for us.
    client.on("keyboard-interactive", (_name, _instructions, _lang, prompts, answer) =>
      answer(prompts.length === 1 && prompts[0]?.echo === false ? [password] : []),
    )
  }
  try {
    client.connect({
      host,
      port,
      username: user,
      readyTimeout: timeoutMs,
      keepaliveInterval: 10_000,
      hostVerifier: isTrusted,
      ...(known === null ? {} : { algorithms: { serverHostKey: algorithmsOf(hostKeyType(known)) } }),
      ...login,
    })
    return await promise
  } catch (error) {
    client.destroy()
    throw error instanceof AppError ? error : new AppError("upstream", `${address}: ${messageOf(error)}`)
  } finally {
    clearTimeout(timer)
  }
}

const loginProblem = (error: Error, { host, port, user, login }: SshServer): AppError => {
  const isRefused = "level" in error && error.level === "client-authentication"
  const words = isRefused ? `refused the login of ${user} by ${login.method}` : messageOf(error)
  return new AppError("upstream", `${host}:${port}${isRefused ? " " : ": "}${words}`)
}

const loginOptions = async (login: SshLogin): Promise<Partial<ConnectConfig>> => {
  switch (login.method) {
    case "password":
      return { password: login.password, tryKeyboard: true, authHandler: ["password", "keyboard-interactive"] }
    case "agent":
      if (login.socket === undefined) {
        throw new AppError("validation", "auth_method agent needs SSH_AUTH_SOCK in the environment of certctl's agent")
      }
      return { agent: login.socket, authHandler: ["agent"] }
    case "key": {
      const key = typeof login.keyPem === "string" ? "private_key" : "private_key_path"
      const text =
        typeof login.keyPem === "string"
          ? login.keyPem
          : await readFile(login.keyPem.path, "utf8").catch((error) => {
              throw new AppError("validation", `private_key_path: ${messageOf(error)}`, { cause: error })
            })
      return { ...(await usableKey(key, text, login.passphrase)), authHandler: ["publickey"] }
    }
  }
}

/** The key in a form that the library reads: it knows OpenSSH's, PKCS#1 and SEC1, but not PKCS#8. Fails with `validation`. */
const usableKey = async (
  name: string,
  text: string,
  passphrase: string | undefined,
): Promise<Pick<ConnectConfig, "privateKey" | "passphrase">> => {
  if (/-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/.test(text)) {
    const key = readPrivateKey(text, passphrase)
    if (key.asymmetricKeyType === "ed25519") {
      throw new AppError("validation", `${name}: an Ed25519 key must be in OpenSSH's form, as ssh-keygen writes it`)
    }
    const type = key.asymmetricKeyType === "rsa" ? "pkcs1" : "sec1"
    return { privateKey: key.export({ type, format: "pem" }).toString() }
  }
  const { utils } = await import("ssh2")
  const parsed = utils.parseKey(`${text.trim()}\n`, passphrase)
  if (!(parsed instanceof Error)) {
    const [first] = Array.isArray(parsed) ? parsed : [parsed]
    if (first?.isPrivateKey() !== true) throw new AppError("validation", `${name} holds no private key`)
    return { privateKey: text, ...(passphrase === undefined ? {} : { passphrase }) }
  }
  const words = /passphrase|decrypt|bad key data|integrity/i.test(parsed.message)
    ? passphrase === undefined
      ? "is encrypted and needs a passphrase"
      : "could not be decrypted: wrong passphrase"
    : "is no private key that can be read"
  throw new AppError("validation", `${name} ${words}`)
}

/** SFTP's own code for it (draft-ietf-secsh-filexfer-02 section 7). */
const noSuchFile = 2
const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === noSuchFile

/** What OpenSSH answers for every trouble that has no code of its own: a full disk, a read-only file system. */
const generalFailure = 4
const isGeneral = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === generalFailure

/** The answer to statvfs@openssh.com, as far as it explains why a file cannot be written. */
const FileSystem = v.object({ f_bavail: v.number(), f_flag: v.number() })
const readOnlyFlag = 1

/** Said by the library where the server did not offer the request, else by the server. */
const isUnsupported = (error: unknown): boolean => /not support|unsupported/i.test(messageOf(error))

const filesOver = (
  sftp: SFTPWrapper,
  limited: Limited,
  warn: (message: string) => void,
): Omit<SshSession, "execute"> => {
  const named = async <R>(what: string, task: () => Promise<R>): Promise<R> => {
    try {
      return await task()
    } catch (error) {
      if (isMissing(error)) throw error
      throw error instanceof AppError
        ? error
        : new AppError("upstream", `${what}: ${messageOf(error)}`, { cause: error })
    }
  }
  const statOf = (path: string) => limited<Stats>(`looking at ${path}`, (done) => sftp.stat(path, done))
  const close = (handle: Buffer) =>
    limited("closing a file", (done) => sftp.close(handle, (error) => done(error, undefined)))
  const missingIsNull = (error: unknown): null => {
    if (isMissing(error)) return null
    throw error
  }
  /** The reason that the server kept to itself, where the file system at fault gives it away; else "". */
  const reasonAt = async (path: string): Promise<string> => {
    const folder = path.slice(0, path.lastIndexOf("/")) || "/"
    const answer = await limited<unknown>(`looking at ${folder}`, (done) =>
      sftp.ext_openssh_statvfs(folder, done),
    ).catch(() => null)
    if (!v.is(FileSystem, answer)) return ""
    if ((answer.f_flag & readOnlyFlag) !== 0) return ` (the file system of ${folder} is read-only)`
    return answer.f_bavail === 0 ? ` (the file system of ${folder} has no space left)` : ""
  }
  const writing = <R>(what: string, path: string, task: () => Promise<R>): Promise<R> =>
    named(what, () =>
      task().catch(async (error) => {
        const reason = isGeneral(error) ? await reasonAt(path) : ""
        throw reason === ""
          ? error
          : new AppError("upstream", `${what}: ${messageOf(error)}${reason}`, { cause: error })
      }),
    )
  const remove = (path: string) =>
    limited(`removing ${path}`, (done) => sftp.unlink(path, (error) => done(error, undefined)))

  return {
    read: (path) =>
      named(`reading ${path}`, async () => {
        const facts = await statOf(path).catch(missingIsNull)
        if (facts === null) return null
        if (!facts.isFile()) throw new AppError("upstream", `${path} is not a regular file`)
        if (facts.size > largestFile) throw new AppError("upstream", `${path} is larger than ${largestFile} bytes`)
        const bytes = await limited<Buffer>(`reading ${path}`, (done) => sftp.readFile(path, done))
        return { bytes, mode: facts.mode & 0o7777, uid: facts.uid, gid: facts.gid }
      }),

    create: (path, bytes, mode, owner) =>
      writing(`writing ${path}`, path, async () => {
        await remove(path).catch(missingIsNull)
        const handle = await limited<Buffer>(`creating ${path}`, (done) => sftp.open(path, "wx", 0o600, done))
        try {
          const content = Buffer.from(bytes)
          if (content.length > 0) {
            await limited(`writing ${path}`, (done) =>
              sftp.write(handle, content, 0, content.length, 0, (error) => done(error, undefined)),
            )
          }
          if (owner !== null) {
            const made = await limited<Stats>(`looking at ${path}`, (done) => sftp.fstat(handle, done))
            if (made.uid !== owner.uid || made.gid !== owner.gid) {
              await limited(`giving ${path} to its owner`, (done) =>
                sftp.fchown(handle, owner.uid, owner.gid, (error) => done(error, undefined)),
              ).catch((error) =>
                warn(`${path}: owner ${owner.uid}:${owner.gid} of the old file was not kept: ${messageOf(error)}`),
              )
            }
          }
          await limited(`setting the mode of ${path}`, (done) =>
            sftp.fchmod(handle, mode, (error) => done(error, undefined)),
          )
          await limited(`syncing ${path}`, (done) => sftp.ext_openssh_fsync(handle, done)).catch((error) => {
            // Only OpenSSH has it; a server that fails to do it has a disk problem.
            if (!isUnsupported(error)) throw error
          })
        } finally {
          await close(handle)
        }
      }).catch(async (error) => {
        throw isMissing(error)
          ? new AppError("upstream", `${path} cannot be created: its folder does not exist`)
          : error
      }),

    rename: (from, to) =>
      writing(`replacing ${to}`, to, async () => {
        const posix = await limited<boolean>(`replacing ${to}`, (done) => {
          sftp.ext_openssh_rename(from, to, (error) => done(error as Error | undefined, true))
        }).catch((error) => {
          if (isUnsupported(error)) return false
          throw error
        })
        if (posix) return
        // SFTP's own rename replaces nothing. The backup beside the file covers the moment without one.
        await remove(to).catch(missingIsNull)
        await limited(`replacing ${to}`, (done) => sftp.rename(from, to, (error) => done(error, undefined)))
      }),

    remove: (path) => named(`removing ${path}`, async () => void (await remove(path).catch(missingIsNull))),

    resolve: (path) =>
      named(`looking at ${path}`, async () => {
        const facts = await limited<Stats>(`looking at ${path}`, (done) => sftp.lstat(path, done)).catch(missingIsNull)
        if (facts?.isSymbolicLink() !== true) return path
        return limited<string>(`following ${path}`, (done) => sftp.realpath(path, done))
      }),

    isFolder: (path) =>
      named(`looking at ${path}`, async () => (await statOf(path).catch(missingIsNull))?.isDirectory() === true),
  }
}

const executeOver =
  (client: Client): SshSession["execute"] =>
  async (name, command) => {
    const tails = { stdout: "", stderr: "" }
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const onClose = () => resolve("was cut off with the connection")
    client.once("close", onClose)
    const timer = setTimeout(() => resolve(`did not end within ${commandLimitMs / 1000} s`), commandLimitMs)
    client.exec(command, (error, channel) => {
      if (error) {
        reject(new AppError("upstream", `${name} could not be started: ${messageOf(error)}`))
        return
      }
      let ending = ""
      channel.on("data", (chunk: Buffer) => {
        tails.stdout = (tails.stdout + chunk.toString("utf8")).slice(-longestWords)
      })
      channel.stderr.on("data", (chunk: Buffer) => {
        tails.stderr = (tails.stderr + chunk.toString("utf8")).slice(-longestWords)
      })
      channel.on("exit", (code: number | null, signal?: string) => {
        ending = code === 0 ? "ok" : code === null ? `was ended by ${signal}` : `ended with code ${code}`
      })
      channel.on("close", () => resolve(ending === "" ? "ended without saying how" : ending))
      channel.end()
    })
    try {
      const ending = await promise
      if (ending === "ok") return
      const room = longestWords - tails.stderr.length
      const words = `${room > 0 ? tails.stdout.slice(-room) : ""}${tails.stderr}`.trim()
      throw new AppError("upstream", `${name} (${command}) ${ending}${words === "" ? "" : `: ${words}`}`)
    } finally {
      clearTimeout(timer)
      client.removeListener("close", onClose)
    }
  }
