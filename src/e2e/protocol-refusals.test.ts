/** What the protocol servers refuse: with which status, what the audit trail has of it, and that nothing is stored. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { openssl } from "../pki/openssl.process"
import { pemBlocks } from "../pki/pem"
import { enrolmentPassword as password } from "../testing/est-client"
import { onEachDatabase, type Scene } from "../testing/on-each-database"
import { csrWithChallenge } from "../testing/scep-client"
import { serverProcess } from "../testing/server-process"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

/** The local CA, and EST and SCEP under a profile that allows one name. */
const startServer = async ({ stage, env }: Scene) => {
  const server = await serverProcess(stage, {
    env: {
      ...env,
      CERTCTL_EST_ENABLED: "true",
      CERTCTL_EST_ENROLLMENT_PASSWORD: password,
      CERTCTL_EST_PROFILE_ID: "prof-devices",
      CERTCTL_SCEP_ENABLED: "true",
      CERTCTL_SCEP_CHALLENGE_PASSWORD: password,
      CERTCTL_SCEP_PROFILE_ID: "prof-devices",
    },
  })
  await server.start()
  await server.post("/api/v1/profiles", {
    id: "prof-devices",
    name: "devices",
    required_san_patterns: ["*.devices.example.com"],
  })
  const request = (path: string, init: RequestInit = {}) =>
    fetch(server.url + path, { ...init, keepalive: false, tls: { ca: server.caPem } })
  // Signs with the CA, whose responder is made by the first question.
  const caDer = await (await request("/.well-known/pki/ca/iss-local")).arrayBuffer()
  expect((await request("/.well-known/pki/ocsp/iss-local/01")).status).toBe(200)
  const total = async (what: string): Promise<number> => (await server.get(`/api/v1/${what}`)).total

  return {
    request,
    caPem: openssl(["x509", "-inform", "DER", "-in", "ca.der"], { "ca.der": Buffer.from(caDer) }).text,
    /** What happened, newest first; not the calls of this test itself. */
    events: async (): Promise<{ id: string; action: string; details: Record<string, unknown> }[]> =>
      (await server.get("/api/v1/audit?per_page=500")).data.filter(
        ({ action }: { action: string }) => !action.startsWith("api_"),
      ),
    stored: async () => ({ certificates: await total("certificates"), jobs: await total("jobs") }),
    versions: async (): Promise<number> => {
      const { data } = await server.get("/api/v1/certificates")
      const totals = data.map(({ id }: { id: string }) => total(`certificates/${id}/versions`))
      return (await Promise.all<number>(totals)).reduce((sum, each) => sum + each, 0)
    },
  }
}

const ocspRequest = ({ stage }: Scene, caPem: string): Buffer => {
  const path = stage.at("request.der")
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

onEachDatabase("the protocol servers", (open) => {
  test("refuse with the status that is documented, on record where somebody tried to enrol, and store nothing", async () => {
    const scene = await open()
    const server = await startServer(scene)
    const question = ocspRequest(scene, server.caPem)
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

    const damaged = ({ body = "" }: Sent): Buffer => Buffer.from(body).subarray(0, 300)

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
    const failedTo: Readonly<Record<string, string>> = {
      simpleenroll: "est_simple_enroll_failed",
      simplereenroll: "est_simple_reenroll_failed",
    }
    // What RFC 7030 leaves to servers, and is not here.
    const absent = ["serverkeygen", "fullcmc"].map(
      (operation): Refusal => ["POST", `/.well-known/est/${operation}`, 404, est(good)],
    )
    const enrolments = ["simpleenroll", "simplereenroll"].flatMap((operation): Refusal[] => [
      ["GET", `/.well-known/est/${operation}`, 405],
      ["POST", `/.well-known/est/none/${operation}`, 404, est(good)],
      ["POST", `/.well-known/est-mtls/${operation}`, 404, est(good)],
      ["POST", `/.well-known/est/${operation}`, 401, { body: good }, "est_auth_failed_basic"],
      ["POST", `/.well-known/est/${operation}`, 401, est(good, "a guess"), "est_auth_failed_basic"],
      ...["", "no CSR!", good.slice(0, 400)].map(
        (body): Refusal => ["POST", `/.well-known/est/${operation}`, 400, est(body), failedTo[operation]],
      ),
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
      ["GET", "/scep?operation=PKIOperation", 400, {}, "scep_pkcsreq"],
      ["GET", "/scep?operation=PKIOperation&message=!!!", 400, {}, "scep_pkcsreq"],
      ["POST", "/scep?operation=GetCACert", 400, { body: "x" }],
      ["POST", "/scep?operation=PKIOperation", 400, { body: "" }, "scep_pkcsreq"],
      ["POST", "/scep?operation=PKIOperation", 400, { body: damaged(bare(name, password)) }, "scep_pkcsreq"],
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
      ...absent,
      ...told,
      ...scep,
    ]) {
      const known = new Set((await server.events()).map(({ id }) => id))
      const init = {
        method,
        ...(body === undefined ? {} : { body: body as BodyInit }),
        ...(headers === undefined ? {} : { headers }),
      }
      const answer = await server.request(path, init)
      const text = await answer.text()
      const events = (await server.events()).filter(({ id }) => !known.has(id))
      const added = events.map((event) => event.action)
      const what = `${method} ${path} ${text}`
      expect([what, answer.status, added]).toEqual([what, status, action === undefined ? [] : [action]])
      expect(text + JSON.stringify(events)).not.toContain(password)
    }
    expect(await server.stored()).toEqual(before)
    expect(before.certificates).toBe(0)

    // The same things, done right.
    const done = await server.request("/.well-known/est/simpleenroll", {
      method: "POST",
      body: good,
      headers: basic(password),
    })
    expect(done.status).toBe(200)
    expect(await server.versions()).toBe(1)
  })
})
