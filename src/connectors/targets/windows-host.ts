/**
 * What IIS and WinCertStore share: the keys that say on which Windows host they are, the way there, and the certificate as it
 * travels: a PFX with a random password, both as values of a script's input.
 */
import { createHash, randomBytes } from "node:crypto"
import * as v from "valibot"
import { AppError } from "../../errors"
import { pkcs12KeyStore } from "../../pki/pkcs12-key-store"
import { field } from "../config"
import { localPowerShell, type PowerShellHost, ScriptFailure } from "../powershell"
import { winRmHost } from "../winrm.client"
import type { Material, PlannedAction, TargetDeps } from "./contract"

/** Names of sites, stores and certificates: nothing that means something in a path, a wildcard or a script. */
export const windowsName = (longest = 256) =>
  v.pipe(
    v.string(),
    v.nonEmpty("must not be empty"),
    v.maxLength(longest, `must be at most ${longest} characters`),
    v.regex(/^[a-zA-Z0-9 _.-]+$/, "must be letters, digits, blanks and . _ - only"),
    v.check(
      (name) => name.trim() === name && !/^\.+$/.test(name),
      "must not begin or end with a blank or be dots alone",
    ),
  )

export const portNumber = () =>
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1, "must be a port from 1 to 65535"),
    v.maxValue(65535, "must be a port from 1 to 65535"),
  )

/** `"60s"`, `"2m"`, or a number of seconds, as seconds. */
const wholeSeconds = (smallest: number, longest: number) =>
  v.pipe(
    v.union([
      v.number(),
      v.pipe(
        v.string(),
        v.regex(/^\d{1,6}[sm]$/, 'must be a duration such as "60s"'),
        v.transform((text) => Number.parseInt(text, 10) * (text.endsWith("m") ? 60 : 1)),
      ),
    ]),
    v.minValue(smallest, `must be at least ${smallest} seconds`),
    v.maxValue(longest, `must be at most ${longest} seconds`),
  )

export const modeFields = {
  mode: field(
    v.optional(v.picklist(["local", "winrm"]), "local"),
    "Mode",
    "local: the agent runs on this Windows host; winrm: on another machine that reaches it",
  ),
  exec_deadline: field(
    v.optional(wholeSeconds(1, 3600), 60),
    "Deadline",
    'How long one PowerShell run may take, as in "60s"',
  ),
  pfx_legacy: field(
    v.optional(v.boolean(), false),
    "Old PFX encryption",
    "3DES and SHA-1 in place of AES-256: for Windows Server 2016 and older",
  ),
}

/** Host names, IPv4 and IPv6 literals; nothing that could end the authority of a URL or a header line. */
const winRmHostName = v.pipe(
  v.string(),
  v.maxLength(253, "must be at most 253 characters"),
  v.regex(
    /^([a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*|\[[0-9a-fA-F:]*:[0-9a-fA-F:.]*\])$/,
    "must be a host name or an IP address",
  ),
)

const withoutControls = (longest: number) =>
  v.pipe(
    v.string(),
    v.nonEmpty("must not be empty"),
    v.maxLength(longest, `must be at most ${longest} characters`),
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    v.regex(/^[^\u0000-\u001f\u007f]*$/, "must not contain control characters"),
  )

/** The keys of the way by WinRM; `password` is left to each connector, which declares it as its family of keys does. */
export const winRmFields = {
  winrm_host: winRmHostName,
  winrm_port: portNumber(),
  winrm_username: withoutControls(256),
  winrm_password: withoutControls(512),
  // A Receive waits at the host for a part of it.
  winrm_timeout: wholeSeconds(5, 600),
}

export const winRmWords = {
  host: ["WinRM host", "Name or address of the Windows host"],
  port: ["WinRM port", "5986 with HTTPS, 5985 without"],
  username: ["WinRM user", "Local administrator, as in administrator or DOMAIN\\user"],
  password: ["WinRM password", "Of that user"],
  https: ["WinRM by HTTPS", "Without it NTLM encrypts the messages; Basic is refused then"],
  insecure: ["Any WinRM certificate", "Does not check the host's TLS certificate; every deployment warns"],
  timeout: ["WinRM time-out", "How long one answer may take, in seconds"],
} as const

export interface WinRmConfig {
  readonly host: string
  readonly port: number | undefined
  readonly username: string
  readonly password: string
  readonly https: boolean
  readonly insecure: boolean
  readonly timeoutSeconds: number
}

/** The host that scripts run on. Null means this one. */
export const powerShellHost = (winRm: WinRmConfig | null, deps: TargetDeps): PowerShellHost => {
  if (winRm === null) return localPowerShell(deps.start)
  const { host, port, username, password, https, insecure, timeoutSeconds } = winRm
  return winRmHost({
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: port ?? (https ? 5986 : 5985),
    isHttps: https,
    isAnyCertificateGood: insecure,
    username,
    password,
    timeoutMs: timeoutSeconds * 1000,
    clock: deps.clock,
  })
}

/** SHA-1 of the leaf's DER in upper-case hex, what Windows calls a certificate by. */
export const thumbprintOf = (certPem: string): string => {
  const body = /-----BEGIN CERTIFICATE-----([^-]*)-----END/.exec(certPem)?.[1] ?? ""
  return createHash("sha1").update(Buffer.from(body, "base64")).digest("hex").toUpperCase()
}

/** The two values of a script's input that hold the certificate and its key. */
export const pfxInput = (
  { keyPem, certPem, chainPem }: Material,
  legacy: boolean,
): { pfx: string; pfx_password: string } => {
  const password = randomBytes(24).toString("base64url")
  return {
    pfx: pkcs12KeyStore({ keyPem, certPem, chainPem, password, legacy }).toString("base64"),
    pfx_password: password,
  }
}

/** The answer of a script that has nothing to tell. */
export const Done = v.object({ ok: v.literal(true) })

/**
 * One PowerShell run that changes something, as an action of a plan. `before` is what the look before it saw. A script that failed
 * has gone back by itself, or says that it could not; a run whose end nobody saw is gone back from here.
 */
export const scriptedAction = <Before>(action: {
  name: string
  before(): Before
  deploy(): Promise<unknown>
  restore(before: Before): Promise<unknown>
  settle?(): Promise<void>
}): PlannedAction => {
  let problem: unknown = null
  return {
    kind: "action",
    name: action.name,
    async run() {
      problem = null
      try {
        await action.deploy()
      } catch (error) {
        problem = error
        throw error
      }
    },
    async undo() {
      if (problem instanceof ScriptFailure) {
        if (problem.state === "left") throw new AppError("upstream", "what the run changed is still there")
        return
      }
      await action.restore(action.before())
    },
    ...(action.settle === undefined ? {} : { settle: action.settle }),
  }
}
