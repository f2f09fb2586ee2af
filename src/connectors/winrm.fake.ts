/**
 * A Windows host's WinRM listener: WS-Management over HTTP or HTTPS with Basic or NTLMv2, shells with their life cycle, and as the
 * only program a PowerShell on the host it is given. Written after [MS-WSMV] and [MS-NLMP].
 */
import { createCipheriv, createHash, createHmac, randomBytes, randomUUID, X509Certificate } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { type NtlmSession, ntlmPasswordKey, ntlmSession } from "./ntlm"
import type { FakeWindows } from "./powershell.fake"
import { escapeXml, readXml, type XmlElement, xmlElements } from "./xml.reader"

export interface FakeWinRmOptions {
  readonly windows: FakeWindows
  readonly username: string
  readonly password: string
  readonly offers?: readonly ("Negotiate" | "Basic")[]
  readonly tls?: { readonly certPem: string; readonly keyPem: string }
}

interface Command {
  input: Buffer
  result: { stdout: string; stderr: string; code: number } | null
  isRunning: boolean
  isTerminated: boolean
  readonly args: readonly string[]
}

interface Login {
  challenge?: { negotiate: Buffer; message: Buffer; server: Buffer }
  session?: NtlmSession
  isIn: boolean
}

const shellUri = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
const transferUri = "http://schemas.xmlsoap.org/ws/2004/09/transfer"

class Fault extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message)
  }
}

export interface FakeWinRm {
  readonly port: number
  /** Actions in the order in which they came, without their URIs. */
  readonly actions: string[]
  /** Everything that came over the wire, as it came. */
  readonly wire: Buffer[]
  openShells(): number
  /** The next Receives that find nothing time out, as a slow command makes them. */
  slowReceives: number
  /** The next requests that are answered with this status and an HTML page. */
  broken: { times: number; status: number }
  /** Programs that never end. */
  isHanging: boolean
  /** The connection breaks after the next so many commands have done their work. */
  resetsAfterCommands: number
  stop(): void
}

