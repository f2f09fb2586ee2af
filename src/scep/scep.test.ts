/** SCEP for a CA that is elsewhere and has no RA pair: bare CSRs only. The rest is tested on the whole application. */
import { expect, test } from "bun:test"
import { Hono } from "hono"
import { AppError } from "../errors"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { readSignedData } from "../pki/cms-signed-data"
import { certificateBlocks } from "../pki/pem"
import { sharedKey } from "../pki/random.arbitrary"
import { scepRoutes } from "../protocols/scep/scep.routes"
import type { ApiEnv } from "../server/operation"
import { testApi } from "../testing/api"
import { csrWithChallenge, scepMessage, selfSigned } from "../testing/scep-client"
import { scepService } from "./scep.service"

const day = 86_400_000
const now = new Date()
const root = await createRootAuthority({
  keyType: "ecdsa-p256",
  commonName: "Elsewhere",
  notBefore: new Date(now.getTime() - day),
  notAfter: new Date(now.getTime() + 365 * day),
})
const authority = openAuthority({ ...root, chainPem: root.certPem })
const device = await sharedKey("rsa-2048")

const served = async () => {
  const warnings: string[] = []
  const recorded: unknown[] = []
  const scep = scepService({
    db: { transaction: async (work) => work({} as never) },
    profiles: [
      { pathId: "", issuerId: "iss-far", profileId: null, challengePassword: "let me in", ra: null, trust: null },
    ],
    rules: { allow3des: false, allowLegacy: false },
    enrolmentsPerDay: 0,
    enrolments: {
      async enrol({ csr }) {
        const { certPem } = await authority.sign({
          spkiDer: csr.spkiDer,
          subjectDer: csr.subjectDer,
          sans: csr.sans,
          ekus: [],
          notBefore: now,
          notAfter: new Date(now.getTime() + day),
        })
        const { serial, fingerprint, notAfter } = parseCertificate(certPem)
        const pemChain = certPem + root.certPem
        return { certificateId: "mc-1", versionId: "cv-1", serial, fingerprint, pemChain, notAfter }
      },
      isCurrent: async () => false,
    },
    challenges: { spend: async () => null, release: async () => {}, postpone: async () => {} },
    authorities: {
      usable: async () => {
        throw new AppError("internal", "there is no CA to certify an RA")
      },
    },
    authoritiesOf: async () => [],
    caChainOf: async () => root.certPem,
    audit: { append: async (_, event) => void recorded.push(event) },
    clock: { now: () => now },
    warn: (line) => warnings.push(line),
  })
  const app = testApi(new Hono<ApiEnv>(), undefined, { protocols: scepRoutes(scep) })
  return { scep, app, warnings, recorded }
}

test("the CA's one certificate is told as it is, no renewals are offered, and the operator is warned", async () => {
  const { scep, app, warnings } = await served()
  await scep.demandIssuers()
  expect(warnings).toEqual([expect.stringContaining("SCEP profile (root) takes no encrypted messages")])
  const answer = await app.request("/scep?operation=GetCACert")
  expect(answer.headers.get("content-type")).toBe("application/x-x509-ca-cert")
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(certificateBlocks(root.certPem)[0] ?? ""))
  expect(await (await app.request("/scep?operation=GetCACaps")).text()).toBe(
    "POSTPKIOperation\nSHA-256\nAES\nSCEPStandard\n",
  )
})

test("bare CSRs are taken, encrypted messages are refused in words", async () => {
  const { app, recorded } = await served()
  const post = (body: Buffer) => app.request("/scep?operation=PKIOperation", { method: "POST", body: body as BodyInit })
  const csr = csrWithChallenge(device, "device-1", { challenge: "let me in" })
  const issued = readSignedData(Buffer.from(await (await post(csr)).arrayBuffer())).certificates
  expect(issued.map((der) => parseCertificate(der).commonName)).toEqual(["device-1", "Elsewhere"])
  expect((await post(csrWithChallenge(device, "device-1", { challenge: "" }))).status).toBe(403)
  expect(recorded).toMatchObject([{ action: "scep_pkcsreq", details: { result: "failure", fail_info: "badRequest" } }])
  const certificateDer = await selfSigned(device, "x", now)
  const message = scepMessage({ content: csr, key: device, certificateDer, raDer: certificateDer })
  const refused = await post(message)
  expect([refused.status, (await refused.json()).message]).toEqual([400, expect.stringContaining("no RA")])
})
