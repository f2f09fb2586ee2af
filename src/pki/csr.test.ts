import { describe, expect, test } from "bun:test"
import { Pkcs10CertificateRequest, SubjectAlternativeNameExtension } from "@peculiar/x509"
import fc from "fast-check"
import { AppError } from "../errors"
import { buildCsr, parseCsr, parseCsrDer } from "./csr"
import { element, explicit, integer, sequence } from "./der.writer"
import { writeName } from "./distinguished-name"
import { type KeyType, keyFacts, privateKeyPem, spkiOf } from "./keys"
import { distinctSans, sanOf } from "./names"
import { openssl } from "./openssl.process"
import { pemBlocks, toPem } from "./pem"
import { damaged, sanText, sharedKey, subjectText } from "./random.arbitrary"

const types: KeyType[] = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519"]
const derOf = (pem: string): Buffer => pemBlocks(pem)[0]?.der ?? Buffer.alloc(0)

/** A request made by openssl from a configuration, signed with the key. */
const opensslCsr = async (type: KeyType, config: string, ...args: string[]): Promise<string> => {
  const files = { "key.pem": privateKeyPem(await sharedKey(type)), "req.cnf": config }
  const { text } = openssl(["req", "-new", "-key", "key.pem", "-config", "req.cnf", ...args], files)
  return text.slice(text.indexOf("-----BEGIN"))
}
const plainConfig = "[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nCN=web.example.com\n"