export const startFakeWinRm = async (options: FakeWinRmOptions): Promise<FakeWinRm> => {
  const { windows, username, password, offers = ["Negotiate", "Basic"], tls } = options
  const logins = new WeakMap<object, Login>()
  const shells = new Map<string, Map<string, Command>>()

  const handle = async (root: XmlElement): Promise<string> => {
    const header = xmlElements(root, "Header")[0]
    const body = xmlElements(root, "Body")[0]
    if (root.name !== "Envelope" || header === undefined || body === undefined)
      throw new Fault("The SOAP XML is not valid.", "2150858812")
    const textOf = (name: string) => xmlElements(header, name)[0]?.text ?? ""
    for (const needed of ["To", "Address", "MessageID", "ResourceURI", "Action", "MaxEnvelopeSize"]) {
      if (textOf(needed) === "") throw new Fault(`The WS-Management header ${needed} is missing.`, "2150858770")
    }
    if (textOf("ResourceURI") !== `${shellUri}/cmd`) throw new Fault("The resource URI is not known.", "2150858752")
    const action = textOf("Action")
    const name = action.slice(action.lastIndexOf("/") + 1)
    fake.actions.push(name)
    const option = (key: string) =>
      xmlElements(header, "Option").find(({ attributes }) => attributes.get("Name") === key)?.text

    if (action === `${transferUri}/Create`) {
      const id = randomUUID().toUpperCase()
      shells.set(id, new Map())
      return `<x:ResourceCreated><a:Address>http://localhost/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>${shellUri}/cmd</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">${id}</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated><rsp:Shell><rsp:ShellId>${id}</rsp:ShellId><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>`
    }
    const selected =
      xmlElements(header, "Selector").find(({ attributes }) => attributes.get("Name") === "ShellId")?.text ?? ""
    const commands = shells.get(selected)
    if (commands === undefined) {
      throw new Fault(
        `The request for the Windows Remote Shell with ShellId ${selected} failed because the shell was not found on the server.`,
        "2150858843",
      )
    }
    const commandOf = (element: string): Command => {
      const found = commands.get(xmlElements(body, element)[0]?.attributes.get("CommandId") ?? "")
      if (found === undefined) throw new Fault("The command was not found in the shell.", "2150858843")
      return found
    }
    switch (action) {
      case `${shellUri}/Command`: {
        if (xmlElements(body, "Command")[0]?.text !== "powershell.exe")
          throw new Fault("The system cannot find the file specified.", "2147942402")
        if (option("WINRS_SKIP_CMD_SHELL") !== "TRUE" || option("WINRS_CONSOLEMODE_STDIN") !== "FALSE") {
          throw new Fault("The command line is too long.", "2147942606")
        }
        const id = randomUUID().toUpperCase()
        const args = (xmlElements(body, "Arguments")[0]?.text ?? "").split(" ")
        commands.set(id, { input: Buffer.alloc(0), result: null, isRunning: false, isTerminated: false, args })
        return `<rsp:CommandResponse><rsp:CommandId>${id}</rsp:CommandId></rsp:CommandResponse>`
      }
      case `${shellUri}/Send`: {
        const command = commandOf("Stream")
        const stream = xmlElements(body, "Stream")[0]
        command.input = Buffer.concat([command.input, Buffer.from(stream?.text ?? "", "base64")])
        if (stream?.attributes.get("End") === "true") {
          command.isRunning = true
          if (!fake.isHanging) command.result = await windows.powershell(command.args, command.input.toString("utf8"))
        }
        return "<rsp:SendResponse/>"
      }
      case `${shellUri}/Receive`: {
        const command = commandOf("DesiredStream")
        const id = xmlElements(body, "DesiredStream")[0]?.attributes.get("CommandId") ?? ""
        const timedOut = new Fault(
          "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
          "2150858793",
        )
        if (command.result === null || fake.slowReceives > 0) {
          fake.slowReceives--
          await Bun.sleep(command.result === null ? 100 : 1)
          throw timedOut
        }
        const { stdout, stderr, code } = command.result
        const stream = (kind: string, text: string) =>
          text === ""
            ? ""
            : `<rsp:Stream Name="${kind}" CommandId="${id}">${Buffer.from(text).toString("base64")}</rsp:Stream>`
        const half = Math.floor(stdout.length / 2)
        return `<rsp:ReceiveResponse>${stream("stdout", stdout.slice(0, half))}${stream("stdout", stdout.slice(half))}${stream("stderr", stderr)}<rsp:Stream Name="stdout" CommandId="${id}" End="true"/><rsp:CommandState CommandId="${id}" State="${shellUri}/CommandState/Done"><rsp:ExitCode>${code}</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>`
      }
      case `${shellUri}/Signal`:
        commandOf("Signal").isTerminated = true
        return "<rsp:SignalResponse/>"
      case `${transferUri}/Delete`:
        shells.delete(selected)
        return ""
      default:
        throw new Fault("The WS-Management action is not supported.", "2150858754")
    }
  }

  const answerSoap = async (text: string): Promise<{ status: number; text: string }> => {
    let relatesTo = ""
    const wrap = (body: string) =>
      `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:x="${transferUri}" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="${shellUri}"><s:Header><a:RelatesTo>${escapeXml(relatesTo)}</a:RelatesTo></s:Header><s:Body>${body}</s:Body></s:Envelope>`
    try {
      const root = readXml(text)
      relatesTo = xmlElements(root, "MessageID")[0]?.text ?? ""
      return { status: 200, text: wrap(await handle(root)) }
    } catch (error) {
      const code = error instanceof Fault ? error.code : "2150858812"
      const words = escapeXml(error instanceof Error ? error.message : String(error))
      return {
        status: 500,
        text: wrap(
          `<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text xml:lang="en-US">${words}</s:Text></s:Reason><s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="${code}" Machine="fake"><f:Message>${words}</f:Message></f:WSManFault></s:Detail></s:Fault>`,
        ),
      }
    }
  }

  const refuse = (response: ServerResponse, challenge?: string) => {
    const wanted =
      challenge === undefined ? offers.map((offer) => (offer === "Basic" ? 'Basic realm="WSMAN"' : offer)) : [challenge]
    response
      .writeHead(401, { "www-authenticate": wanted, "content-length": "0", server: "Microsoft-HTTPAPI/2.0" })
      .end()
  }

  /** Whether the request may go on. What it may not has been answered. */
  const admit = (request: IncomingMessage, response: ServerResponse, login: Login): boolean => {
    const [scheme, token = ""] = (request.headers.authorization ?? "").split(" ")
    if (scheme === "Basic" && offers.includes("Basic")) {
      // As AllowUnencrypted=false, the default, has it.
      if (tls !== undefined && Buffer.from(token, "base64").toString("utf8") === `${username}:${password}`) return true
      refuse(response)
      return false
    }
    if (scheme === "Negotiate" && offers.includes("Negotiate")) {
      const message = Buffer.from(token, "base64")
      if (message.readUInt32LE(8) === 1) {
        const server = randomBytes(8)
        login.challenge = { negotiate: message, server, message: challengeMessage(server) }
        refuse(response, `Negotiate ${login.challenge.message.toString("base64")}`)
        return false
      }
      const key = login.challenge === undefined ? null : verifiedKey(login.challenge, message, options)
      if (key === null) {
        refuse(response)
        return false
      }
      login.session = ntlmSession(key, "server")
      login.isIn = true
      return true
    }
    if (login.isIn) return true
    refuse(response)
    return false
  }

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(Buffer.from(chunk))
    const body = Buffer.concat(chunks)
    fake.wire.push(Buffer.from(JSON.stringify(request.headers)), body)
    const login = logins.get(request.socket) ?? { isIn: false }
    logins.set(request.socket, login)
    const end = (status: number, type: string, content: Uint8Array) =>
      response.writeHead(status, { "content-type": type, "content-length": String(content.length) }).end(content)
    if (fake.broken.times > 0) {
      fake.broken.times--
      return end(fake.broken.status, "text/html", Buffer.from("<html><body>Service Unavailable<br></body></html>"))
    }
    if (request.url !== "/wsman") return end(404, "text/html", Buffer.from("Not Found"))
    if (request.method !== "POST") return end(405, "text/html", Buffer.from("Method Not Allowed"))
    if (!admit(request, response, login)) return
    if (body.length === 0) return end(200, "application/soap+xml;charset=UTF-8", body)

    const type = request.headers["content-type"] ?? ""
    if (type === "application/soap+xml;charset=UTF-8" && tls !== undefined) {
      const answer = await answerSoap(body.toString("utf8"))
      return end(answer.status, "application/soap+xml;charset=UTF-8", Buffer.from(answer.text))
    }
    if (
      type !==
        'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"' ||
      login.session === undefined
    ) {
      return end(415, "text/html", Buffer.from("Unsupported Media Type"))
    }
    const message = unseal(login.session, body)
    const answer = await answerSoap(message.toString("utf8"))
    if (fake.resetsAfterCommands > 0 && fake.actions.at(-1) === "Send") {
      fake.resetsAfterCommands--
      return request.socket.destroy()
    }
    return end(answer.status, type, seal(login.session, Buffer.from(answer.text)))
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    serve(request, response).catch((error) => {
      response.writeHead(400, { "content-length": "0" }).end()
      fake.actions.push(`error: ${error}`)
    })
  }
  const server =
    tls === undefined ? createServer(onRequest) : createTlsServer({ cert: tls.certPem, key: tls.keyPem }, onRequest)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))

  const fake: FakeWinRm = {
    port: (server.address() as AddressInfo).port,
    actions: [],
    wire: [],
    openShells: () => shells.size,
    slowReceives: 0,
    broken: { times: 0, status: 503 },
    isHanging: false,
    resetsAfterCommands: 0,
    stop() {
      server.closeAllConnections()
      server.close()
    },
  }
  return fake
}

