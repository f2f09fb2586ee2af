/**
 * What the PKI inside certctl makes, from a running server: certificates of every profile and kind of key under CAs of every kind
 * of key, the CAs, what leads from one root to the next, OCSP responders, revocation lists and OCSP answers. For linters and
 * other implementations to judge.
 */
import { writeFileSync } from "node:fs"
import { revocationReasonCodes } from "../connectors/issuers/contract"
import { createRootAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { generateKey, type KeyType, keyTypes, privateKeyPem } from "../pki/keys"
import { openssl } from "../pki/openssl.process"
import { certificateBlocks, pemBlocks, toPem } from "../pki/pem"
import { estEnrol, estEnrolCsr, estEnvironment, estProfileEnvironment } from "./est-client"
import { freePort } from "./free-port"
import { type ServerProcess, serverProcess } from "./server-process"
import type { Stage } from "./stage"

type Role = "root" | "cross" | "intermediate" | "responder" | "leaf"

export interface CertificateSpecimen {
  readonly name: string
  readonly role: Role
  readonly der: Buffer
  /** What signed it, or itself; PEM. */
  readonly issuerPem: string
  /** Profile of a leaf; else empty. */
  readonly profile: string
}

/** A revocation list or an OCSP answer. */
export interface StatusSpecimen {
  readonly name: string
  readonly der: Buffer
  /** The CA that signed it or, of an answer, its responder; PEM. */
  readonly caPem: string
}

export interface Specimens {
  readonly certificates: readonly CertificateSpecimen[]
  readonly crls: readonly StatusSpecimen[]
  readonly ocspAnswers: readonly StatusSpecimen[]
}

interface Profile {
  readonly ekus: readonly string[]
  readonly commonName: string
  readonly sans: readonly string[]
  readonly more?: object
}

const host = "shop.example.com"
const server = { ekus: ["serverAuth"], commonName: host, sans: [host] }

/** By path label. */
export const specimenProfiles = {
  server: { ...server, sans: [host, "*.shop.example.com", "xn--mnchen-3ya.example.com"] },
  staple: { ...server, more: { must_staple: true } },
  brief: { ...server, more: { max_ttl_seconds: 1800, allow_short_lived: true } },
  mutual: { ekus: ["serverAuth", "clientAuth"], commonName: host, sans: [host, "8.8.8.8", "2001:4860:4860::8888"] },
  client: { ekus: ["clientAuth"], commonName: "robot.example.com", sans: [] },
  workload: { ekus: ["clientAuth"], commonName: "billing.example.com", sans: ["spiffe://example.com/billing"] },
  code: { ekus: ["codeSigning"], commonName: "releases.example.com", sans: [] },
  mail: { ekus: ["emailProtection"], commonName: "ann@example.com", sans: ["ann@example.com"] },
  stamp: { ekus: ["timeStamping"], commonName: "time.example.com", sans: [] },
  all: {
    ekus: ["serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping"],
    commonName: host,
    sans: [host, "8.8.8.8", "ann@example.com", "https://shop.example.com/id"],
  },
} as const satisfies Record<string, Profile>

type Label = keyof typeof specimenProfiles
const profiles = Object.entries(specimenProfiles) as [Label, Profile][]
const keyRules = ["RSA", "ECDSA", "Ed25519"].map((algorithm) => ({ algorithm }))
const otherCaTypes: readonly KeyType[] = ["rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p384", "ecdsa-p521", "ed25519"]
const dayMs = 86_400_000

const download = async (url: string): Promise<Buffer> => {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
  return Buffer.from(await answer.arrayBuffer())
}

/** A subject of every usual attribute, in whatever string types openssl has by default. */
const fullSubjectCsr = (): string => {
  const subject = "/C=de/ST=Bavaria/L=München/O=Example & Sons, Inc./OU=Café/CN=shop.example.com"
  const names = ["-subj", subject, "-utf8", "-addext", "subjectAltName=DNS:shop.example.com"]
  const made = openssl(
    ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "a.key", ...names],
    {},
  )
  const [request] = pemBlocks(made.text)
  if (request === undefined) throw new Error(made.text)
  return toPem(request.label, request.der)
}

