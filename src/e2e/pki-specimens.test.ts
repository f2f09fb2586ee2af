/** Everything that the PKI inside certctl signs, judged by OpenSSL, GnuTLS and Java. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { parseCertificate } from "../pki/certificate"
import { keyTypes } from "../pki/keys"
import { toPem } from "../pki/pem"
import { peer } from "../testing/peers"
import { type CertificateSpecimen, makeSpecimens, type Specimens, specimenProfiles } from "../testing/pki-specimens"
import { openStage } from "../testing/stage"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const openssl = peer("openssl", "openssl")
const certtool = peer("certtool", "gnutls-bin")
const keytool = peer("keytool", "default-jre-headless")

/** What OpenSSL calls the use that a profile is for. */
const purposes: Readonly<Record<string, string>> = {
  server: "sslserver",
  staple: "sslserver",
  brief: "sslserver",
  mutual: "sslserver",
  client: "sslclient",
  workload: "sslclient",
  mail: "smimesign",
  stamp: "timestampsign",
}

describe("what is issued", () => {
  const stage = openStage()
  let made: Specimens
  beforeAll(async () => {
    made = await makeSpecimens(stage)
  }, 120_000)
  afterAll(() => stage.end())

  let files = 0
  const file = (content: string | Buffer): string => {
    files += 1
    const path = stage.at(`specimen-${files}`)
    writeFileSync(path, content)
    return path
  }
  const run = (program: string | null, ...args: string[]): { ok: boolean; text: string } => {
    const { success, stdout, stderr } = Bun.spawnSync([program ?? "", ...args])
    return { ok: success, text: stdout.toString() + stderr.toString() }
  }
  /** Certificates that can be judged in one go: of one issuer, for one use. */
  const groups = (): CertificateSpecimen[][] => [
    ...Map.groupBy(made.certificates, ({ issuerPem, role, profile }) => `${issuerPem} ${role} ${profile}`).values(),
  ]
  const pemOf = ({ der }: { der: Buffer }): string => toPem("CERTIFICATE", der)

  test("covers every profile with every kind of key, under CAs of every kind of key", () => {
    const names = new Set(made.certificates.map(({ name }) => name))
    for (const label of Object.keys(specimenProfiles)) {
      for (const type of keyTypes) expect(names).toContain(`${label} ${type} under ecdsa-p256`)
    }
    for (const type of keyTypes) {
      for (const name of [`root ${type}`, `responder of ${type}`]) expect(names).toContain(name)
    }
    expect(made.crls).toHaveLength(1 + keyTypes.length)
    expect(made.ocspAnswers).toHaveLength(2 + keyTypes.length)
  })

  test("has serial numbers of its own, 20 bytes long and positive", () => {
    const serials = made.certificates.map(({ der }) => parseCertificate(der).serial)
    expect(new Set(serials).size).toBe(serials.length)
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{39}$/)
  })

  test("asks for stapling where the profile does", () => {
    const leaves = made.certificates.filter(({ role }) => role === "leaf")
    for (const { profile, der } of leaves) expect(parseCertificate(der).mustStaple).toBe(profile === "staple")
  })

  test.skipIf(openssl === null)("is accepted by OpenSSL for its use", () => {
    for (const group of groups()) {
      const [{ issuerPem, profile } = { issuerPem: "", profile: "" }] = group
      const purpose = purposes[profile]
      const paths = group.map((one) => file(pemOf(one)))
      const use = purpose === undefined ? [] : ["-purpose", purpose]
      const args = ["verify", "-x509_strict", "-partial_chain", "-check_ss_sig", ...use, "-CAfile", file(issuerPem)]
      expect(run(openssl, ...args, ...paths).text).toBe(paths.map((path) => `${path}: OK\n`).join(""))
    }
    for (const { der, caPem } of made.crls) {
      const answer = run(openssl, "crl", "-inform", "DER", "-in", file(der), "-noout", "-CAfile", file(caPem))
      expect(answer.text).toBe("verify OK\n")
    }
    for (const { der, caPem } of made.ocspAnswers) {
      const responder = file(caPem)
      const args = ["ocsp", "-respin", file(der), "-VAfile", responder, "-CAfile", responder, "-resp_text"]
      expect(run(openssl, ...args).text).toContain("Response verify OK")
    }
  })

  test.skipIf(certtool === null)("is accepted by GnuTLS", () => {
    for (const one of made.certificates) {
      const args = ["--verify", "--load-ca-certificate", file(one.issuerPem), "--infile", file(pemOf(one))]
      const { ok, text } = run(certtool, ...args)
      expect([one.name, ok, /Chain verification output: (.*)/.exec(text)?.[1] ?? text]).toEqual([
        one.name,
        true,
        "Verified. The certificate is trusted. ",
      ])
    }
    for (const { name, der, caPem } of made.crls) {
      const args = ["--verify-crl", "--load-ca-certificate", file(caPem), "--infile", file(toPem("X509 CRL", der))]
      const { text } = run(certtool, ...args)
      expect([name, /Verification output: (.*)/.exec(text)?.[1] ?? text]).toEqual([
        name,
        "Verified. The certificate is trusted. ",
      ])
    }
  })

  test.skipIf(keytool === null)("is read by Java, extension by extension", () => {
    const { ok, text } = run(keytool, "-printcert", "-file", file(made.certificates.map(pemOf).join("")))
    expect(ok).toBe(true)
    expect(text.match(/^Serial number: /gm)).toHaveLength(made.certificates.length)
    expect(text).not.toMatch(/Unparseable|Exception/)
  })
})
