import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import { createServer, type Server, type Socket } from "node:net"
import { TLSSocket } from "node:tls"
import fc from "fast-check"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { type ProbeRequest, probe, type StartTls, startTlsProtocols } from "./probe"

const hour = 3_600_000
let pair: { key: string; cert: string; fingerprint: string }
let server: Server

beforeAll(async () => {
  const span = { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + hour) }
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Prologue CA", ...span })
  const key = await generateKey("ecdsa-p256")
  const leaf = await openAuthority({ ...root, chainPem: "" }).sign({
    spkiDer: spkiOf(key),
    subjectCommonName: "mail.example",
    sans: [sanOf("mail.example")],
    ekus: ["serverAuth"],
    ...span,
  })
  pair = { key: privateKeyPem(key), cert: leaf.certPem, fingerprint: leaf.fingerprint }
})

const sockets = new Set<Socket>()
const closed = (): Promise<unknown> => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  return new Promise((resolve) => server.close(resolve))
}
afterEach(closed)

/** One step of a server: what it waits for (nothing: speaks first) and what it says then. */
type Step = readonly [wait: RegExp | null, say: string | Buffer]
interface Script {
  readonly steps: readonly Step[]
  /** Said in clear in the same breath as the consent. */
  readonly injected?: string
  /** The consent is the end of it: no TLS follows. */
  readonly hangsUp?: boolean
  /** Every byte in a packet of its own. */
  readonly dribbles?: boolean
}

