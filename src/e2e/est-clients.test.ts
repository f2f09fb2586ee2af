/** EST with the clients that people have: curl with openssl, and strongSwan's `pki`; by password and, behind NGINX, by certificate. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { createRootAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, privateKeyPem, readPrivateKey } from "../pki/keys"
import { enrolmentPassword, estEnrol, estEnvironment, estProfileEnvironment } from "../testing/est-client"
import { freePort } from "../testing/free-port"
import { runNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { runner } from "../testing/runner"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const curl = peer("curl", "curl")
const openssl = peer("openssl", "openssl")
const nginx = peer("nginx", "nginx-light")
const pki = peer("pki", "strongswan-pki")

let stage: Stage | undefined
afterEach(() => stage?.end())

const user = `device:${enrolmentPassword}`
const mtlsEnvironment = (bundle: string) => ({
  CERTCTL_EST_MTLS_ENABLED: "true",
  CERTCTL_EST_MTLS_CLIENT_CA_TRUST_BUNDLE_PATH: bundle,
  CERTCTL_TRUSTED_PROXIES: "127.0.0.1",
})

const openWorld = async (env: Record<string, string> = {}) => {
  const here = openStage()
  stage = here
  const server = await serverProcess(here, { env: { ...estEnvironment, ...env } })
  return { here, server, run: runner(here), at: (name: string) => here.at(name), tlsCa: `${server.dataDir}/tls/ca.pem` }
}
type World = Awaited<ReturnType<typeof openWorld>>

/** A server that takes client certificates of its own CA from NGINX, which leads clients that have one to the path for them. */
const openProxiedWorld = async () => {
  const here = openStage()
  stage = here
  const bundle = here.at("clients.pem")
  const nobody = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName: "nobody",
    notBefore: new Date(Date.now() - 86_400_000),
    notAfter: new Date(Date.now() + 86_400_000),
  })
  writeFileSync(bundle, nobody.certPem)
  const server = await serverProcess(here, { env: { ...estEnvironment, ...mtlsEnvironment(bundle) } })
  await server.start()
  const site = await estEnrol(server, { commonName: "proxy", sans: ["127.0.0.1"] })
  // The CA is known now that it has issued something.
  writeFileSync(bundle, site.chainPem)
  await server.post("/api/v1/admin/est/reload-trust", {})
  writeFileSync(here.at("site.pem"), site.leafPem + site.chainPem)
  writeFileSync(here.at("site.key"), privateKeyPem(site.privateKey), { mode: 0o600 })
  const port = await freePort()
  const tlsCa = `${server.dataDir}/tls/ca.pem`
  const upstream = `proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate ${tlsCa};
    proxy_ssl_name localhost; proxy_http_version 1.1;`
  runNginx(
    here,
    nginx ?? "",
    "proxy",
    `map $ssl_client_verify $est { SUCCESS est-mtls; default est; }
     server { listen 127.0.0.1:${port} ssl; ssl_protocols TLSv1.3;
       ssl_certificate ${here.at("site.pem")}; ssl_certificate_key ${here.at("site.key")};
       ssl_client_certificate ${bundle}; ssl_verify_client optional;
       location /.well-known/est/ {
         proxy_set_header Client-Cert $ssl_client_escaped_cert; ${upstream}
         rewrite ^/.well-known/est/(.*)$ /.well-known/$est/$1 break;
         proxy_pass ${server.url}; } }`,
  )
  const world: World = { here, server, run: runner(here), at: (name) => here.at(name), tlsCa }
  const proxyUrl = `https://127.0.0.1:${port}`
  const asked = () => world.run([curl ?? "", "--silent", "--cacert", bundle, `${proxyUrl}/.well-known/est/cacerts`])
  await until("NGINX answers", () => asked().then(Boolean, () => false), 60_000, 50)
  return { world, proxyUrl, caPath: bundle }
}

const serials = async ({ server }: World): Promise<string[]> => {
  const { data } = await server.get("/api/v1/certificates?q=device-1")
  expect(data).toHaveLength(1)
  expect(data[0]).toMatchObject({ source: "EST", status: "Active" })
  const versions = await server.get(`/api/v1/certificates/${data[0].id}/versions`)
  return versions.data.map((version: { serial_number: string }) => version.serial_number).sort()
}

const serialOf = (pem: string): string => parseCertificate(pem).serial

