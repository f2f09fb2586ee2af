import { describe, expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import { rootCertificates } from "node:tls"
import fc from "fast-check"
import { AppError } from "../errors"
import { createRootAuthority, openAuthority } from "./authority"
import { fingerprintOf, openFrame, parseCertificate, serialText, splitChain } from "./certificate"
import { bitString, boolean, element, explicit, integer, octetString, oid, sequence, time } from "./der.writer"
import { nameText, readName, sameName, writeName } from "./distinguished-name"
import { privateKeyPem, spkiOf } from "./keys"
import { sanOf } from "./names"
import { openssl } from "./openssl.process"
import { pemBlocks, toPem } from "./pem"
import { damaged, sharedKey } from "./random.arbitrary"

const opensslCertificate = async (...args: string[]): Promise<string> => {
  const config = "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\nsubjectKeyIdentifier=hash\n"
  const files = { "key.pem": privateKeyPem(await sharedKey("ecdsa-p256")), "req.cnf": config }
  const { text } = openssl(["req", "-x509", "-new", "-key", "key.pem", "-days", "30", ...args], files)
  return text.slice(text.indexOf("-----BEGIN"))
}

/** A certificate with any extensions, signed by nobody. */
const strange = async (changes: { extensions?: Buffer; serial?: Buffer; version?: Buffer; notAfter?: Buffer } = {}) => {
  const algorithm = sequence(oid("1.2.840.10045.4.3.2"))
  const name = writeName({ commonName: "strange" })
  const tbs = sequence(
    ...(changes.version === undefined ? [] : [changes.version]),
    changes.serial ?? integer(1),
    algorithm,
    name,
    sequence(time(new Date(0)), changes.notAfter ?? time(new Date(1e12))),
    name,
    spkiOf(await sharedKey("ecdsa-p256")),
    ...(changes.extensions === undefined ? [] : [explicit(3, changes.extensions)]),
  )
  return sequence(tbs, algorithm, bitString(Buffer.from("no signature")))
}

describe("certificate", () => {
  test("reads every public root as node:crypto does", () => {
    expect(rootCertificates.length).toBeGreaterThan(50)
    for (const pem of rootCertificates) {
      const facts = parseCertificate(pem)
      const node = new X509Certificate(pem)
      expect(facts.problems).toEqual([])
      expect(facts.isCa).toBe(true)
      expect(BigInt(`0x${facts.serial}`)).toBe(BigInt(`0x${node.serialNumber}`))
      expect(facts.fingerprint).toBe(node.fingerprint256.replaceAll(":", "").toLowerCase())
      expect(facts.notBefore).toEqual(new Date(node.validFrom))
      expect(facts.notAfter).toEqual(new Date(node.validTo))
      const { asymmetricKeyDetails, asymmetricKeyType } = node.publicKey
      expect(facts.keyAlgorithm).toBe(asymmetricKeyType === "rsa" ? "RSA" : "ECDSA")
      if (asymmetricKeyType === "rsa") expect(facts.keySize).toBe(asymmetricKeyDetails?.modulusLength ?? 0)
    }
  })

  test("reads everything openssl can be made to write into one", async () => {
    const subjectAltName = [
      "DNS:web.example.com",
      "DNS:*.example.com",
      "IP:10.0.0.1",
      "IP:::1",
      "email:a@b.c",
      "URI:spiffe://x/y",
      "RID:1.2.3",
      "otherName:1.2.3;UTF8:x",
    ]
    const extensions = [
      `subjectAltName=${subjectAltName.join(",")}`,
      "basicConstraints=critical,CA:true,pathlen:3",
      "keyUsage=critical,digitalSignature,nonRepudiation,keyCertSign,decipherOnly,keyAgreement",
      "extendedKeyUsage=serverAuth,OCSPSigning,1.2.3.4",
      "crlDistributionPoints=URI:http://a/1.crl,URI:http://a/2.crl",
      "authorityInfoAccess=OCSP;URI:http://a/ocsp,caIssuers;URI:http://a/ca",
      "tlsfeature=status_request",
      "nameConstraints=critical,permitted;DNS:example.com",
      "1.2.3.4=critical,ASN1:NULL",
    ]
    const subject = "/C=DE/ST=Berlin/O=A, B/OU=#1/CN=first/CN=web.example.com/emailAddress=a@b.c"
    const options = ["-config", "req.cnf", "-subj", subject, "-set_serial", "0x00a1b2"]
    const pem = await opensslCertificate(...options, ...extensions.flatMap((extension) => ["-addext", extension]))
    const facts = parseCertificate(pem)
    expect(facts).toMatchObject({
      commonName: "web.example.com",
      subjectDn: "emailAddress=a@b.c,CN=web.example.com,CN=first,OU=\\#1,O=A\\, B,ST=Berlin,C=DE",
      serial: "a1b2",
      sans: ["web.example.com", "*.example.com", "10.0.0.1", "::1", "a@b.c", "spiffe://x/y"].map(sanOf),
      otherNames: ["registeredID", "otherName"],
      isCa: true,
      pathLength: 3,
      keyUsage: ["digitalSignature", "contentCommitment", "keyAgreement", "keyCertSign", "decipherOnly"],
      ekus: ["serverAuth", "OCSPSigning", "1.2.3.4"],
      crlUrls: ["http://a/1.crl", "http://a/2.crl"],
      ocspUrls: ["http://a/ocsp"],
      caIssuerUrls: ["http://a/ca"],
      mustStaple: true,
      unknownCritical: ["1.2.3.4"],
      problems: [],
      signatureAlgorithm: "SHA256-ECDSA",
    })
    const { text } = openssl(["x509", "-in", "a.pem", "-noout", "-ext", "subjectKeyIdentifier"], { "a.pem": pem })
    expect(text.replaceAll(":", "").toLowerCase()).toContain(facts.ski ?? "none")
  })

  test("splits a bundle into leaf and chain", async () => {
    const [one, two, three] = await Promise.all([
      strange({ serial: integer(1) }),
      strange({ serial: integer(2) }),
      strange({ serial: integer(3) }),
    ])
    const [a, b, c] = [one, two, three].map((der) => toPem("CERTIFICATE", der))
    expect(splitChain(`junk\n${a}${toPem("PRIVATE KEY", Buffer.from("x"))}${b}${c}`)).toEqual({
      leafPem: a ?? "",
      chainPem: `${b}${c}`,
    })
    expect(splitChain(a ?? "")).toEqual({ leafPem: a ?? "", chainPem: "" })
    expect(() => splitChain("junk")).toThrow("no CERTIFICATE block")
    expect(fingerprintOf(one)).toBe(parseCertificate(a ?? "").fingerprint)
  })

  test("survives strange certificates and says what could not be read", async () => {
    const extension = (id: string, value: Buffer, critical = false) =>
      sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value))
    const first = parseCertificate(await strange())
    expect(first).toMatchObject({ commonName: "strange", sans: [], isCa: false, ski: null, problems: [], serial: "01" })
    const junk = Buffer.from("junk")
    const broken = parseCertificate(
      await strange({
        version: explicit(0, integer(2)),
        extensions: sequence(
          extension("2.5.29.17", junk),
          extension("2.5.29.19", sequence(boolean(true), boolean(true))),
          extension("2.5.29.15", junk),
          extension("1.2.3.4", junk, true),
          extension("2.5.29.37", sequence(oid("1.2.3"))),
          extension("2.5.29.37", sequence(oid("1.2.4"))),
        ),
      }),
    )
    expect(broken).toMatchObject({ isCa: false, sans: [], ekus: ["1.2.3"], unknownCritical: ["1.2.3.4"] })
    expect(broken.problems.length).toBe(4)
    const nonsense = parseCertificate(await strange({ extensions: junk }))
    expect(nonsense.problems.length).toBe(1)
    const old = await strange({ notAfter: element(0x17, Buffer.from("9912312359Z")) })
    expect(parseCertificate(old).notAfter).toEqual(new Date("1999-12-31T23:59:00Z"))
  })

  test("writes serials as lower-case hex without the sign byte", () => {
    const serials = {
      "00": "00",
      "01": "01",
      "0080": "80",
      "7fff": "7fff",
      "00ff00": "ff00",
      ff: "-01",
      "8000": "-8000",
      "": "00",
    }
    for (const [content, text] of Object.entries(serials)) expect(serialText(Buffer.from(content, "hex"))).toBe(text)
  })

  test("refuses trailing bytes and differing signature algorithms", async () => {
    const der = await strange()
    expect(() => parseCertificate(Buffer.concat([der, Buffer.from([0])]))).toThrow("trailing bytes")
    const { tbsDer, signature } = openFrame(der)
    const swapped = sequence(tbsDer, sequence(oid("1.2.840.10045.4.3.3")), bitString(signature))
    expect(() => parseCertificate(swapped)).toThrow("signature algorithms differ")
    expect(() => parseCertificate("")).toThrow("no CERTIFICATE block")
    expect(() => parseCertificate(Buffer.alloc(1024 * 1024 + 1))).toThrow("1 MiB")
  })

  test("compares names as RFC 5280 does, whatever string type the CA wrote", () => {
    const printable = sequence(element(0x31, sequence(oid("2.5.4.3"), element(0x13, Buffer.from("My  CA ")))))
    const utf8 = sequence(element(0x31, sequence(oid("2.5.4.3"), element(0x0c, Buffer.from("my ca")))))
    expect(sameName(printable, utf8)).toBe(true)
    expect(sameName(printable, writeName({ commonName: "my cb" }))).toBe(false)
    expect(sameName(writeName({ commonName: "a", organization: "b" }), writeName({ commonName: "a" }))).toBe(false)
  })

  test("escapes names as RFC 4514 asks", () => {
    const text = (commonName: string) => nameText(readName(writeName({ commonName }), "test"))
    expect(text('a,b+c"d\\e<f>g;h')).toBe('CN=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h')
    expect(text(" x ")).toBe("CN=\\ x\\ ")
    expect(text("#x")).toBe("CN=\\#x")
    expect(text("a\nb")).toBe("CN=a\\0Ab")
  })

  test("throws nothing but AppError on random and damaged bytes", async () => {
    const refusesPolitely = (der: Buffer): void => {
      try {
        parseCertificate(der)
      } catch (error) {
        expect(error).toBeInstanceOf(AppError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusesPolitely(Buffer.from(bytes))))
    const root = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "CA",
      notBefore: new Date(0),
      notAfter: new Date(1e12),
    })
    const authority = openAuthority({ ...root, chainPem: "" })
    const leaf = await authority.sign({
      spkiDer: spkiOf(await sharedKey("rsa-2048")),
      subjectCommonName: "web.example.com",
      sans: ["web.example.com", "10.0.0.1", "a@b.c", "spiffe://x/y"].map(sanOf),
      ekus: [],
      notBefore: new Date(0),
      notAfter: new Date(1e12),
      crlUrls: ["http://a/1"],
      ocspUrls: ["http://a/2"],
      mustStaple: true,
    })
    fc.assert(fc.property(damaged(leaf.der), refusesPolitely), { numRuns: 1000 })
    expect(pemBlocks(leaf.certPem)[0]?.der.equals(leaf.der)).toBe(true)
  })
})
