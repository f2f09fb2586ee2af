/**
 * Runs programs on Windows hosts through WinRM: WS-Management with its shell ([MS-WSMV]) as SOAP 1.2 over HTTP. Over HTTPS the
 * login is NTLM, or Basic where the host offers nothing better; over HTTP it is NTLM and every message is sealed, for the key of
 * a certificate is in them.
 */
import { randomUUID } from "node:crypto"
import { isIP } from "node:net"
import type { Clock } from "../clock"
import { AppError, messageOf } from "../errors"
import { channelBindings, type NtlmSession, ntlmAuthenticate, ntlmNegotiate } from "./ntlm"
import type { PowerShellHost, ShellCall } from "./powershell"
import { type Answer, openConnection, type SingleConnection } from "./single-connection"
import { escapeXml, readXml, type XmlElement, xmlElements } from "./xml.reader"

export interface WinRmOptions {
  readonly host: string
  readonly port: number
  readonly isHttps: boolean
  readonly isAnyCertificateGood: boolean
  readonly username: string
  readonly password: string
  /** For the connection and for each answer. */
  readonly timeoutMs: number
  readonly clock: Clock
}

const path = "/wsman"
const soapType = "application/soap+xml;charset=UTF-8"

/** Sends one SOAP message and resolves with the answer's. */
type Exchange = (message: string) => Promise<{ status: number; text: string }>

export const winRmHost = (options: WinRmOptions): PowerShellHost => {
  const { host, port, isHttps, timeoutMs } = options
  const address = `${isHttps ? "https" : "http"}://${isIP(host) === 6 ? `[${host}]` : host}:${port}${path}`
  return {
    place: `${host}:${port}`,
    async run(call) {
      // A Receive must be over before we give up waiting for its answer.
      const seconds = Math.max(
        1,
        Math.min(longestReceiveSeconds, Math.floor(timeoutMs / 2000), Math.ceil(call.timeoutMs / 1000)),
      )
      const enter = async <R>(work: (ask: Ask) => Promise<R>): Promise<R> => {
        const connection = await openConnection({ ...options, isTls: isHttps })
        try {
          return await work(asking(address, seconds, await login(options, connection)))
        } finally {
          connection.close()
        }
      }
      try {
        return await enter(async (ask) => {
          const shellId = await createShell(ask)
          try {
            return await runCommand(ask, shellId, call)
          } finally {
            // Ends what may still run in it, on another connection where this one broke. A shell that stays is closed by the
            // host itself after two hours; what the run came to is what counts.
            await deleteShell(ask, shellId)
              .catch(() => enter((again) => deleteShell(again, shellId)))
              .catch(() => null)
          }
        })
      } catch (error) {
        throw new AppError("upstream", `WinRM ${host}:${port}: ${messageOf(error)}`, { cause: error })
      }
    },
  }
}

const challengesIn = ({ headers }: Answer): string[] => [...(headers.get("www-authenticate") ?? [])]

