/**
 * The X.509 certificates of the demo inventory: real ones, signed by a CA of its own that is as old as they need it to be.
 * The server's Local CA signs none of them: what it signs was issued, not made up.
 */
import { renewalPoint } from "../certificates/renewal-point"
import { newId } from "../db/ids"
import type { Tables } from "../db/tables/tables"
import { type Authority, createRootAuthority, openAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import type { Sealer } from "../secrets/sealing"
import { type DemoCertificate, demoCertificates } from "./certificates.rows"
import { agentIdOf } from "./fleet.rows"
import { daysFrom, issuesOf } from "./moments"
import { policies, profiles } from "./ownership.rows"

type Insert<Table extends keyof Tables> = Tables[Table]["$inferInsert"]
export type DemoVersion = Insert<"certificateVersions"> & { readonly createdAt: Date }

export const demoIssuerId = "iss-example"
const commonName = "Example Corp Demo CA"
const caAgeDays = 400
const caYears = 10
const backdateMs = 15 * 60_000

/** A Local CA like any other: new certificates can be issued from it, too. */
const makeIssuer = async (now: Date, sealer: Pick<Sealer, "seal" | "sealJson">) => {
  const createdAt = daysFrom(now, -caAgeDays)
  const { certPem, privateKey } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName,
    organization: "Example Corp (demo)",
    notBefore: createdAt,
    notAfter: daysFrom(createdAt, caYears * 365),
  })
  const authority = openAuthority({ certPem, chainPem: certPem, privateKey })
  const config = { ca_common_name: commonName, validity_days: 90 }
  const issuer: Insert<"issuers"> = {
    id: demoIssuerId,
    name: "Example Corp CA (demo)",
    type: "GenericCA",
    config,
    encryptedConfig: sealer.sealJson(config),
    createdAt,
    updatedAt: createdAt,
  }
  const caKey: Insert<"caKeys"> = {
    issuerId: demoIssuerId,
    ski: authority.keyId.toString("hex"),
    certPem,
    chainPem: certPem,
    encryptedKey: sealer.seal(privateKeyPem(privateKey)),
    state: "active",
    createdAt,
  }
  return { authority, issuer, caKey }
}

/** The key is thrown away: the hosts that would hold it do not exist. */
const makeVersion = async (
  authority: Authority,
  certificate: DemoCertificate,
  issuedAt: Date,
): Promise<DemoVersion> => {
  const { id, sans, lifetimeDays, profileId, policyId, targets } = certificate
  const key = await generateKey(profileId === "prof-high-security" ? "ecdsa-p384" : "ecdsa-p256")
  const { certPem } = await authority.sign({
    spkiDer: spkiOf(key),
    subjectCommonName: certificate.commonName,
    sans: sans.map(sanOf),
    ekus: profiles[profileId].allowedEkus,
    notBefore: new Date(issuedAt.getTime() - backdateMs),
    notAfter: daysFrom(issuedAt, lifetimeDays),
  })
  const facts = parseCertificate(certPem)
  const [target] = targets
  return {
    id: newId("cv-"),
    certificateId: id,
    serialNumber: facts.serial,
    notBefore: facts.notBefore,
    notAfter: facts.notAfter,
    fingerprintSha256: facts.fingerprint,
    pemChain: certPem + authority.chainPem,
    keyAlgorithm: facts.keyAlgorithm,
    keySize: facts.keySize,
    issuerId: demoIssuerId,
    agentId: target === undefined ? null : agentIdOf(target),
    renewAt: renewalPoint(id, policies[policyId].renewalWindowDays, { issuedAt, notAfter: facts.notAfter }),
    createdAt: issuedAt,
  }
}

/** Versions oldest first for each certificate. Signs and seals, so nothing for inside a transaction. */
export const makeVersions = async (now: Date, sealer: Pick<Sealer, "seal" | "sealJson">) => {
  const { authority, issuer, caKey } = await makeIssuer(now, sealer)
  const versions: DemoVersion[] = []
  for (const certificate of demoCertificates) {
    const issues = issuesOf(certificate, now).slice(0, certificate.versions).reverse()
    for (const issuedAt of issues) versions.push(await makeVersion(authority, certificate, issuedAt))
  }
  return { issuer, caKey, versions }
}
