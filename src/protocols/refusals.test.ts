/** What the protocol servers refuse: with which status, what the audit trail has of it, and that nothing is stored. */
import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { openssl } from "../pki/openssl.process"
import { pemBlocks } from "../pki/pem"
import { openSealer } from "../secrets/sealing"
import { onEachDialect } from "../testing/on-each-dialect"
import { csrWithChallenge } from "../testing/scep-client"
import { wire } from "../wiring"

const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
const password = "let me in"

const folders: string[] = []
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "certctl-refusals-"))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

/** The local CA, and EST and SCEP under a profile that allows one name. */
const serverOn = async (db: Db) => {
  const wired = wire({
    config: readConfig({
      CERTCTL_DATA_DIR: folder(),
      CERTCTL_EST_ENABLED: "true",
      CERTCTL_EST_ENROLLMENT_PASSWORD: password,
      CERTCTL_EST_PROFILE_ID: "prof-devices",
      CERTCTL_SCEP_ENABLED: "true",
      CERTCTL_SCEP_CHALLENGE_PASSWORD: password,
      CERTCTL_SCEP_PROFILE_ID: "prof-devices",
      CERTCTL_API_KEYS_NAMED: "root:root-key:admin",
      CERTCTL_RATE_LIMIT_ENABLED: "false",
    }),
    db,
    sealer,
    clock: { now: () => new Date() },
    serverId: "srv-test",
    caFingerprint: "",
  })
  await wired.prepare()
  const request = (path: string, init: RequestInit = {}) =>
    wired.app.request(path, init, { remoteAddress: "198.51.100.7" })
  const profile = { id: "prof-devices", name: "devices", required_san_patterns: ["*.devices.example.com"] }
  const headers = { authorization: "Bearer root-key" }
  const made = await request("/api/v1/profiles", { method: "POST", headers, body: JSON.stringify(profile) })
  expect(made.status).toBe(201)
  // Signs with the CA, whose responder is made by the first question.
  const caDer = await (await request("/.well-known/pki/ca/iss-local")).arrayBuffer()
  expect((await request("/.well-known/pki/ocsp/iss-local/01")).status).toBe(200)

  return {
    request,
    caPem: openssl(["x509", "-inform", "DER", "-in", "ca.der"], { "ca.der": Buffer.from(caDer) }).text,
    actions: async () =>
      (await wired.services.audit.list({}, { page: 1, per_page: 500 })).rows.map(({ id, action }) => ({ id, action })),
    stored: async () => ({
      certificates: await db.read.select({ id: db.t.certificates.id }).from(db.t.certificates),
      versions: await db.read.select({ id: db.t.certificateVersions.id }).from(db.t.certificateVersions),
      jobs: await db.read.select({ id: db.t.jobs.id }).from(db.t.jobs),
    }),
  }
}

const ocspRequest = (caPem: string): Buffer => {
  const path = join(folder(), "request.der")
  const made = openssl(["ocsp", "-issuer", "ca.pem", "-serial", "0x01", "-no_nonce", "-reqout", path], {
    "ca.pem": caPem,
  })
  if (!made.ok) throw new Error(made.text)
  return readFileSync(path)
}

type Refusal = readonly [method: string, path: string, status: number, sent?: Sent, action?: string]
interface Sent {
  readonly body?: Buffer | string
  readonly headers?: Record<string, string>
}

