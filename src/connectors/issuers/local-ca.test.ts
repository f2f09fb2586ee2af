import { describe, expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import type { Clock } from "../../clock"
import { AppError } from "../../errors"
import { type Authority, createRootAuthority, openAuthority } from "../../pki/authority"
import { parseCertificate } from "../../pki/certificate"
import { buildCsr } from "../../pki/csr"
import { generateKey, type KeyType } from "../../pki/keys"
import type { Issued, IssueRequest, IssuerDeps } from "./contract"
import { localCa } from "./local-ca"

const now = new Date("2030-06-01T12:00:00.500Z")
const minute = 60_000
const day = 86_400_000
const fromNow = (ms: number) => new Date(now.getTime() + ms)

const makeAuthority = async (notBefore = fromNow(-day), notAfter = fromNow(3650 * day)): Promise<Authority> => {
  const { certPem, privateKey } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName: "Test CA",
    notBefore,
    notAfter,
  })
  return openAuthority({ certPem, chainPem: certPem, privateKey })
}

const depsWith = (authority: Authority, more: Partial<IssuerDeps> = {}): IssuerDeps => ({
  fetch,
  clock: { now: () => now } satisfies Clock,
  heldAuthority: async () => authority,
  heldAuthorities: async () => [authority],
  authorityFromFiles: () => Promise.reject(new Error("no files here")),
  backdateMs: 15 * minute,
  publicUrls: () => ({ crl: [], ocsp: [], caCertificate: [] }),
  ...more,
})

const requestFor = async (more: Partial<IssueRequest> & { csrSans?: string[]; keyType?: KeyType } = {}) => {
  const { csrSans = ["www.example.com"], keyType = "ecdsa-p256", ...rest } = more
  const csrPem = buildCsr({ commonName: "www.example.com", sans: csrSans, privateKey: await generateKey(keyType) })
  const request: IssueRequest = {
    csrPem,
    commonName: "www.example.com",
    sans: [],
    ekus: [],
    maxTtlSeconds: 0,
    mustStaple: false,
    idempotencyKey: "once",
    ...rest,
  }
  return request
}

const issue = async (config: object, deps: IssuerDeps, request: IssueRequest) => {
  const issued = (await localCa.open(config, deps).issue(request)) as Issued
  return { ...issued, leaf: parseCertificate(issued.certPem) }
}

