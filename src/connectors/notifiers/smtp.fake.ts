/**
 * A small SMTP server (RFC 5321) with STARTTLS (RFC 3207), implicit TLS and AUTH PLAIN and LOGIN (RFC 4954). It takes mail for one
 * domain from those who are signed in, and refuses what is out of order, as real servers do.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { createServer as createTlsServer } from "node:tls"
import { type FakeTls, fakeTls } from "./tls.fake"

export const smtpUser = "certctl"
export const smtpPassword = "mail-pass-word"

export interface Mail {
  readonly from: string
  readonly to: string
  /** Headers and body, dots unstuffed, lines ended by CRLF. */
  readonly text: string
  readonly encrypted: boolean
}

export interface SmtpFake {
  /** Plain, with STARTTLS where `starttls` is on. */
  readonly port: number
  /** TLS from the first byte. */
  readonly tlsPort: number
  readonly tls: FakeTls
  readonly mails: readonly Mail[]
  /** Every command line, without the answers to AUTH LOGIN. */
  readonly commands: readonly string[]
  /** Answers the next `times` MAIL commands so, e.g. "451 try again"; "hang" answers nothing any more. */
  fail(answer: string, times?: number): void
  recover(): void
  stop(): Promise<void>
}

export interface SmtpOptions {
  readonly starttls?: boolean
  /** Whether senders must sign in. */
  readonly auth?: boolean
  readonly mechanisms?: readonly ("PLAIN" | "LOGIN")[]
}

const listening = async (server: Server): Promise<number> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, "localhost", resolve)
  await promise
  return (server.address() as AddressInfo).port
}