describe.skipIf(curl === null || openssl === null)("curl and openssl", () => {
  const tools = ({ run, at }: World, caPath: string, url: string) => {
    const ask = async (path: string, ...more: string[]): Promise<string> =>
      run([
        curl ?? "",
        ...["--silent", "--show-error", "--cacert", caPath, "--output", at("answer.b64")],
        ...["--write-out", "%{http_code} %{content_type}", ...more, `${url}/.well-known/est/${path}`],
      ])
    const ssl = (...args: string[]) => run([openssl ?? "", ...args])
    const decoded = async (): Promise<string> => {
      await ssl("base64", "-d", "-A", "-in", at("answer.b64"), "-out", at("answer.der"))
      return at("answer.der")
    }
    return {
      ask,
      ssl,
      decoded,
      certificates: async () => ssl("pkcs7", "-inform", "DER", "-in", await decoded(), "-print_certs"),
      /** Sends a CSR for a new key, in base64 with line breaks; `name.key` is the key. */
      async enrol(operation: string, name: string, commonName: string, ...more: string[]): Promise<string> {
        const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at(`${name}.key`)]
        const names = ["-subj", `/CN=${commonName}`, "-addext", `subjectAltName=DNS:${commonName}`]
        await ssl("req", "-new", ...key, ...names, "-outform", "DER", "-out", at(`${name}.csr`))
        await ssl("base64", "-in", at(`${name}.csr`), "-out", at(`${name}.b64`))
        const body = ["--header", "content-type: application/pkcs10", "--data-binary", `@${at(`${name}.b64`)}`]
        return ask(operation, ...body, ...more)
      },
    }
  }
  const issued = "200 application/pkcs7-mime; smime-type=certs-only"
  const name = "device-1.example.com"

  test("fetch the CA and the attributes, enrol and enrol again with the password", async () => {
    const world = await openWorld({
      CERTCTL_EST_PROFILES: "devices",
      ...estProfileEnvironment("devices", "prof-devices"),
    })
    const { server, at } = world
    await server.start()
    await server.post("/api/v1/profiles", {
      id: "prof-devices",
      name: "devices",
      allowed_ekus: ["clientAuth"],
      required_csr_attributes: ["1.2.840.113549.1.9.7"],
    })
    const { ask, ssl, decoded, certificates, enrol } = tools(world, world.tlsCa, server.url)
    expect(await ask("cacerts")).toBe(issued)
    writeFileSync(at("ca.pem"), await certificates())
    expect(await ask("csrattrs")).toStartWith("204")
    expect(await ask("devices/csrattrs")).toBe("200 application/csrattrs")
    const attributes = await ssl("asn1parse", "-inform", "DER", "-in", await decoded())
    expect(attributes).toContain("TLS Web Client Authentication")
    expect(attributes).toContain("challengePassword")

    const seen: string[] = []
    for (const operation of ["simpleenroll", "simplereenroll"]) {
      expect(await enrol(operation, operation, name, "--user", user)).toBe(issued)
      const leaf = await certificates()
      writeFileSync(at("leaf.pem"), leaf)
      expect(await ssl("verify", "-x509_strict", "-CAfile", at("ca.pem"), at("leaf.pem"))).toContain("OK")
      const key = readPrivateKey(readFileSync(at(`${operation}.key`), "utf8"))
      expect(keysMatch(key, parseCertificate(leaf).der)).toBe(true)
      seen.push(serialOf(leaf))
    }
    expect(await serials(world)).toEqual(seen.sort())
    expect(await enrol("simpleenroll", "other", "other.example.com", "--user", "device:guess")).toStartWith("401 ")
    expect((await server.get("/api/v1/certificates")).total).toBe(1)
  })

  test.skipIf(nginx === null)("renew with the certificate, which NGINX passes on", async () => {
    const { world, proxyUrl, caPath } = await openProxiedWorld()
    const { enrol, certificates } = tools(world, caPath, proxyUrl)
    expect(await enrol("simpleenroll", "first", name, "--user", user)).toBe(issued)
    const first = await certificates()
    writeFileSync(world.at("first.pem"), first)
    const proof = ["--cert", world.at("first.pem"), "--key", world.at("first.key")]
    expect(await enrol("simplereenroll", "second", name, ...proof)).toBe(issued)
    expect(await serials(world)).toEqual([serialOf(first), serialOf(await certificates())].sort())

    // Of another name; without a certificate; with one that the client says itself it has.
    expect(await enrol("simplereenroll", "third", "other.example.com", ...proof)).toStartWith("500 ")
    expect(await enrol("simplereenroll", "third", name)).toStartWith("401 ")
    const claim = `Client-Cert: :${parseCertificate(first).der.toString("base64")}:`
    expect(await enrol("simplereenroll", "third", name, "--header", claim)).toStartWith("401 ")
    const { data } = await world.server.get("/api/v1/certificates?q=device-1")
    await world.server.post(`/api/v1/certificates/${data[0].id}/revoke`, { reason: "keyCompromise" })
    expect(await enrol("simplereenroll", "third", name, ...proof)).toStartWith("500 ")
    expect((await world.server.get("/api/v1/audit?action=est_csr_policy_violation")).data).toHaveLength(2)
    expect((await world.server.get("/api/v1/audit?action=est_auth_failed_basic")).data).toHaveLength(2)
  })
})