onEachDialect("the protocol servers", (openDb) => {
  test("refuse with the status that is documented, on record where somebody tried to enrol, and store nothing", async () => {
    const server = await serverOn(await openDb())
    const question = ocspRequest(server.caPem)
    const asked = { body: question, headers: { "content-type": "application/ocsp-request" } }
    const key = await generateKey("rsa-2048")
    const name = "d1.devices.example.com"
    const csr = (commonName: string, sans: string[]): string =>
      (pemBlocks(buildCsr({ commonName, sans, privateKey: key }))[0]?.der ?? Buffer.alloc(0)).toString("base64")
    const basic = (secret: string) => ({ authorization: `Basic ${Buffer.from(`any:${secret}`).toString("base64")}` })
    const est = (body: string, secret = password): Sent => ({ body, headers: basic(secret) })
    const good = csr(name, [name])
    const odd = csr("odd.example.org", ["odd.example.org"])
    const bare = (commonName: string, challenge: string): Sent => ({
      body: csrWithChallenge(key, commonName, { challenge }),
    })

    const pki = "/.well-known/pki"
    const lists = ["crl", "ca"].flatMap((what): Refusal[] => [
      ["GET", `${pki}/${what}/iss-none`, 404],
      ["GET", `${pki}/${what}/iss-local?ca=zz`, 400],
      ["GET", `${pki}/${what}/iss-local?ca=00ff`, 404],
      ["POST", `${pki}/${what}/iss-local`, 405],
    ])
    const ocsp: Refusal[] = [
      ["GET", `${pki}/ocsp/iss-local/not-hex`, 400],
      ["GET", `${pki}/ocsp/iss-local/${encodeURIComponent(Buffer.from("no request").toString("base64"))}`, 400],
      ["GET", `${pki}/ocsp/iss-none/01`, 404],
      ["POST", `${pki}/ocsp/iss-local`, 400, { body: "" }],
      ["POST", `${pki}/ocsp/iss-local`, 400, { body: question.subarray(0, 20) }],
      ["POST", `${pki}/ocsp/iss-local`, 413, { body: Buffer.alloc(17 * 1024) }],
      ["POST", `${pki}/ocsp/iss-local`, 415, { body: question, headers: { "content-type": "application/json" } }],
      ["POST", `${pki}/ocsp/iss-none`, 404, asked],
      ["DELETE", `${pki}/ocsp/iss-local/01`, 405],
    ]
    const enrolments = ["simpleenroll", "simplereenroll"].flatMap((operation): Refusal[] => [
      ["GET", `/.well-known/est/${operation}`, 405],
      ["POST", `/.well-known/est/none/${operation}`, 404, est(good)],
      ["POST", `/.well-known/est-mtls/${operation}`, 404, est(good)],
      ["POST", `/.well-known/est/${operation}`, 401, { body: good }, "est_auth_failed_basic"],
      ["POST", `/.well-known/est/${operation}`, 401, est(good, "a guess"), "est_auth_failed_basic"],
      ["POST", `/.well-known/est/${operation}`, 400, est("")],
      ["POST", `/.well-known/est/${operation}`, 400, est("no CSR!")],
      ["POST", `/.well-known/est/${operation}`, 400, est(good.slice(0, 400))],
      ["POST", `/.well-known/est/${operation}`, 500, est(odd), "est_csr_policy_violation"],
    ])
    const told = ["cacerts", "csrattrs"].flatMap((operation): Refusal[] => [
      ["POST", `/.well-known/est/${operation}`, 405],
      ["GET", `/.well-known/est/none/${operation}`, 404],
      ["GET", `/.well-known/est-mtls/${operation}`, 404],
    ])
    const scep: Refusal[] = [
      ["GET", "/scep", 400],
      ["GET", "/scep?operation=GetNextCACert", 400],
      ["GET", "/scep?operation=PKIOperation", 400],
      ["GET", "/scep?operation=PKIOperation&message=!!!", 400],
      ["POST", "/scep?operation=GetCACert", 400, { body: "x" }],
      ["POST", "/scep?operation=PKIOperation", 400, { body: "" }],
      ["GET", "/scep/none?operation=GetCACaps", 404],
      ["GET", "/scep-mtls?operation=GetCACaps", 404],
      ["PUT", "/scep?operation=PKIOperation", 405, { body: "x" }],
      ["POST", "/scep?operation=PKIOperation", 403, bare(name, "a guess"), "scep_pkcsreq"],
      ["POST", "/scep?operation=PKIOperation", 500, bare("odd.example.org", password), "scep_pkcsreq"],
    ]
    const before = await server.stored()
    for (const [method, path, status, { body, headers } = {}, action] of [
      ...lists,
      ...ocsp,
      ...enrolments,
      ...told,
      ...scep,
    ]) {
      const known = new Set((await server.actions()).map(({ id }) => id))
      const init = {
        method,
        ...(body === undefined ? {} : { body: body as BodyInit }),
        ...(headers === undefined ? {} : { headers }),
      }
      const answer = await server.request(path, init)
      const text = await answer.text()
      const added = (await server.actions()).filter(({ id }) => !known.has(id)).map((event) => event.action)
      const what = `${method} ${path} ${text}`
      expect([what, answer.status, added]).toEqual([what, status, action === undefined ? [] : [action]])
      expect(text).not.toContain(password)
    }
    expect(await server.stored()).toEqual(before)
    expect(before.certificates).toEqual([])

    // The same things, done right.
    const done = await server.request("/.well-known/est/simpleenroll", {
      method: "POST",
      body: good,
      headers: basic(password),
    })
    expect(done.status).toBe(200)
    expect((await server.stored()).versions).toHaveLength(1)
  })
})