const boundary = "--Encrypted Boundary"

const unseal = (session: NtlmSession, body: Buffer): Buffer => {
  const head =
    /^--Encrypted Boundary\r\n\tContent-Type: application\/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=application\/soap\+xml;charset=UTF-8;Length=(\d+)\r\n--Encrypted Boundary\r\n\tContent-Type: application\/octet-stream\r\n/.exec(
      body.toString("latin1"),
    )
  const tail = Buffer.from(`${boundary}--\r\n`)
  if (head === null || !body.subarray(-tail.length).equals(tail)) throw new Error("not a sealed message")
  const at = head[0].length
  const sealed = body.subarray(at + 20, -tail.length)
  if (body.readUInt32LE(at) !== 16 || sealed.length !== Number(head[1])) throw new Error("lengths do not agree")
  return session.unseal({ signature: body.subarray(at + 4, at + 20), sealed })
}

const seal = (session: NtlmSession, message: Buffer): Buffer => {
  const { signature, sealed } = session.seal(message)
  return Buffer.concat([
    Buffer.from(
      `${boundary}\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=${message.length}\r\n${boundary}\r\n\tContent-Type: application/octet-stream\r\n`,
    ),
    Buffer.from([16, 0, 0, 0]),
    signature,
    sealed,
    Buffer.from(`${boundary}--\r\n`),
  ])
}