describe.skipIf(pki === null)("strongSwan's pki", () => {
  const tools = ({ run, at }: World) => {
    writeFileSync(at("strongswan.conf"), "libtls {\n  version_max = 1.3\n}\n")
    const program = (...args: string[]) => run([pki ?? "", ...args], { STRONGSWAN_CONF: at("strongswan.conf") })
    return {
      program,
      /** A new key and a CSR for it, in `name.key` and `name.csr`; of `like`'s names when that is given. */
      async request(name: string, like?: string): Promise<void> {
        const key = await program("--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
        writeFileSync(at(`${name}.key`), key, { mode: 0o600 })
        const names = ["--dn", "C=CH, O=Acme, CN=device-1.example.com", "--san", "device-1.example.com"]
        const same = like === undefined ? names : ["--oldreq", at(`${like}.csr`)]
        // PEM, so that standard output can be read as text.
        const csr = await program("--req", "--in", at(`${name}.key`), "--type", "ecdsa", ...same, "--outform", "pem")
        writeFileSync(at(`${name}.csr`), csr)
      },
    }
  }
  const enrolled = async (world: World, url: string, tlsCa: string, name: string, ...more: string[]) => {
    const files = ["--cacert", tlsCa, "--cacert", world.at("ca.pem"), "--in", world.at(`${name}.csr`)]
    const pem = await tools(world).program("--est", "--url", url, ...files, "--outform", "pem", ...more)
    writeFileSync(world.at(`${name}.pem`), pem)
    const key = readPrivateKey(readFileSync(world.at(`${name}.key`), "utf8"))
    expect(keysMatch(key, parseCertificate(pem).der)).toBe(true)
    return serialOf(pem)
  }
  const fetchCa = async (world: World) => {
    const into = ["--caout", world.at("ca.pem"), "--outform", "pem"]
    await tools(world).program("--estca", "--url", world.server.url, "--cacert", world.tlsCa, ...into)
    expect(parseCertificate(readFileSync(world.at("ca.pem"), "utf8")).isCa).toBe(true)
  }

  test("finds the CA, enrols and renews with the password", async () => {
    const world = await openWorld()
    await world.server.start()
    await fetchCa(world)
    const { request } = tools(world)
    await request("first")
    const { url } = world.server
    const first = await enrolled(world, url, world.tlsCa, "first", "--userpass", user)
    await request("second", "first")
    const old = ["--cert", world.at("first.pem"), "--key", world.at("first.key")]
    const second = await enrolled(world, url, world.tlsCa, "second", "--userpass", user, ...old)
    expect(await serials(world)).toEqual([first, second].sort())
    expect((await world.server.get("/api/v1/audit?action=est_simple_reenroll")).data).toHaveLength(1)
  })

  test.skipIf(nginx === null || curl === null)("renews with its certificate alone, behind NGINX", async () => {
    const { world, proxyUrl, caPath } = await openProxiedWorld()
    await fetchCa(world)
    const { request } = tools(world)
    await request("first")
    const first = await enrolled(world, proxyUrl, caPath, "first", "--userpass", user)
    await request("second", "first")
    const old = ["--cert", world.at("first.pem"), "--key", world.at("first.key")]
    const second = await enrolled(world, proxyUrl, caPath, "second", ...old)
    expect(await serials(world)).toEqual([first, second].sort())
  })
})