const say = async (socket: Socket, text: string | Buffer, dribbles: boolean): Promise<void> => {
  if (!dribbles) return void socket.write(text)
  for (const byte of Buffer.from(text)) {
    socket.write(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const converse = async (socket: Socket, { steps, injected = "", hangsUp, dribbles = false }: Script): Promise<void> => {
  let heard = ""
  let wake = () => {}
  const onData = (chunk: Buffer) => {
    heard += chunk.toString("latin1")
    wake()
  }
  socket.on("data", onData)
  for (const [index, [wait, words]] of steps.entries()) {
    while (wait !== null && !wait.test(heard)) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    if (wait !== null) heard = ""
    const isLast = index === steps.length - 1
    // The socket is handed over before the consent is out: the client's hello may come at once.
    if (isLast) socket.off("data", onData).pause()
    await say(socket, isLast ? Buffer.concat([Buffer.from(words), Buffer.from(injected)]) : words, dribbles)
  }
  if (hangsUp) return void socket.end()
  new TLSSocket(socket, { isServer: true, key: pair.key, cert: pair.cert }).on("error", () => undefined).resume()
}

const probing = async (script: Script, startTls: StartTls, rest: Partial<ProbeRequest> = {}) => {
  server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined))
    void converse(socket, script)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  return probe({ host: "127.0.0.1", port, startTls, timeoutMs: 5000, ...rest })
}

const ldapAnswer = (code: number, diagnostic = "") => {
  const text = Buffer.from(diagnostic)
  const body = Buffer.concat([Buffer.from([0x0a, 1, code, 4, 0, 4, text.length]), text])
  const response = Buffer.concat([Buffer.from([0x78, body.length]), body])
  return Buffer.concat([Buffer.from([0x30, 3 + response.length, 2, 1, 1]), response])
}
/** As Active Directory writes lengths. */
const longForm = Buffer.from("308400000010020101788400000007" + "0a010004000400", "hex")

const wellBehaved: Readonly<Record<StartTls, readonly Step[]>> = {
  smtp: [
    [null, "220-mail.example ESMTP\r\n220 ready\r\n"],
    [/^EHLO \[127\.0\.0\.1\]\r\n$/, "250-mail.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"],
    [/^STARTTLS\r\n$/, "220 2.0.0 Ready to start TLS\r\n"],
  ],
  imap: [
    [null, "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"],
    [/^a001 STARTTLS\r\n$/, "* CAPABILITY IMAP4rev1\r\na001 OK Begin TLS negotiation now.\r\n"],
  ],
  pop3: [
    [null, "+OK ready <1@x>\r\n"],
    [/^STLS\r\n$/, "+OK Begin TLS\r\n"],
  ],
  ldap: [[/1\.3\.6\.1\.4\.1\.1466\.20037$/, ldapAnswer(0)]],
  postgres: [[/^.{5}\u{d2}.\/$/su, "S"]],
}

for (const protocol of startTlsProtocols) {
  describe(protocol, () => {
    test("shows its certificate after the prologue, also when every byte comes alone", async () => {
      for (const dribbles of [false, true]) {
        const result = await probing({ steps: wellBehaved[protocol], dribbles }, protocol)
        if (!result.ok) throw new Error(result.error)
        expect(result.served.fingerprint).toBe(pair.fingerprint)
        if (!dribbles) await closed()
      }
    })

    test("is not believed when it goes on in clear after its consent", async () => {
      const result = await probing({ steps: wellBehaved[protocol], injected: "250 injected\r\n" }, protocol)
      expect(result).toMatchObject({ ok: false, error: expect.stringContaining("went on in clear") })
    })

    test("that hangs up or says nothing is a failure within the time limit", async () => {
      const gone = await probing({ steps: wellBehaved[protocol], hangsUp: true }, protocol)
      expect(gone).toMatchObject({ ok: false })
      await closed()
      const silent = await probing({ steps: [[/never/, ""]] }, protocol, { timeoutMs: 100 })
      expect(silent).toMatchObject({ ok: false, error: "no TLS handshake within 0.1 s" })
    })
  })
}

test("lengths in the long form are read as Active Directory writes them", async () => {
  const result = await probing({ steps: [[/20037$/, longForm]] }, "ldap")
  expect(result).toMatchObject({ ok: true })
})

describe("a refusal is told in the server's words", () => {
  const cases: readonly [StartTls, readonly Step[], string][] = [
    ["smtp", [[null, "554 no service\r\n"]], "does not take connections: 554 no service"],
    ["smtp", [[null, "SSH-2.0-OpenSSH_9\r\n"]], "does not speak SMTP"],
    [
      "smtp",
      [
        [null, "220 x\r\n"],
        [/EHLO/, "250 x\r\n"],
      ],
      "does not offer STARTTLS",
    ],
    ["smtp", [...wellBehaved.smtp.slice(0, 2), [/STARTTLS/, "454 4.7.0 not available\r\n"]], "454 4.7.0 not available"],
    ["imap", [[null, "* PREAUTH you are in\r\n"]], "PREAUTH"],
    [
      "imap",
      [
        [null, "* OK x\r\n"],
        [/a001/, "a001 BAD unknown\r\n"],
      ],
      "a001 BAD unknown",
    ],
    [
      "pop3",
      [
        [null, "+OK x\r\n"],
        [/STLS/, "-ERR no\r\n"],
      ],
      "-ERR no",
    ],
    ["ldap", [[/20037/, ldapAnswer(2, "unsupported\u0007")]], "result 02 unsupported?"],
    ["ldap", [[/20037/, "HTTP/1.1 400\r\n"]], "does not speak LDAP"],
    ["postgres", [[/./, "N"]], "does not offer TLS"],
    ["postgres", [[/./, "HTTP/1.1 400\r\n"]], "does not speak the PostgreSQL protocol"],
  ]
  for (const [protocol, steps, words] of cases) {
    test(`${protocol}: ${words}`, async () => {
      const result = await probing({ steps, hangsUp: true }, protocol)
      expect(result).toMatchObject({ ok: false, error: expect.stringContaining(words) })
    })
  }
})

test("a server that talks without end is cut off", async () => {
  for (const endless of ["x".repeat(20_000), "220-more\r\n".repeat(2_000)]) {
    const result = await probing(
      {
        steps: [
          [null, endless],
          [/never/, ""],
        ],
      },
      "smtp",
    )
    expect(result).toMatchObject({ ok: false, error: "the server said more than 8192 bytes" })
    if (endless.startsWith("x")) await closed()
  }
})

test("whatever a server says, the answer is a result", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...startTlsProtocols),
      fc.uint8Array({ maxLength: 60 }),
      async (protocol, bytes) => {
        const result = await probing({ steps: [[null, Buffer.from(bytes)]], hangsUp: true }, protocol)
        expect(result.ok).toBe(false)
        await closed()
      },
    ),
    { numRuns: 60 },
  )
  server = createServer().listen(0)
})
