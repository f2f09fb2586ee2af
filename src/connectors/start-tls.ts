/**
 * What is spoken in clear before TLS begins on the same connection: SMTP (RFC 3207), IMAP and POP3 (RFC 2595), LDAP (RFC 4511
 * section 4.14) and PostgreSQL. Nothing but the request for TLS is sent. What a server says in clear after its consent is
 * refused: somebody in between could have put it there to be read as if it had come encrypted.
 */
import type { Socket } from "node:net"
import { AppError } from "../errors"
import type { StartTls } from "./probe"

/** Everything a server may say before TLS; honest ones need a few hundred bytes. */
const longestPrologue = 8 * 1024
const longestWords = 200

/** A server that says no, in its own words, without what would garble a log. */
const refused = (what: string, words: string): AppError =>
  new AppError("upstream", `${what}: ${words.replace(/[^\x20-\x7e]/g, "?").slice(0, longestWords)}`)

/** The connection as a sequence of lines and bytes. Fails with `upstream` when it ends, breaks or says too much. */
const conversation = (socket: Socket) => {
  let unread = Buffer.alloc(0)
  let total = 0
  let problem: AppError | null = null
  let wake = () => {}

  const stop = (error: AppError) => {
    problem ??= error
    wake()
  }
  const onData = (chunk: Buffer) => {
    total += chunk.length
    if (total > longestPrologue) stop(new AppError("upstream", `the server said more than ${longestPrologue} bytes`))
    else unread = Buffer.concat([unread, chunk])
    wake()
  }
  const onError = (error: Error) => stop(new AppError("upstream", error.message, { cause: error }))
  const onEnd = () => stop(new AppError("upstream", "the server closed the connection before TLS began"))
  socket.on("data", onData).on("error", onError).on("end", onEnd).on("close", onEnd)

  /** Waits until `size` finds that many bytes to take. */
  const take = async (size: (unread: Buffer) => number | null): Promise<Buffer> => {
    for (;;) {
      const bytes = size(unread)
      if (bytes !== null && bytes <= unread.length) {
        const taken = unread.subarray(0, bytes)
        unread = unread.subarray(bytes)
        return taken
      }
      if (problem !== null) throw problem
      const { promise, resolve } = Promise.withResolvers<void>()
      wake = resolve
      await promise
    }
  }

  return {
    say: (words: string | Buffer) => void socket.write(words),
    take,

    /** Without its line end. */
    async line(): Promise<string> {
      const bytes = await take((have) => {
        const end = have.indexOf(0x0a)
        return end === -1 ? null : end + 1
      })
      return bytes.toString("latin1").replace(/\r?\n$/, "")
    },

    /** Leaves the socket to TLS. Fails when the server has said anything since its consent. */
    end(): void {
      socket.pause()
      socket.off("data", onData).off("error", onError).off("end", onEnd).off("close", onEnd)
      if (problem !== null) throw problem
      if (unread.length > 0) {
        throw new AppError("upstream", "the server went on in clear after it had agreed to TLS (injected commands?)")
      }
    },
  }
}

type Conversation = ReturnType<typeof conversation>

/** All lines of one reply (RFC 5321 section 4.2.1): `250-first`, `250 last`. */
const smtpReply = async (talk: Conversation): Promise<string[]> => {
  const lines: string[] = []
  for (;;) {
    const line = await talk.line()
    if (!/^\d{3}([ -]|$)/.test(line)) throw refused("the server does not speak SMTP", line)
    lines.push(line)
    if (line[3] !== "-") return lines
  }
}

const smtp = async (talk: Conversation, socket: Socket): Promise<void> => {
  const expect = async (code: string, what: string) => {
    const reply = await smtpReply(talk)
    if (!reply.every((line) => line.startsWith(code))) throw refused(what, reply.join(" "))
    return reply
  }
  await expect("220", "the server does not take connections")
  // An address literal names us truly where a host name might be made up (RFC 5321 section 4.1.3).
  const address = socket.localAddress ?? "127.0.0.1"
  talk.say(`EHLO [${address.includes(":") ? `IPv6:${address}` : address}]\r\n`)
  const offers = await expect("250", "EHLO was refused")
  if (!offers.some((line) => /^STARTTLS$/i.test(line.slice(4).trim()))) {
    throw new AppError("upstream", "the server does not offer STARTTLS")
  }
  talk.say("STARTTLS\r\n")
  await expect("220", "STARTTLS was refused")
}

