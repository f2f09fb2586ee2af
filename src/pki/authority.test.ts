import { describe, expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import * as peculiar from "@peculiar/x509"
import fc from "fast-check"
import { AppError } from "../errors"
import { type Authority, createRootAuthority, openAuthority } from "./authority"
import { parseCertificate } from "./certificate"
import { randomSerial } from "./certificate.writer"
import { writeName } from "./distinguished-name"
import { generateKey, type KeyType, keyFacts, privateKeyPem, spkiOf } from "./keys"
import { distinctSans, sanOf } from "./names"
import { openssl } from "./openssl.process"
import { sanText, sharedKey, subjectText } from "./random.arbitrary"
import { verifyChain } from "./trust"

const caTypes: KeyType[] = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519"]
const leafTypes: KeyType[] = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519"]
const begin = new Date("2024-03-01T00:00:00Z")
const end = new Date("2090-03-01T00:00:00Z")
const soon = new Date("2024-03-02T00:00:00Z")
const later = new Date("2024-05-30T00:00:00Z")

const authorities = new Map<KeyType, Promise<Authority>>()
const authorityOf = (keyType: KeyType): Promise<Authority> => {
  const made =
    authorities.get(keyType) ??
    createRootAuthority({
      keyType,
      commonName: "CertCtl Local CA",
      organization: "Büro",
      notBefore: begin,
      notAfter: end,
    }).then(({ certPem, privateKey }) => openAuthority({ certPem, chainPem: certPem, privateKey }))
  authorities.set(keyType, made)
  return made
}

const leafOf = async (authority: Authority, changes: Partial<Parameters<Authority["sign"]>[0]> = {}) =>
  authority.sign({
    spkiDer: spkiOf(await sharedKey("ecdsa-p256")),
    subjectCommonName: "web.example.com",
    sans: [sanOf("web.example.com")],
    ekus: [],
    notBefore: soon,
    notAfter: later,
    ...changes,
  })

const opensslText = (pem: string): string => openssl(["x509", "-in", "a.pem", "-noout", "-text"], { "a.pem": pem }).text
const atOpenssl = (at: Date): string[] => ["-attime", String(at.getTime() / 1000)]

describe("authority", () => {
  for (const type of caTypes)
    test(`makes a ${type} root that openssl, node:crypto and @peculiar/x509 accept`, async () => {
      const { certPem } = await authorityOf(type)
      const facts = parseCertificate(certPem)
      expect(facts).toMatchObject({
        isCa: true,
        pathLength: null,
        keyUsage: ["keyCertSign", "cRLSign"],
        commonName: "CertCtl Local CA",
        problems: [],
      })
      expect(facts.subjectDn).toBe("CN=CertCtl Local CA,O=Büro")
      expect(facts.notBefore).toEqual(begin)
      expect(facts.notAfter).toEqual(end)
      const strict = ["verify", "-x509_strict", "-check_ss_sig", ...atOpenssl(soon), "-CAfile", "ca.pem", "ca.pem"]
      expect(openssl(strict, { "ca.pem": certPem })).toEqual({ ok: true, text: "ca.pem: OK\n" })
      const node = new X509Certificate(certPem)
      expect(node.verify(node.publicKey)).toBe(true)
      expect(node.ca).toBe(true)
      expect(await new peculiar.X509Certificate(certPem).verify({ date: soon })).toBe(true)
    })

  for (const caType of caTypes)
    test(`signs leaves with ${caType} that openssl verifies for every kind of key`, async () => {
      const authority = await authorityOf(caType)
      for (const leafType of leafTypes) {
        const spkiDer = spkiOf(await sharedKey(leafType))
        const sans = ["web.example.com", "10.1.2.3", "2001:db8::7"].map(sanOf)
        const leaf = await leafOf(authority, { spkiDer, sans })
        const files = { "ca.pem": authority.certPem, "leaf.pem": leaf.certPem }
        const check = ["verify", "-x509_strict", ...atOpenssl(soon), "-purpose", "sslserver", "-CAfile", "ca.pem"]
        for (const name of [
          ["-verify_hostname", "web.example.com"],
          ["-verify_ip", "10.1.2.3"],
          ["-verify_ip", "2001:db8::7"],
        ])
          expect(openssl([...check, ...name, "leaf.pem"], files)).toEqual({ ok: true, text: "leaf.pem: OK\n" })
        expect(openssl([...check, "-verify_hostname", "other.example.com", "leaf.pem"], files).ok).toBe(false)
        expect(new X509Certificate(leaf.certPem).verify(new X509Certificate(authority.certPem).publicKey)).toBe(true)
        expect(verifyChain(leaf.der, [parseCertificate(authority.certPem).der], soon)).toBeNull()
      }
    })

  test("writes certificates that read back as requested, here, in node:crypto and in @peculiar/x509", async () => {
    const request = fc.record({
      subjectCommonName: subjectText,
      sans: fc.array(sanText.map(sanOf), { minLength: 1, maxLength: 8 }),
      ekus: fc.uniqueArray(
        fc.constantFrom("serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping", "1.2.3.4.5"),
      ),
      start: fc.integer({ min: begin.getTime() / 1000, max: end.getTime() / 1000 - 10 }),
      seconds: fc.integer({ min: 1, max: 2_000_000_000 }),
      caType: fc.constantFrom(...caTypes),
      leafType: fc.constantFrom(...leafTypes),
    })
    await fc.assert(
      fc.asyncProperty(request, async ({ caType, leafType, start, seconds, ...rest }) => {
        const authority = await authorityOf(caType)
        const spkiDer = spkiOf(await sharedKey(leafType))
        const notBefore = new Date(start * 1000)
        const notAfter = new Date((start + seconds) * 1000)
        const leaf = await authority.sign({ ...rest, spkiDer, notBefore, notAfter })
        const facts = parseCertificate(leaf.certPem)
        const key = keyFacts(spkiDer)
        expect(facts).toMatchObject({
          commonName: rest.subjectCommonName,
          sans: distinctSans(rest.sans),
          ekus: rest.ekus.length === 0 ? ["serverAuth", "clientAuth"] : rest.ekus,
          notBefore,
          notAfter: notAfter < end ? notAfter : end,
          issuerDn: "CN=CertCtl Local CA,O=Büro",
          isCa: false,
          keyAlgorithm: key.algorithm,
          keySize: key.size,
          aki: authority.keyId.toString("hex"),
          problems: [],
          unknownCritical: [],
          serial: leaf.serial,
          fingerprint: leaf.fingerprint,
        })
        expect(leaf.notAfter).toEqual(facts.notAfter)
        expect(leaf.serial).toMatch(/^[4-7][0-9a-f]{39}$/)
        const node = new X509Certificate(leaf.certPem)
        expect(node.serialNumber.toLowerCase()).toBe(facts.serial)
        expect(node.fingerprint256.replaceAll(":", "").toLowerCase()).toBe(facts.fingerprint)
        expect(node.verify(new X509Certificate(authority.certPem).publicKey)).toBe(true)
        expect(node.publicKey.export({ type: "spki", format: "der" }).equals(spkiDer)).toBe(true)
        const other = new peculiar.X509Certificate(leaf.certPem)
        expect(other.notBefore).toEqual(facts.notBefore)
        expect(other.notAfter).toEqual(facts.notAfter)
        expect(other.subjectName.getField("CN")).toEqual([rest.subjectCommonName])
        expect(other.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.items.length).toBe(facts.sans.length)
        const ski = other.getExtension(peculiar.SubjectKeyIdentifierExtension)?.keyId
        expect(ski).toBe(facts.ski ?? "")
      }),
      { numRuns: 60 },
    )
  })

  test("sets the key usage by extended key usage and kind of key", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const usage = async (type: KeyType, ekus: string[]) => {
      const leaf = await leafOf(authority, { spkiDer: spkiOf(await sharedKey(type)), ekus })
      return parseCertificate(leaf.der).keyUsage
    }
    expect(await usage("ecdsa-p256", ["serverAuth"])).toEqual(["digitalSignature"])
    expect(await usage("rsa-2048", ["serverAuth"])).toEqual(["digitalSignature", "keyEncipherment"])
    expect(await usage("rsa-2048", ["clientAuth"])).toEqual(["digitalSignature", "keyEncipherment"])
    expect(await usage("rsa-2048", ["codeSigning"])).toEqual(["digitalSignature"])
    expect(await usage("ed25519", ["emailProtection"])).toEqual(["digitalSignature", "contentCommitment"])
    expect(await usage("rsa-2048", ["emailProtection", "serverAuth"])).toEqual([
      "digitalSignature",
      "contentCommitment",
      "keyEncipherment",
    ])
    expect(parseCertificate((await leafOf(authority, { ekus: ["nonsense"] })).der).ekus).toEqual([
      "serverAuth",
      "clientAuth",
    ])
    const timeStamping = opensslText((await leafOf(authority, { ekus: ["timeStamping"] })).certPem)
    expect(timeStamping).toMatch(/X509v3 Extended Key Usage: critical\s+Time Stamping/)
    expect(timeStamping).toMatch(/X509v3 Key Usage: critical/)
  })

  test("marks the SAN critical exactly when the subject is empty", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const named = opensslText((await leafOf(authority)).certPem)
    expect(named).toMatch(/X509v3 Subject Alternative Name: *\n/)
    for (const subject of [
      { subjectCommonName: "" },
      { subjectCommonName: undefined, subjectDer: writeName({ commonName: "" }) },
    ]) {
      const leaf = await leafOf(authority, subject)
      expect(opensslText(leaf.certPem)).toMatch(/X509v3 Subject Alternative Name: critical/)
      expect(parseCertificate(leaf.der).subjectDn).toBe("")
    }
    await expect(leafOf(authority, { subjectCommonName: "", sans: [] })).rejects.toThrow("needs a common name or a SAN")
  })

  test("moves a common name of more than 64 characters to the SANs", async () => {
    const long = `${"a".repeat(60)}.example.com`
    const facts = parseCertificate((await leafOf(await authorityOf("ecdsa-p256"), { subjectCommonName: long })).der)
    expect(facts.commonName).toBe("")
    expect(facts.sans).toEqual(["web.example.com", long].map(sanOf))
  })

  test("copies a given subject byte by byte and refuses one that is no name", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const subjectDer = writeName({ commonName: "x", organization: "Ö" })
    const leaf = await leafOf(authority, { subjectCommonName: undefined, subjectDer })
    expect(parseCertificate(leaf.der).subjectDer.equals(subjectDer)).toBe(true)
    const junk = { subjectCommonName: undefined, subjectDer: Buffer.from("junk") }
    await expect(leafOf(authority, junk)).rejects.toBeInstanceOf(AppError)
  })

  test("writes the places of CRL, OCSP and CA certificate, must-staple and no-check", async () => {
    const leaf = await leafOf(await authorityOf("ecdsa-p256"), {
      crlUrls: ["http://a.example/1.crl", "http://b.example/1.crl"],
      ocspUrls: ["http://a.example/ocsp"],
      caIssuerUrls: ["http://a.example/ca.cer"],
      mustStaple: true,
      ocspNoCheck: true,
    })
    expect(parseCertificate(leaf.der)).toMatchObject({
      crlUrls: ["http://a.example/1.crl", "http://b.example/1.crl"],
      ocspUrls: ["http://a.example/ocsp"],
      caIssuerUrls: ["http://a.example/ca.cer"],
      mustStaple: true,
      problems: [],
    })
    const text = opensslText(leaf.certPem)
    for (const part of [
      "URI:http://a.example/1.crl",
      "OCSP - URI:http://a.example/ocsp",
      "CA Issuers - URI:http://a.example/ca.cer",
      "status_request",
      "OCSP No Check",
    ])
      expect(text).toContain(part)
    await expect(leafOf(await authorityOf("ecdsa-p256"), { crlUrls: ["not a url"] })).rejects.toThrow("crlUrls")
  })

  test("never outlives its own certificate and refuses an empty validity", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const leaf = await leafOf(authority, {
      notBefore: new Date("2089-01-01T00:00:00.900Z"),
      notAfter: new Date("2300-01-01T00:00:00Z"),
    })
    expect(leaf.notAfter).toEqual(end)
    expect(leaf.notBefore).toEqual(new Date("2089-01-01T00:00:00Z"))
    await expect(leafOf(authority, { notBefore: end, notAfter: new Date("2300-01-01T00:00:00Z") })).rejects.toThrow(
      "before it begins",
    )
    await expect(leafOf(authority, { notAfter: soon })).rejects.toThrow(AppError)
    await expect(leafOf(authority, { notAfter: new Date(Number.NaN) })).rejects.toThrow(AppError)
  })

  test("takes a given serial and refuses those that no certificate may have", async () => {
    const authority = await authorityOf("ecdsa-p256")
    expect((await leafOf(authority, { serial: Buffer.from("00ff01", "hex") })).serial).toBe("ff01")
    expect(parseCertificate((await leafOf(authority, { serial: Buffer.from("ff01", "hex") })).der).serial).toBe("ff01")
    for (const bad of ["", "00", "00".repeat(20), "01".repeat(21), "80".repeat(20)])
      await expect(leafOf(authority, { serial: Buffer.from(bad, "hex") })).rejects.toThrow("serial")
    const serials = new Set(Array.from({ length: 200 }, () => randomSerial().toString("hex")))
    expect(serials.size).toBe(200)
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{39}$/)
  })

  test("refuses names and keys that cannot be certified", async () => {
    const authority = await authorityOf("ecdsa-p256")
    await expect(leafOf(authority, { sans: [{ type: "dns", value: "a..b" }] })).rejects.toThrow("empty label")
    await expect(leafOf(authority, { sans: [{ type: "ip", value: "10.0.0" }] })).rejects.toThrow("no IP address")
    await expect(leafOf(authority, { subjectCommonName: "a\u0000b" })).rejects.toThrow("U+0000 at byte 1")
    await expect(leafOf(authority, { spkiDer: Buffer.from("3000", "hex") })).rejects.toThrow(AppError)
    const root = { keyType: "ecdsa-p256", notBefore: begin, notAfter: end } as const
    await expect(createRootAuthority({ ...root, commonName: "" })).rejects.toThrow("commonName")
    await expect(createRootAuthority({ ...root, commonName: "x".repeat(65) })).rejects.toThrow("64 characters")
    await expect(createRootAuthority({ ...root, commonName: "x", notAfter: begin })).rejects.toThrow("validity")
  })

  test("opens a sub-CA of another tool and refuses what may not sign", async () => {
    const root = await authorityOf("ecdsa-p256")
    const leafKey = await generateKey("ecdsa-p256")
    const leaf = await leafOf(root, { spkiDer: spkiOf(leafKey) })
    expect(() => openAuthority({ certPem: leaf.certPem, chainPem: "", privateKey: leafKey })).toThrow(
      "not a CA certificate",
    )
    expect(() => openAuthority({ certPem: root.certPem, chainPem: "", privateKey: leafKey })).toThrow("does not belong")

    const key = await sharedKey("rsa-2048")
    const made = (...extensions: string[]): string => {
      const args = ["req", "-x509", "-new", "-key", "key.pem", "-subj", "/C=DE/O=Corp/CN=Issuing CA", "-days", "3000"]
      const { text } = openssl([...args, ...extensions.flatMap((extension) => ["-addext", extension])], {
        "key.pem": privateKeyPem(key),
      })
      return text.slice(text.indexOf("-----BEGIN"))
    }
    const noSigning = made("keyUsage=critical,cRLSign")
    expect(() => openAuthority({ certPem: noSigning, chainPem: "", privateKey: key })).toThrow("keyCertSign")
    const certPem = made("keyUsage=critical,keyCertSign,cRLSign")
    const authority = openAuthority({ certPem, chainPem: certPem, privateKey: key })
    const { notBefore, notAfter } = authority
    const issued = await leafOf(authority, { notBefore, notAfter })
    const files = { "ca.pem": certPem, "leaf.pem": issued.certPem }
    expect(openssl(["verify", "-x509_strict", "-CAfile", "ca.pem", "leaf.pem"], files).text).toBe("leaf.pem: OK\n")
    expect(parseCertificate(issued.der).issuerDn).toBe("CN=Issuing CA,O=Corp,C=DE")
  })
})