export const startSmtp = async (options: SmtpOptions = {}): Promise<SmtpFake> => {
  const { starttls = true, auth = true, mechanisms = ["PLAIN", "LOGIN"] } = options
  const tls = await fakeTls()
  const mails: Mail[] = []
  const commands: string[] = []
  const sockets = new Set<Socket>()
  let fault: { answer: string; left: number } | null = null

  const session = (socket: Socket, encrypted: boolean, upgrade: (socket: Socket) => void, isGreeted: boolean): void => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    // A client that goes away in the middle is its own business.
    socket.on("error", () => socket.destroy())
    const say = (line: string) => void socket.write(`${line}\r\n`)
    let buffered = ""
    let signedIn = false
    let from: string | null = null
    let to: string | null = null
    /** Takes the next line in place of the commands. */
    let next: ((line: string) => void) | null = null
    let isData = false

    const signIn = (user: string | undefined, password: string | undefined) => {
      signedIn = user === smtpUser && password === smtpPassword
      say(signedIn ? "235 2.7.0 signed in" : `535 5.7.8 bad credentials for ${user}/${password}`)
    }
    const decoded = (text: string) => Buffer.from(text, "base64").toString("utf8")

    const authenticate = (rest: string) => {
      if (!encrypted && starttls) return say("538 5.7.11 encryption required")
      const [mechanism, initial] = rest.split(" ")
      if (mechanism === "PLAIN" && mechanisms.includes("PLAIN") && initial !== undefined) {
        const [, user, password] = decoded(initial).split("\0")
        return signIn(user, password)
      }
      if (mechanism === "LOGIN" && mechanisms.includes("LOGIN")) {
        say("334 VXNlcm5hbWU6")
        next = (user) => {
          say("334 UGFzc3dvcmQ6")
          next = (password) => {
            next = null
            signIn(decoded(user), decoded(password))
          }
        }
        return
      }
      say("504 5.5.4 unknown mechanism")
    }

    const mailFrom = (line: string) => {
      if (fault !== null && fault.left > 0) {
        fault.left -= 1
        if (fault.answer !== "hang") say(fault.answer)
        return
      }
      const address = /^MAIL FROM:<([^<>\s]*)>/i.exec(line)?.[1]
      if (address === undefined) return say("501 5.5.4 syntax")
      if (auth && !signedIn) return say("530 5.7.0 authentication required")
      from = address
      say("250 2.1.0 sender ok")
    }

    const rcptTo = (line: string) => {
      const address = /^RCPT TO:<([^<>\s]+@[^<>\s]+)>/i.exec(line)?.[1]
      if (from === null) return say("503 5.5.1 need MAIL first")
      if (address === undefined) return say("501 5.1.3 bad address")
      if (!address.endsWith("@example.com")) return say(`550 5.1.1 <${address}> no such user here`)
      to = address
      say("250 2.1.5 recipient ok")
    }

    const extensions = (): string[] => [
      "fake.example.com",
      ...(starttls && !encrypted ? ["STARTTLS"] : []),
      ...(auth && (encrypted || !starttls) ? [`AUTH ${mechanisms.join(" ")}`] : []),
      "8BITMIME",
    ]

    const handle = (line: string) => {
      if (next !== null) return next(line)
      commands.push(line)
      const verb = line.split(" ")[0]?.toUpperCase()
      if (verb === "EHLO") {
        const lines = extensions()
        lines.forEach((text, index) => void say(`250${index === lines.length - 1 ? " " : "-"}${text}`))
      } else if (verb === "STARTTLS" && starttls && !encrypted) {
        say("220 2.0.0 go ahead")
        socket.removeAllListeners("data")
        upgrade(socket)
      } else if (verb === "AUTH" && auth) authenticate(line.slice(5))
      else if (verb === "MAIL") mailFrom(line)
      else if (verb === "RCPT") rcptTo(line)
      else if (verb === "DATA" && to !== null) {
        isData = true
        say("354 end with a dot")
      } else if (verb === "QUIT") socket.end("221 2.0.0 bye\r\n")
      else if (verb === "NOOP" || verb === "RSET") say("250 2.0.0 ok")
      else say("503 5.5.1 out of order or unknown")
    }

    socket.on("data", (chunk) => {
      buffered += chunk.toString("utf8")
      for (;;) {
        const mark = isData ? "\r\n.\r\n" : "\r\n"
        const end = buffered.indexOf(mark)
        if (end < 0) return
        const taken = buffered.slice(0, end)
        buffered = buffered.slice(end + mark.length)
        if (!isData) handle(taken)
        else {
          mails.push({ from: from ?? "", to: to ?? "", text: taken.replaceAll("\r\n..", "\r\n."), encrypted })
          isData = false
          from = to = null
          say("250 2.0.0 queued")
        }
      }
    })
    if (!isGreeted) say("220 fake.example.com ESMTP")
  }

  const refuseUpgrade = (socket: Socket) => void socket.destroy()
  const pair = { cert: tls.cert, key: tls.key }
  const implicit = createTlsServer(pair, (socket) => session(socket, true, refuseUpgrade, false))
  // After STARTTLS the rest of the conversation is handed to a TLS listener behind.
  const behind = createTlsServer(pair, (socket) => session(socket, true, refuseUpgrade, true))
  const tlsPort = await listening(implicit)
  const behindPort = await listening(behind)
  const plain = createServer((socket) =>
    session(
      socket,
      false,
      (upgraded) => {
        const inner = connect(behindPort, "localhost")
        inner.on("error", () => upgraded.destroy())
        upgraded.pipe(inner).pipe(upgraded)
      },
      false,
    ),
  )
  const port = await listening(plain)

  return {
    port,
    tlsPort,
    tls,
    mails,
    commands,
    fail(answer, times = Number.POSITIVE_INFINITY) {
      fault = { answer, left: times }
    },
    recover() {
      fault = null
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      await Promise.all(
        [plain, implicit, behind].map((server) => new Promise<void>((resolve) => void server.close(() => resolve()))),
      )
    },
  }
}

if (import.meta.main) {
  const fake = await startSmtp()
  console.log(`starttls ${fake.port}, tls ${fake.tlsPort}\n${fake.tls.ca}`)
}
