/** What is exported of certificates of every profile opens elsewhere: PEM and PKCS#12, in OpenSSL, GnuTLS and Java. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { parseCertificate } from "../pki/certificate"
import { estEnrol, estEnvironment, estProfileEnvironment } from "../testing/est-client"
import { peer } from "../testing/peers"
import { specimenProfiles } from "../testing/pki-specimens"
import { type Runner, runner } from "../testing/runner"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { openStage } from "../testing/stage"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const openssl = peer("openssl", "openssl")
const certtool = peer("certtool", "gnutls-bin")
const keytool = peer("keytool", "default-jre-headless")

const password = "to carry it elsewhere"
const labels = Object.keys(specimenProfiles) as (keyof typeof specimenProfiles)[]

interface Exported {
  readonly serial: string
  readonly leafPem: string
  readonly chainPem: string
  readonly store: string
}

describe("exports", () => {
  const stage = openStage()
  let server: ServerProcess
  let run: Runner
  /** By profile. `store` is the path of the PKCS#12 file. */
  const exported = new Map<string, Exported>()
  beforeAll(async () => {
    run = runner(stage)
    server = await serverProcess(stage, {
      env: {
        ...estEnvironment,
        CERTCTL_EST_PROFILES: labels.join(","),
        ...Object.assign({}, ...labels.map((label) => estProfileEnvironment(label, `prof-${label}`))),
        CERTCTL_CERT_EXPORT_RATE_LIMIT_PER_ACTOR_HR: "0",
      },
    })
    await server.start()
    for (const label of labels) {
      const { ekus, commonName, sans } = specimenProfiles[label]
      await server.post("/api/v1/profiles", { id: `prof-${label}`, name: label, allowed_ekus: ekus })
      const { leafPem, chainPem, serial } = await estEnrol(server, { commonName, sans: [...sans] }, label)
      const { data } = await server.get(`/api/v1/certificates?q=${serial}`)
      expect(data).toHaveLength(1)
      const pem = await server.get(`/api/v1/certificates/${data[0].id}/export/pem`)
      expect([pem.cert_pem, pem.chain_pem]).toEqual([leafPem, chainPem])
      const answer = await fetch(`${server.url}/api/v1/certificates/${data[0].id}/export/pkcs12`, {
        method: "POST",
        headers: { authorization: `Bearer ${server.adminKey}`, "content-type": "application/json" },
        body: JSON.stringify({ password }),
        tls: { ca: server.caPem },
      })
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/x-pkcs12"])
      const store = stage.at(`${label}.p12`)
      writeFileSync(store, Buffer.from(await answer.arrayBuffer()))
      exported.set(label, { serial, leafPem, chainPem, store })
    }
  }, 120_000)
  afterAll(() => stage.end())

  const each = async (judge: (label: string, file: Exported) => Promise<void>, chosen: readonly string[] = labels) => {
    expect(exported.size).toBe(labels.length)
    for (const [label, file] of exported) if (chosen.includes(label)) await judge(label, file)
  }

  test.skipIf(openssl === null)("open in OpenSSL with AES-256 and a MAC of SHA-256, and hold no key", () =>
    each(async (label, { leafPem, chainPem, store }) => {
      const args = ["pkcs12", "-in", store, "-passin", `pass:${password}`, "-nodes", "-info"] as const
      // What it says of the algorithms goes to standard error.
      const text = await run(["/bin/sh", "-c", 'exec "$@" 2>&1', "sh", openssl ?? "", ...args])
      expect([label, /MAC: (\w+)/.exec(text)?.[1], text.includes("AES-256-CBC")]).toEqual([label, "sha256", true])
      const certificates = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\n/g)
      expect(certificates).toEqual([leafPem, chainPem])
      expect(text).not.toContain("PRIVATE KEY")
      await run([openssl ?? "", ...args.slice(0, 4), "pass:another"] as [string, ...string[]], {}, 1)
    }),
  )

  test.skipIf(certtool === null)("open in GnuTLS", () =>
    each(async (label, { store }) => {
      const info = ["--p12-info", "--inder", "--infile", store, "--password", password]
      const text = await run(["/bin/sh", "-c", 'exec "$@" 2>&1', "sh", certtool ?? "", ...info])
      expect([label, text.match(/BEGIN CERTIFICATE/g)?.length, text.includes("PRIVATE KEY")]).toEqual([label, 2, false])
    }),
  )

  // Each takes a second to start. Java has read all the certificates in another test.
  const forJava = ["server", "mail", "all"]
  test.skipIf(keytool === null)("are trust stores for Java", () =>
    each(async (label, { serial, chainPem, store }) => {
      const args = ["-list", "-v", "-keystore", store, "-storetype", "PKCS12", "-storepass", password]
      const text = await run([keytool ?? "", ...args])
      expect([label, text.match(/Entry type: trustedCertEntry/g)?.length]).toEqual([label, 2])
      const serials = [...text.matchAll(/^Serial number: (\w+)/gm)].map(([, found]) => found)
      expect(serials.sort()).toEqual([serial, parseCertificate(chainPem).serial].sort())
    }, forJava),
  )
})