const login = async (options: WinRmOptions, connection: SingleConnection): Promise<Exchange> => {
  const { isHttps, username, password, clock } = options
  const nothing = Buffer.alloc(0)
  const first = await connection.post(path, { "Content-Type": soapType }, nothing)
  if (first.status !== 401)
    throw new AppError("upstream", `it asks for no login (HTTP ${first.status}), so this is not WinRM`)
  const offers = challengesIn(first).map((offer) => offer.split(" ")[0]?.toLowerCase())
  // Windows takes bare NTLM messages under the name Negotiate too.
  const scheme = offers.includes("negotiate") ? "Negotiate" : offers.includes("ntlm") ? "NTLM" : null
  const loginRefused = new AppError(
    "upstream",
    "the login was refused: wrong winrm_username or winrm_password, or an account that may not use WinRM",
  )

  if (scheme === null) {
    if (!offers.includes("basic"))
      throw new AppError("upstream", `it offers no login known here (${offers.join(", ")})`)
    if (!isHttps) {
      throw new AppError(
        "upstream",
        "it offers Basic only, which over HTTP would send the password and the key in clear: use winrm_https, or enable Negotiate on the host",
      )
    }
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`
    return async (message) => {
      const answer = await connection.post(
        path,
        { "Content-Type": soapType, Authorization: authorization },
        Buffer.from(message),
      )
      if (answer.status === 401) throw loginRefused
      return { status: answer.status, text: answer.body.toString("utf8") }
    }
  }

  const negotiate = ntlmNegotiate()
  const say = (token: Buffer) =>
    connection.post(path, { "Content-Type": soapType, Authorization: `${scheme} ${token.toString("base64")}` }, nothing)
  const challenged = await say(negotiate)
  const token = challengesIn(challenged)
    .find((offer) => offer.startsWith(`${scheme} `))
    ?.slice(scheme.length + 1)
  if (challenged.status !== 401 || token === undefined)
    throw new AppError("upstream", "it does not answer NTLM with a challenge")
  const { message, session } = ntlmAuthenticate(negotiate, Buffer.from(token, "base64"), {
    username,
    password,
    now: clock.now(),
    channelBindings: connection.peerCertificate === null ? null : channelBindings(connection.peerCertificate),
  })
  const accepted = await say(message)
  if (accepted.status === 401) throw loginRefused
  if (accepted.status !== 200) throw new AppError("upstream", `the login ended with HTTP ${accepted.status}`)

  return async (text) => {
    const answer = isHttps
      ? await connection.post(path, { "Content-Type": soapType }, Buffer.from(text))
      : await connection.post(path, { "Content-Type": sealedType }, sealed(session, Buffer.from(text)))
    if (answer.status === 401) throw loginRefused
    if (isHttps) return { status: answer.status, text: answer.body.toString("utf8") }
    return { status: answer.status, text: unsealed(session, answer).toString("utf8") }
  }
}

/** [MS-WSMV] 2.2.9.1. Windows compares this header and the boundary as text. */
const sealedProtocol = "application/HTTP-SPNEGO-session-encrypted"
const sealedType = `multipart/encrypted;protocol="${sealedProtocol}";boundary="Encrypted Boundary"`
const boundary = "--Encrypted Boundary"

const sealed = (session: NtlmSession, message: Buffer): Buffer => {
  const { signature, sealed: bytes } = session.seal(message)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(signature.length)
  return Buffer.concat([
    Buffer.from(
      `${boundary}\r\n\tContent-Type: ${sealedProtocol}\r\n\tOriginalContent: type=${soapType};Length=${message.length}\r\n` +
        `${boundary}\r\n\tContent-Type: application/octet-stream\r\n`,
      "latin1",
    ),
    length,
    signature,
    bytes,
    Buffer.from(`${boundary}--\r\n`, "latin1"),
  ])
}

const unsealed = (session: NtlmSession, { status, headers, body }: Answer): Buffer => {
  if (body.length === 0) return body
  if (!(headers.get("content-type")?.[0] ?? "").startsWith("multipart/encrypted")) {
    throw new AppError("upstream", `it answered HTTP ${status} without sealing the message`)
  }
  // The sealed bytes may look like anything, a boundary included: only lengths say where they end.
  const head =
    /^--Encrypted Boundary\r\n[\s\S]*?Length=(\d{1,8})\r\n--Encrypted Boundary\r\n\t?Content-Type: application\/octet-stream\r\n/i
  const match = head.exec(body.subarray(0, 1024).toString("latin1"))
  const start = match?.[0].length ?? 0
  const length = Number(match?.[1])
  if (match === null || body.length < start + 4 + 16 + length || body.readUInt32LE(start) !== 16) {
    throw new AppError("upstream", "its sealed answer cannot be read")
  }
  const at = start + 4
  return session.unseal({
    signature: body.subarray(at, at + 16),
    sealed: body.subarray(at + 16, at + 16 + length),
  })
}

const shellUri = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
const transferUri = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
const longestReceiveSeconds = 20
/** ERROR_WSMAN_OPERATION_TIMEDOUT: nothing was printed for as long as a Receive waits. Ask again. */
const operationTimedOut = "2150858793"

interface Operation {
  readonly action: string
  readonly body: string
  readonly shellId?: string
  readonly options?: Readonly<Record<string, string>>
}

const envelope = (address: string, seconds: number, { action, body, shellId, options = {} }: Operation): string => {
  const optionSet = Object.entries(options).map(([name, value]) => `<w:Option Name="${name}">${value}</w:Option>`)
  const selector =
    shellId === undefined
      ? ""
      : `<w:SelectorSet><w:Selector Name="ShellId">${escapeXml(shellId)}</w:Selector></w:SelectorSet>`
  return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd" xmlns:rsp="${shellUri}"><s:Header><a:To>${escapeXml(address)}</a:To><a:ReplyTo><a:Address s:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo><w:MaxEnvelopeSize s:mustUnderstand="true">153600</w:MaxEnvelopeSize><a:MessageID>uuid:${randomUUID()}</a:MessageID><w:Locale s:mustUnderstand="false" xml:lang="en-US"/><p:DataLocale s:mustUnderstand="false" xml:lang="en-US"/><w:OperationTimeout>PT${seconds}S</w:OperationTimeout><w:ResourceURI s:mustUnderstand="true">${shellUri}/cmd</w:ResourceURI><a:Action s:mustUnderstand="true">${action}</a:Action>${selector}${
    optionSet.length === 0 ? "" : `<w:OptionSet>${optionSet.join("")}</w:OptionSet>`
  }</s:Header><s:Body>${body}</s:Body></s:Envelope>`
}

class SoapFault extends AppError {
  constructor(
    words: string,
    readonly faultCode: string,
  ) {
    super("upstream", words)
  }
}

const mostOutput = 4 * 1024 * 1024
const longestWords = 2048

/** Resolves with the answer's document; null for an answer without one. Fails with a SoapFault in the host's words. */
type Ask = (operation: Operation) => Promise<XmlElement | null>

const asking =
  (address: string, seconds: number, exchange: Exchange): Ask =>
  async (operation) => {
    const { status, text } = await exchange(envelope(address, seconds, operation))
    if (text === "" && status === 200) return null
    const root = (() => {
      try {
        return readXml(text)
      } catch (error) {
        throw new AppError("upstream", `HTTP ${status}: ${messageOf(error)}`, { cause: error })
      }
    })()
    const [fault] = xmlElements(root, "Fault")
    if (fault === undefined && status === 200) return root
    const reason = xmlElements(root, "Text")[0]?.text ?? xmlElements(root, "Message")[0]?.text ?? ""
    throw new SoapFault(
      `HTTP ${status}: ${reason.trim().slice(0, longestWords)}`,
      xmlElements(root, "WSManFault")[0]?.attributes.get("Code") ?? "",
    )
  }

const createShell = async (ask: Ask): Promise<string> =>
  shellIdIn(
    await ask({
      action: `${transferUri}/Create`,
      body: "<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>",
      // With the profile: the keys of a user's store are in it.
      options: { WINRS_NOPROFILE: "FALSE", WINRS_CODEPAGE: "65001" },
    }),
  )

const deleteShell = (ask: Ask, shellId: string) => ask({ action: `${transferUri}/Delete`, shellId, body: "" })

const missing = (what: string) => new AppError("upstream", `its answer has no ${what}`)

const shellIdIn = (root: XmlElement | null): string => {
  const selector = root === null ? [] : xmlElements(root, "Selector")
  const id =
    (root === null ? undefined : xmlElements(root, "ShellId")[0]?.text) ??
    selector.find(({ attributes }) => attributes.get("Name") === "ShellId")?.text
  if (id === undefined || id === "") throw missing("ShellId")
  return id
}

const runCommand = async (
  ask: Ask,
  shellId: string,
  { program, args, input, timeoutMs }: ShellCall,
): Promise<string> => {
  const deadline = performance.now() + timeoutMs
  const started = await ask({
    action: `${shellUri}/Command`,
    shellId,
    body: `<rsp:CommandLine><rsp:Command>${escapeXml(program)}</rsp:Command><rsp:Arguments>${escapeXml(args.join(" "))}</rsp:Arguments></rsp:CommandLine>`,
    // Without cmd.exe in between, whose command lines are too short; and standard input is a pipe, not a console.
    options: { WINRS_CONSOLEMODE_STDIN: "FALSE", WINRS_SKIP_CMD_SHELL: "TRUE" },
  })
  const commandId = started === null ? undefined : xmlElements(started, "CommandId")[0]?.text
  if (commandId === undefined || commandId === "") throw missing("CommandId")
  const id = escapeXml(commandId)

  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[], bytes: 0 }
  let exitCode: number | null = null
  try {
    await ask({
      action: `${shellUri}/Send`,
      shellId,
      body: `<rsp:Send><rsp:Stream Name="stdin" CommandId="${id}" End="true">${Buffer.from(input).toString("base64")}</rsp:Stream></rsp:Send>`,
    })
    while (exitCode === null) {
      if (performance.now() > deadline) {
        throw new AppError("upstream", `PowerShell did not end within ${timeoutMs / 1000} s and was stopped`)
      }
      const root = await ask({
        action: `${shellUri}/Receive`,
        shellId,
        body: `<rsp:Receive><rsp:DesiredStream CommandId="${id}">stdout stderr</rsp:DesiredStream></rsp:Receive>`,
      }).catch((error) => {
        if (error instanceof SoapFault && error.faultCode === operationTimedOut) return null
        throw error
      })
      if (root === null) continue
      for (const stream of xmlElements(root, "Stream")) {
        const bytes = Buffer.from(stream.text, "base64")
        output.bytes += bytes.length
        if (output.bytes > mostOutput) throw new AppError("upstream", "PowerShell printed too much")
        output[stream.attributes.get("Name") === "stderr" ? "stderr" : "stdout"].push(bytes)
      }
      exitCode = exitCodeIn(root)
    }
  } finally {
    // Ends what still runs, and lets the host forget the command where it has ended.
    await ask({
      action: `${shellUri}/Signal`,
      shellId,
      body: `<rsp:Signal CommandId="${id}"><rsp:Code>${shellUri}/signal/terminate</rsp:Code></rsp:Signal>`,
    }).catch(() => null)
  }
  const stdout = Buffer.concat(output.stdout).toString("utf8")
  if (exitCode !== 0) {
    const words = `${stdout.slice(-longestWords)}${Buffer.concat(output.stderr).toString("utf8").slice(-longestWords)}`
    throw new AppError("upstream", `PowerShell ended with code ${exitCode}: ${words.trim()}`)
  }
  return stdout
}

/** null while the program runs. */
const exitCodeIn = (root: XmlElement): number | null => {
  const done = xmlElements(root, "CommandState").find(({ attributes }) => attributes.get("State")?.endsWith("/Done"))
  if (done === undefined) return null
  const code = Number(xmlElements(done, "ExitCode")[0]?.text ?? "0")
  return Number.isInteger(code) ? code : -1
}