/** Starts a server in the stage and has it make everything. `leafKeys`: of the leaves under the first CA. */
export const makeSpecimens = async (stage: Stage, leafKeys: readonly KeyType[] = keyTypes): Promise<Specimens> => {
  const port = await freePort()
  const pki = `http://127.0.0.1:${port}/.well-known/pki`
  const instance = await serverProcess(stage, {
    env: {
      ...estEnvironment,
      CERTCTL_EST_PROFILES: profiles.map(([label]) => label).join(","),
      ...Object.assign({}, ...profiles.map(([label]) => estProfileEnvironment(label, `prof-${label}`))),
      CERTCTL_CA_ORGANIZATION: "Example & Sons, Inc.",
      // Beyond 2050, where dates are written in another way.
      CERTCTL_CA_VALIDITY: "218400h",
      CERTCTL_PKI_HTTP_PORT: String(port),
      CERTCTL_PKI_URL: "http://pki.example.com",
      CERTCTL_OCSP_RATE_LIMIT_PER_IP_MIN: "0",
    },
  })
  await instance.start()
  for (const [label, { ekus, more }] of profiles) {
    const settings = { allowed_ekus: ekus, allowed_key_algorithms: keyRules, ...more }
    await instance.post("/api/v1/profiles", { id: `prof-${label}`, name: label, ...settings })
  }
  const keys = new Map(await Promise.all(keyTypes.map(async (type) => [type, await generateKey(type)] as const)))

  const certificates: CertificateSpecimen[] = []
  const crls: StatusSpecimen[] = []
  const ocspAnswers: StatusSpecimen[] = []
  const add = (name: string, role: Role, pem: string, issuerPem: string, profile: string) =>
    certificates.push({ name, role, der: parseCertificate(pem).der, issuerPem, profile })

  const rootsOf = async () => (await instance.get("/api/v1/issuers/iss-local/roots")).data
  const issue = async (label: Label, type: KeyType, ca: string, caPem: string): Promise<string> => {
    const { commonName, sans } = specimenProfiles[label]
    const { leafPem, serial } = await estEnrol(
      instance,
      { commonName, sans: [...sans], ...{ privateKey: keys.get(type) ?? (await generateKey(type)) } },
      label,
    )
    add(`${label} ${type} under ${ca}`, "leaf", leafPem, caPem, label)
    return serial
  }

  const statusOf = async (ca: string, ski: string, caPem: string, serials: Readonly<Record<string, string>>) => {
    crls.push({ name: `list of ${ca}`, der: await download(`${pki}/crl/iss-local?ca=${ski}`), caPem })
    for (const [state, serial] of Object.entries(serials)) {
      const der = await download(`${pki}/ocsp/iss-local/${serial}`)
      const { text } = openssl(["ocsp", "-respin", "a.der", "-noverify", "-resp_text"], { "a.der": der })
      const responderPem = toPem("CERTIFICATE", certificateBlocks(text)[0] ?? Buffer.alloc(0))
      ocspAnswers.push({ name: `${state} of ${ca}`, der, caPem: responderPem })
      if (state === "good") add(`responder of ${ca}`, "responder", responderPem, caPem, "")
    }
  }

  const revoke = async (serial: string, reason: string) => {
    const [{ id }] = (await instance.get(`/api/v1/certificates?q=${serial}`)).data
    await instance.post(`/api/v1/certificates/${id}/revoke`, { reason })
  }

  const [first] = await rootsOf()
  add("root ecdsa-p256", "root", first.cert_pem, first.cert_pem, "")
  crls.push({ name: "empty list", der: await download(`${pki}/crl/iss-local`), caPem: first.cert_pem })
  let good = ""
  for (const [label] of profiles)
    for (const type of leafKeys) good = await issue(label, type, "ecdsa-p256", first.cert_pem)
  const { leafPem } = await estEnrolCsr(instance, fullSubjectCsr(), "server")
  add("full subject under ecdsa-p256", "leaf", leafPem, first.cert_pem, "")
  let revoked = ""
  for (const reason of Object.keys(revocationReasonCodes)) {
    const commonName = `${reason.toLowerCase()}.example.com`
    ;({ serial: revoked } = await estEnrol(instance, { commonName, sans: [commonName] }, "server"))
    await revoke(revoked, reason)
  }
  await statusOf("ecdsa-p256", first.key_id, first.cert_pem, { good, revoked, unknown: "40".repeat(20) })

  for (const type of otherCaTypes) {
    const [former] = await rootsOf()
    const [root] = (await instance.post("/api/v1/issuers/iss-local/roots", { key_type: type })).data
    add(`root ${type}`, "root", root.cert_pem, root.cert_pem, "")
    add(`${type} by the former root`, "cross", root.new_with_old_pem, former.cert_pem, "")
    add(`former root by ${type}`, "cross", root.old_with_new_pem, root.cert_pem, "")
    for (const leafType of ["ecdsa-p256", "rsa-2048"] as const) {
      good = await issue("server", leafType, type, root.cert_pem)
    }
    await statusOf(type, root.key_id, root.cert_pem, { good })
  }
  await instance.call("PUT", "/api/v1/issuers/iss-local", { config: { validity_days: 36_500 } })
  const [last] = await rootsOf()
  await issue("client", "ecdsa-p256", "ed25519, beyond 2050,", last.cert_pem)
  for (const one of await intermediates(instance, stage)) add(one.name, "intermediate", one.pem, one.issuerPem, "")
  return { certificates, crls, ocspAnswers }
}

/** A hierarchy of three, the last with name constraints of every kind. */
const intermediates = async (instance: ServerProcess, stage: Stage) => {
  const root = await createRootAuthority({
    keyType: "ecdsa-p384",
    commonName: "Corporate Root",
    notBefore: new Date(Date.now() - dayMs),
    notAfter: new Date(Date.now() + 3650 * dayMs),
  })
  const keyPath = stage.at("root.key")
  writeFileSync(keyPath, privateKeyPem(root.privateKey), { mode: 0o600 })
  const hierarchy = { name: "corporate", type: "GenericCA", hierarchy_mode: "tree" }
  const { id: issuerId } = await instance.post("/api/v1/issuers", hierarchy)
  const path = `/api/v1/issuers/${issuerId}/intermediates`
  const top = await instance.post(path, { name: "root", root_cert_pem: root.certPem, key_driver_id: keyPath })
  const child = (parent: string, more: object) =>
    instance.post(path, { parent_ca_id: parent, algorithm: "RSA-3072", ttl_days: 1000, ...more })
  const policy = await child(top.id, {
    name: "policy",
    path_len_constraint: 1,
    subject: { common_name: "Policy CA", organization: ["Example & Sons, Inc."], country: ["DE"] },
  })
  const issuing = await child(policy.id, {
    name: "issuing",
    subject: { common_name: "Issuing CA", organization: ["Example & Sons, Inc."], country: ["DE"] },
    name_constraints: [{ permitted: ["example.com", "8.8.8.0/24", "@example.com"], excluded: ["lab.example.com"] }],
  })
  return [
    { name: "policy CA", pem: String(policy.cert_pem), issuerPem: root.certPem },
    { name: "issuing CA", pem: String(issuing.cert_pem), issuerPem: String(policy.cert_pem) },
  ]
}