const hmacMd5 = (key: Uint8Array, ...parts: Uint8Array[]) =>
  createHmac("md5", key).update(Buffer.concat(parts)).digest()

/** [MS-NLMP] 2.2.1.2 with a timestamp, so that the client owes a MIC. */
const challengeMessage = (server: Buffer): Buffer => {
  const pair = (id: number, value: Buffer) => {
    const head = Buffer.alloc(4)
    head.writeUInt16LE(id)
    head.writeUInt16LE(value.length, 2)
    return Buffer.concat([head, value])
  }
  const time = Buffer.alloc(8)
  time.writeBigUInt64LE((BigInt(Date.now()) + 11_644_473_600_000n) * 10_000n)
  const info = Buffer.concat([
    pair(2, Buffer.from("FAKE", "utf16le")),
    pair(1, Buffer.from("WINHOST", "utf16le")),
    pair(7, time),
    pair(0, Buffer.alloc(0)),
  ])
  const message = Buffer.alloc(56)
  message.write("NTLMSSP\0", "latin1")
  message.writeUInt32LE(2, 8)
  message.writeUInt32LE(56, 16)
  message.writeUInt32LE(0xe2898235, 20)
  server.copy(message, 24)
  message.writeUInt16LE(info.length, 40)
  message.writeUInt16LE(info.length, 42)
  message.writeUInt32LE(56, 44)
  return Buffer.concat([message, info])
}

/** As CbtHardeningLevel=Strict demands it, for a certificate signed with SHA-256. */
const bindingAttribute = (certPem: string): Buffer => {
  const application = Buffer.concat([
    Buffer.from("tls-server-end-point:"),
    createHash("sha256").update(new X509Certificate(certPem).raw).digest(),
  ])
  const bindings = Buffer.concat([Buffer.alloc(16), Buffer.from([application.length, 0, 0, 0]), application])
  return Buffer.concat([Buffer.from([10, 0, 16, 0]), createHash("md5").update(bindings).digest()])
}

/** The exported session key when account, password and message integrity code are right. */
const verifiedKey = (
  { negotiate, message: challenge, server }: { negotiate: Buffer; message: Buffer; server: Buffer },
  message: Buffer,
  { username, password, tls }: FakeWinRmOptions,
): Buffer | null => {
  const part = (field: number) => {
    const [length, at] = [message.readUInt16LE(field), message.readUInt32LE(field + 4)]
    return message.subarray(at, at + length)
  }
  const [answer, domain, user] = [part(20), part(28).toString("utf16le"), part(36).toString("utf16le")]
  const account = domain === "" ? user : `${domain}\\${user}`
  if (account.toLowerCase() !== username.toLowerCase()) return null
  const key = ntlmPasswordKey(user, domain, password)
  const [proof, blob] = [answer.subarray(0, 16), answer.subarray(16)]
  if (!hmacMd5(key, server, blob).equals(proof)) return null
  if (tls !== undefined && !blob.includes(bindingAttribute(tls.certPem))) return null
  const exported = createCipheriv("rc4", hmacMd5(key, proof), null).update(part(52))
  const withoutMic = Buffer.from(message)
  withoutMic.fill(0, 72, 88)
  const isWhole = hmacMd5(exported, negotiate, challenge, withoutMic).equals(message.subarray(72, 88))
  return isWhole ? exported : null
}
