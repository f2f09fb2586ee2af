import { afterEach, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pemBlocks } from "../pki/pem"
import { startDnsServer } from "../testing/dns-server"
import { freePort } from "../testing/free-port"
import { peer } from "../testing/peers"
import { until } from "../testing/until"
import { dns01 } from "./dns-01"
import { checkProofCertificate, tlsAlpn01 } from "./tls-alpn-01"
import { digestOf, keyAuthorizationOf, ValidationError, validationProblem } from "./validation"

const program = peer("openssl", "openssl")

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const name = "a.example.com"
const token = randomBytes(32).toString("base64url")
const keyAuthorization = keyAuthorizationOf(token, "a-thumbprint")
const proof = () => ({ name, token, keyAuthorization, signal: AbortSignal.timeout(10_000) })

const outcomeOf = async (work: Promise<void>): Promise<string> =>
  work.then(
    () => "valid",
    (error: unknown) => validationProblem(error).type.split(":").at(-1) ?? "",
  )

describe("dns-01", () => {
  test("finds the digest among the records of the name", async () => {
    const records = new Map<string, string[]>()
    const dns = await startDnsServer((asked) => records.get(asked))
    cleanups.push(dns.close)
    const look = () => outcomeOf(dns01({ resolver: dns.address })(proof()))
    expect(await look()).toBe("dns")
    records.set(`_acme-challenge.${name}`, ["something else"])
    expect(await look()).toBe("incorrectResponse")
    records.set(`_acme-challenge.${name}`, ["something else", digestOf(keyAuthorization).toString("base64url")])
    expect(await look()).toBe("valid")
  })

  test("ends with its signal where nobody answers", async () => {
    const port = await freePort()
    const look = dns01({ resolver: `127.0.0.1:${port}` })({ ...proof(), signal: AbortSignal.timeout(50) })
    expect(await outcomeOf(look)).toBe("dns")
  })
})

interface Shape {
  readonly names?: string
  readonly extension?: string | null
}

const right = `critical,DER:04:20:${digestOf(keyAuthorization)
  .toString("hex")
  .replace(/..(?=.)/g, "$&:")}`

/** A proof certificate, made by somebody else's implementation. */
const proofCertificate = ({ names = `DNS:${name}`, extension = right }: Shape = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-alpn-"))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  const [keyPath, certPath, configPath] = ["key.pem", "cert.pem", "c.cnf"].map((file) => join(folder, file)) as [
    string,
    string,
    string,
  ]
  writeFileSync(
    configPath,
    `[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=v3\n[dn]\nCN=proof\n[v3]\nsubjectAltName=${names}\n${
      extension === null ? "" : `1.3.6.1.5.5.7.1.31=${extension}\n`
    }`,
  )
  const options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
  const made = Bun.spawnSync([
    program ?? "",
    "req",
    ...options,
    "-config",
    configPath,
    "-keyout",
    keyPath,
    "-out",
    certPath,
  ])
  if (made.exitCode !== 0) throw new Error(made.stderr.toString())
  return { keyPath, certPath }
}

const derIn = async (path: string): Promise<Buffer> => pemBlocks(await Bun.file(path).text())[0]?.der ?? Buffer.alloc(0)

describe.skipIf(program === null)("tls-alpn-01", () => {
  test("takes a certificate with the name and the digest, and no other", async () => {
    const outcome = async (shape?: Shape) => {
      const der = await derIn(proofCertificate(shape).certPath)
      return outcomeOf(Promise.resolve().then(() => checkProofCertificate(der, name, keyAuthorization)))
    }
    expect(await outcome()).toBe("valid")
    expect(await outcome({ names: "DNS:A.EXAMPLE.com" })).toBe("valid")
    for (const shape of [
      { names: "DNS:b.example.com" },
      { names: `DNS:${name},DNS:b.example.com` },
      { names: `DNS:${name},IP:192.0.2.1` },
      { extension: null },
      { extension: right.replace("critical,", "") },
      { extension: right.replace(/..$/, right.endsWith("00") ? "01" : "00") },
      { extension: `critical,DER:04:03:01:02:03` },
    ]) {
      expect([shape, await outcome(shape)]).toEqual([shape, "incorrectResponse"])
    }
  })

  test("asks with the protocol of RFC 8737, at a checked address", async () => {
    const { keyPath, certPath } = proofCertificate()
    const serve = async (...more: string[]) => {
      const port = await freePort()
      const options = ["-accept", `127.0.0.1:${port}`, "-key", keyPath, "-cert", certPath, "-quiet", ...more]
      const server = Bun.spawn([program ?? "", "s_server", ...options], { stdio: ["ignore", "ignore", "ignore"] })
      cleanups.push(() => server.kill())
      await until("openssl listens", () =>
        Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }).then(
          (socket) => {
            socket.end()
            return true
          },
          () => false,
        ),
      )
      return { port, resolve: async () => ["127.0.0.1"] }
    }
    const rules = { allowLoopback: true }
    const speaking = await serve("-alpn", "acme-tls/1")
    expect(await outcomeOf(tlsAlpn01({ ...speaking, rules })(proof()))).toBe("valid")
    expect(await outcomeOf(tlsAlpn01(speaking)(proof()))).toBe("connection")
    const silent = await serve()
    expect(await outcomeOf(tlsAlpn01({ ...silent, rules })(proof()))).toBe("incorrectResponse")
    const other = { ...proof(), keyAuthorization: keyAuthorizationOf(token, "another thumbprint") }
    expect(await outcomeOf(tlsAlpn01({ ...speaking, rules })(other))).toBe("incorrectResponse")
    const nobody = { port: await freePort(), resolve: async () => ["127.0.0.1"] }
    expect(await outcomeOf(tlsAlpn01({ ...nobody, rules })(proof()))).toBe("connection")
  })
})

test("what a server answered is not told", () => {
  expect(validationProblem(new Error("220 mail.internal ESMTP")).detail).toBe("the connection failed")
  expect(validationProblem(new ValidationError("tls", "the TLS handshake failed")).type).toBe(
    "urn:ietf:params:acme:error:tls",
  )
})