describe("CSR", () => {
  test("reads back what it built, for any subject, names and key", async () => {
    const request = fc.tuple(subjectText, fc.array(sanText, { maxLength: 8 }), fc.constantFrom(...types))
    await fc.assert(
      fc.asyncProperty(request, async ([commonName, sans, type]) => {
        const privateKey = await sharedKey(type)
        const csr = parseCsr(buildCsr({ commonName, sans, privateKey }))
        expect(csr.commonName).toBe(commonName)
        expect(csr.sans).toEqual(distinctSans(sans.map(sanOf)))
        expect(csr.spkiDer.equals(spkiOf(privateKey))).toBe(true)
        expect({ algorithm: csr.keyAlgorithm, size: csr.keySize }).toEqual(keyFacts(privateKey))
        expect(csr.subjectDer.equals(writeName({ commonName }))).toBe(true)
        expect(csr.challengePassword).toBeNull()
      }),
    )
  })

  test("is accepted and read alike by openssl and @peculiar/x509", async () => {
    const request = fc.tuple(fc.array(sanText, { minLength: 1, maxLength: 5 }), fc.constantFrom(...types))
    await fc.assert(
      fc.asyncProperty(request, async ([sans, type]) => {
        const pem = buildCsr({ commonName: "web.example.com", sans, privateKey: await sharedKey(type) })
        const { ok, text } = openssl(["req", "-in", "a.csr", "-noout", "-verify", "-subject"], { "a.csr": pem })
        expect({ ok, text }).toMatchObject({ ok: true, text: expect.stringContaining("verify OK") })
        expect(text).toContain("CN = web.example.com")
        const other = new Pkcs10CertificateRequest(pem)
        // Its getExtension(class) finds nothing in requests.
        const extension = other.extensions.find((one) => one instanceof SubjectAlternativeNameExtension)
        const names = extension?.names.items ?? []
        const canonical = parseCsr(pem).sans.map(({ type: kind, value }) => `${kind === "uri" ? "url" : kind} ${value}`)
        expect(names.map(({ type: kind, value }) => `${kind} ${kind === "ip" ? sanOf(value).value : value}`)).toEqual(
          canonical,
        )
      }),
      { numRuns: 15 },
    )
  })

  for (const type of types)
    test(`reads what openssl requests with ${type}`, async () => {
      const csr = parseCsr(
        await opensslCsr(type, plainConfig, "-addext", "subjectAltName=DNS:a.example.com,IP:2001:db8::1,email:a@b.c"),
      )
      expect(csr.commonName).toBe("web.example.com")
      expect(csr.sans).toEqual(["a.example.com", "2001:db8::1", "a@b.c"].map(sanOf))
    })

  test("reads SHA-1 and RSA-PSS requests, and refuses MD5", async () => {
    expect(parseCsr(await opensslCsr("rsa-2048", plainConfig, "-sha1")).commonName).toBe("web.example.com")
    const pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"]
    expect(parseCsr(await opensslCsr("rsa-2048", plainConfig, "-sha384", ...pss)).commonName).toBe("web.example.com")
    const md5 = await opensslCsr("rsa-2048", plainConfig, "-md5")
    expect(() => parseCsr(md5)).toThrow("signature algorithm MD5-RSA is not accepted")
  })

  test("reads the challenge password, usages, must-staple and kinds of names it does not know", async () => {
    const config = `${plainConfig.replace("[dn]", "attributes=attrs\nreq_extensions=ext\n[dn]")}[attrs]\nchallengePassword=letmein\n
[ext]\nextendedKeyUsage=clientAuth,1.2.3.4\ntlsfeature=status_request\nsubjectAltName=DNS:a.com,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:joe@corp\n`
    const csr = parseCsr(await opensslCsr("ecdsa-p256", config))
    expect(csr.challengePassword).toBe("letmein")
    expect(csr.ekus).toEqual(["clientAuth", "1.2.3.4"])
    expect(csr.mustStaple).toBe(true)
    expect(csr.sans).toEqual([sanOf("a.com")])
    expect(csr.otherNames).toEqual(["otherName"])
    const own = buildCsr({ commonName: "", sans: ["a.com"], privateKey: await sharedKey("ed25519"), mustStaple: true })
    expect(parseCsr(own)).toMatchObject({ commonName: "", mustStaple: true, sans: [sanOf("a.com")] })
  })

  test("refuses a request whose signature is broken, whatever was changed", async () => {
    for (const type of types) {
      const der = derOf(buildCsr({ commonName: "web.example.com", sans: [], privateKey: await sharedKey(type) }))
      const last = Buffer.from(der)
      last[der.length - 1] = (last[der.length - 1] ?? 0) ^ 1
      expect(() => parseCsrDer(last)).toThrow("CSR: signature does not verify")
      const renamed = Buffer.from(der.toString("latin1").replace("web.example.com", "wab.example.com"), "latin1")
      expect(() => parseCsrDer(renamed)).toThrow("CSR: signature does not verify")
    }
  })

  test("refuses trailing bytes behind and inside the structure", async () => {
    const der = derOf(buildCsr({ commonName: "a", sans: [], privateKey: await sharedKey("ed25519") }))
    expect(() => parseCsrDer(Buffer.concat([der, Buffer.from([0])]))).toThrow("trailing bytes")
    expect(() => parseCsrDer(element(0x30, der.subarray(2), integer(1)))).toThrow(AppError)
    expect(() => parseCsrDer(sequence(sequence(integer(0)), explicit(0)))).toThrow(AppError)
  })

  test("refuses what is not one PEM request of at most 64 KiB", async () => {
    const pem = buildCsr({ commonName: "a", sans: [], privateKey: await sharedKey("ed25519") })
    expect(() => parseCsr("")).toThrow("-----BEGIN CERTIFICATE REQUEST-----")
    expect(() => parseCsr(pem + pem)).toThrow("one PEM block")
    expect(() => parseCsr(toPem("CERTIFICATE", derOf(pem)))).toThrow("found CERTIFICATE")
    expect(() => parseCsr(pem + " ".repeat(65_536))).toThrow("64 KiB")
    expect(parseCsr(pem.replaceAll("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")).commonName).toBe("a")
  })

  test("refuses deceptive names and a second common name", async () => {
    const privateKey = await sharedKey("ecdsa-p256")
    expect(() => buildCsr({ commonName: "a\u202eb", sans: [], privateKey })).toThrow("U+202E at byte 1")
    expect(() => buildCsr({ commonName: "a", sans: ["a..b"], privateKey })).toThrow("empty label")
    const two = await opensslCsr("ecdsa-p256", plainConfig.replace("CN=web", "0.CN=other.example.com\n1.CN=web"))
    expect(() => parseCsr(two)).toThrow("more than one common name")
    const hidden = await opensslCsr("ecdsa-p256", plainConfig.replace("web.", "web\u200b."), "-utf8")
    expect(() => parseCsr(hidden)).toThrow("U+200B at byte 3")
  })

  test("refuses keys that nothing is issued for", () => {
    for (const args of [["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], ["ed448"]]) {
      const key = openssl(["genpkey", "-algorithm", ...args]).text
      const { text } = openssl(["req", "-new", "-key", "key.pem", "-subj", "/CN=a"], { "key.pem": key })
      expect(() => parseCsr(text)).toThrow("is not supported")
    }
  })

  test("throws nothing but AppError on random and damaged bytes", async () => {
    const refusesPolitely = (der: Buffer): void => {
      try {
        parseCsrDer(der)
      } catch (error) {
        expect(error).toBeInstanceOf(AppError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusesPolitely(Buffer.from(bytes))))
    for (const type of ["ecdsa-p256", "rsa-2048", "ed25519"] as const) {
      const sans = ["a.example.com", "10.0.0.1", "a@b.c"]
      const der = derOf(buildCsr({ commonName: "a", sans, privateKey: await sharedKey(type) }))
      fc.assert(fc.property(damaged(der), refusesPolitely), { numRuns: 300 })
    }
  })
})