describe("the local CA", () => {
  test("signs for 90 days, backdated, with an order id made of its serial, and verifies against its chain", async () => {
    const authority = await makeAuthority()
    const { leaf, chainPem, certPem, orderId } = await issue({}, depsWith(authority), await requestFor())
    expect(leaf.notBefore).toEqual(new Date("2030-06-01T11:45:00Z"))
    expect(leaf.notAfter).toEqual(new Date("2030-08-30T12:00:00Z"))
    expect(leaf.serial).toMatch(/^[4-7][0-9a-f]{39}$/)
    expect(orderId).toBe(`local-${leaf.serial}`)
    expect(leaf.commonName).toBe("www.example.com")
    expect(leaf.ekus.sort()).toEqual(["clientAuth", "serverAuth"])
    expect(chainPem).toBe(authority.certPem)
    expect(new X509Certificate(certPem).verify(new X509Certificate(chainPem).publicKey)).toBe(true)
  })

  test("puts the names of the CSR and of the request into the certificate, each once and typed by its form", async () => {
    const request = await requestFor({
      csrSans: ["www.example.com", "10.0.0.1"],
      sans: ["WWW.example.com", "a@example.com", "localhost", "2001:DB8::1", "spiffe://x.test/y"],
    })
    const { leaf } = await issue({}, depsWith(await makeAuthority()), request)
    expect(leaf.sans.map(({ type, value }) => `${type}:${value}`)).toEqual([
      "dns:www.example.com",
      "ip:10.0.0.1",
      "email:a@example.com",
      "dns:localhost",
      "ip:127.0.0.1",
      "ip:2001:db8::1",
      "uri:spiffe://x.test/y",
    ])
  })

  test("makes the common name a SAN where there is no other", async () => {
    const { leaf } = await issue({}, depsWith(await makeAuthority()), await requestFor({ csrSans: [] }))
    expect(leaf.sans).toEqual([{ type: "dns", value: "www.example.com" }])
  })

  test("has room for a common name that no subject can hold", async () => {
    const commonName = `${"a".repeat(60)}.example.com`
    const csrPem = buildCsr({ commonName, sans: ["b.example.com"], privateKey: await generateKey("ecdsa-p256") })
    const { leaf } = await issue({}, depsWith(await makeAuthority()), await requestFor({ csrPem, commonName }))
    expect(leaf.commonName).toBe("")
    expect(leaf.sans.map(({ value }) => value)).toEqual(["b.example.com", commonName])
  })

  test("asks for stapling where the profile wants it", async () => {
    const authority = await makeAuthority()
    for (const mustStaple of [true, false]) {
      const { leaf } = await issue({}, depsWith(authority), { ...(await requestFor()), mustStaple })
      expect(leaf.mustStaple).toBe(mustStaple)
    }
  })

  test.each([
    [{ validity_days: 10 }, 0, 10 * day],
    [{ validity_days: 0 }, 0, 90 * day],
    [{ validity_days: 10 }, 3600, 3_600_000],
    [{ validity_days: 1 }, 7 * 86_400, day],
    [{ validity_days: 36_500 }, 0, 3650 * day],
  ])(
    "with %j and a limit of %d seconds ends the certificate where the earliest of all limits is",
    async (config, maxTtlSeconds, ms) => {
      const { leaf } = await issue(config, depsWith(await makeAuthority()), await requestFor({ maxTtlSeconds }))
      expect(leaf.notAfter).toEqual(new Date(Math.floor(fromNow(ms).getTime() / 1000) * 1000))
    },
  )

  test("never dates a certificate back beyond its own beginning", async () => {
    const authority = await makeAuthority(fromNow(-minute))
    const { leaf } = await issue({}, depsWith(authority), await requestFor())
    expect(leaf.notBefore).toEqual(authority.notBefore)
  })

  test("gives the usages asked for, and those of TLS when it knows none of them", async () => {
    const deps = depsWith(await makeAuthority())
    const mail = await issue(
      {},
      deps,
      await requestFor({ ekus: ["emailProtection", "unheardOf"], keyType: "rsa-2048" }),
    )
    expect(mail.leaf.ekus).toEqual(["emailProtection"])
    expect(mail.leaf.keyUsage.sort()).toEqual(["contentCommitment", "digitalSignature"])
    const unknown = await issue({}, deps, await requestFor({ ekus: ["1.2.3.4", "unheardOf"] }))
    expect(unknown.leaf.ekus.sort()).toEqual(["clientAuth", "serverAuth"])
  })

  test("writes where its revocation list is, the issuer's own address first", async () => {
    const deps = depsWith(await makeAuthority(), {
      publicUrls: () => ({
        crl: ["http://pki.example/crl"],
        ocsp: ["http://pki.example/ocsp"],
        caCertificate: ["http://pki.example/ca"],
      }),
    })
    const text = async (config: object) => {
      const { certPem } = await issue(config, deps, await requestFor())
      return new X509Certificate(certPem).raw.toString("latin1")
    }
    expect(await text({})).toContain("http://pki.example/crl")
    expect(await text({})).toContain("http://pki.example/ocsp")
    expect(await text({})).toContain("http://pki.example/ca")
    const own = await text({ crl_distribution_point_urls: ["http://own.example/crl"] })
    expect(own).toContain("http://own.example/crl")
    expect(own).not.toContain("http://pki.example/crl")
  })

  test("refuses a CSR whose signature does not fit", async () => {
    const request = await requestFor()
    const der = Buffer.from(request.csrPem.replace(/-----.*-----|\s/g, ""), "base64")
    der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1
    const csrPem = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`
    const connector = localCa.open({}, depsWith(await makeAuthority()))
    const failure = await connector.issue({ ...request, csrPem }).catch((error) => error)
    expect(failure).toBeInstanceOf(AppError)
    expect(failure.code).toBe("validation")
  })

  test.each([
    ["expired", fromNow(-2 * day), fromNow(-day), "expired on 2030-05-31T12:00:00.000Z"],
    ["not yet valid", fromNow(day), fromNow(2 * day), "is not valid before 2030-06-02T12:00:00.000Z"],
  ])("signs nothing when it is %s", async (_state, notBefore, notAfter, reason) => {
    const connector = localCa.open({}, depsWith(await makeAuthority(notBefore, notAfter)))
    await expect(connector.issue(await requestFor())).rejects.toThrow(reason)
    await expect(connector.testConnection()).rejects.toThrow(reason)
  })

  test("asks for its CA under the name of its configuration", async () => {
    const authority = await makeAuthority()
    const asked: unknown[] = []
    const heldAuthority: IssuerDeps["heldAuthority"] = async (options) => {
      asked.push(options)
      return authority
    }
    const connector = localCa.open({ ca_common_name: "Mine" }, depsWith(authority, { heldAuthority }))
    expect(await connector.caChain?.()).toBe(authority.chainPem)
    expect(asked).toEqual([{ commonName: "Mine" }])
  })

  test("opens its files once, and again after a failure", async () => {
    const authority = await makeAuthority()
    let opened = 0
    const authorityFromFiles: IssuerDeps["authorityFromFiles"] = async () => {
      opened += 1
      if (opened === 1) throw new AppError("upstream", "cannot read /ca.pem")
      return authority
    }
    const config = { ca_cert_path: "/ca.pem", ca_key_path: "/ca.key" }
    const connector = localCa.open(config, depsWith(authority, { authorityFromFiles }))
    await expect(connector.testConnection()).rejects.toThrow("cannot read /ca.pem")
    await connector.testConnection()
    await connector.issue(await requestFor())
    expect(opened).toBe(2)
  })

  test.each([
    [{ validity_days: -1 }, "validity_days must be at least 1"],
    [{ validity_days: "90" }, "validity_days must be number"],
    [{ ca_cert_path: "/ca.pem" }, "ca_key_path must be set together with ca_cert_path"],
    [{ ca_key_path: "/ca.key" }, "ca_cert_path must be set together with ca_key_path"],
  ])("does not take the configuration %j", async (config, message) => {
    const deps = depsWith(await makeAuthority())
    expect(() => localCa.open(config, deps)).toThrow(message)
  })
})