const imap = async (talk: Conversation): Promise<void> => {
  const greeting = await talk.line()
  if (!/^\* OK\b/i.test(greeting)) throw refused("the server does not take IMAP connections", greeting)
  talk.say("a001 STARTTLS\r\n")
  for (;;) {
    const line = await talk.line()
    // Capabilities and other news may come in between.
    if (line.startsWith("* ") && !/^\* BYE\b/i.test(line)) continue
    if (!/^a001 OK\b/i.test(line)) throw refused("STARTTLS was refused", line)
    return
  }
}

const pop3 = async (talk: Conversation): Promise<void> => {
  const greeting = await talk.line()
  if (!/^\+OK\b/i.test(greeting)) throw refused("the server does not take POP3 connections", greeting)
  talk.say("STLS\r\n")
  const answer = await talk.line()
  if (!/^\+OK\b/i.test(answer)) throw refused("STLS was refused", answer)
}

interface BerElement {
  readonly tag: number
  readonly content: Buffer
  readonly rest: Buffer
}

/** Header and content length of the element at the start; null while bytes are missing. Active Directory writes long forms. */
const berHeader = (bytes: Buffer): { header: number; length: number } | null => {
  const first = bytes[1]
  if (first === undefined) return null
  if (first < 0x80) return { header: 2, length: first }
  const count = first & 0x7f
  if (count === 0 || count > 4) throw new AppError("upstream", "the server does not speak LDAP")
  if (bytes.length < 2 + count) return null
  return { header: 2 + count, length: bytes.readUIntBE(2, count) }
}

const berElement = (bytes: Buffer): BerElement => {
  const found = berHeader(bytes)
  if (found === null || bytes.length < found.header + found.length) {
    throw new AppError("upstream", "the server's LDAP answer is broken")
  }
  const end = found.header + found.length
  return { tag: bytes[0] ?? 0, content: bytes.subarray(found.header, end), rest: bytes.subarray(end) }
}

/** Message 1: ExtendedRequest [APPLICATION 23] with requestName [0] 1.3.6.1.4.1.1466.20037. */
const ldapStartTls = Buffer.concat([
  Buffer.from("301d02010177188016", "hex"),
  Buffer.from("1.3.6.1.4.1.1466.20037", "latin1"),
])
const extendedResponse = 0x78

const ldap = async (talk: Conversation): Promise<void> => {
  talk.say(ldapStartTls)
  const bytes = await talk.take((have) => {
    if (have.length > 0 && have[0] !== 0x30) throw new AppError("upstream", "the server does not speak LDAP")
    const found = berHeader(have)
    return found === null ? null : found.header + found.length
  })
  const messageId = berElement(berElement(bytes).content)
  const response = berElement(messageId.rest)
  const resultCode = berElement(response.content)
  if (response.tag !== extendedResponse || !messageId.content.equals(Buffer.from([1]))) {
    throw new AppError("upstream", "the server answered StartTLS with something else")
  }
  if (resultCode.content.equals(Buffer.from([0]))) return
  const diagnostic = berElement(berElement(resultCode.rest).rest).content.toString("latin1")
  throw refused("StartTLS was refused", `result ${resultCode.content.toString("hex")} ${diagnostic}`)
}

/** SSLRequest: its length and the number that stands where others name the protocol's version. */
const sslRequest = Buffer.from("0000000804d2162f", "hex")

const postgres = async (talk: Conversation): Promise<void> => {
  talk.say(sslRequest)
  const answer = (await talk.take(() => 1)).toString("latin1")
  if (answer === "S") return
  if (answer === "N") throw new AppError("upstream", "the server does not offer TLS")
  throw new AppError("upstream", "the server does not speak the PostgreSQL protocol")
}

const prologues: Readonly<Record<StartTls, (talk: Conversation, socket: Socket) => Promise<void>>> = {
  smtp,
  imap,
  pop3,
  ldap,
  postgres,
}

/**
 * Asks for TLS on a connection, new or still being made. When it returns, the next byte from the server belongs to the
 * handshake. Fails with `upstream` in the server's words; the time limit is the caller's, who destroys the socket.
 */
export const askForTls = async (socket: Socket, protocol: StartTls): Promise<void> => {
  const talk = conversation(socket)
  await prologues[protocol](talk, socket)
  talk.end()
}
