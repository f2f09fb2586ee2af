/**
 * What is written is what is read: random subjects, names, keys, dates and extensions, by three parsers that know nothing of one
 * another. CERTCTL_TEST_CASES sets how many, CERTCTL_TEST_SEED repeats a run.
 */
import { expect, setDefaultTimeout, test } from "bun:test"
import { createHash, type KeyObject, X509Certificate } from "node:crypto"
import * as peculiar from "@peculiar/x509"
import fc from "fast-check"
import { type Authority, createRootAuthority, openAuthority } from "./authority"
import { parseCertificate } from "./certificate"
import { buildCsr, parseCsr } from "./csr"
import { nameText, readName, type SubjectParts, writeSubject } from "./distinguished-name"
import { issuedSubject } from "./issued-subject"
import { generateKey, type KeyType, keyTypes, spkiOf } from "./keys"
import { distinctSans, ipBytes, type San, sanOf } from "./names"
import { ekuOids } from "./oids"
import { openssl } from "./openssl.process"
import { moment, sanText, sharedKey, subjectText } from "./random.arbitrary"
import { verifyChain } from "./trust"

const cases = Number(process.env.CERTCTL_TEST_CASES ?? 300)
const seed = process.env.CERTCTL_TEST_SEED
const options = { numRuns: cases, ...(seed === undefined ? {} : { seed: Number(seed) }) }
setDefaultTimeout(60_000 + cases * 200)
/** openssl judges one of so many, at 0: a process takes longer than everything else. */
const lot = fc.nat(49)

const begin = new Date("1950-01-01T00:00:00Z")
const end = new Date("2120-01-01T00:00:00Z")
const authorities = new Map<KeyType, Promise<Authority>>()
const authorityOf = (keyType: KeyType): Promise<Authority> => {
  const made =
    authorities.get(keyType) ??
    createRootAuthority({ keyType, commonName: "Root", notBefore: begin, notAfter: end }).then(
      ({ certPem, privateKey }) => openAuthority({ certPem, chainPem: certPem, privateKey }),
    )
  authorities.set(keyType, made)
  return made
}

const keyType = fc.constantFrom(...keyTypes)
/** One of its own for each case, but for RSA, where making it takes longer than all the rest. */
const keyOf = (type: KeyType): Promise<KeyObject> => (type.startsWith("rsa") ? sharedKey(type) : generateKey(type))
const texts = fc.array(subjectText, { maxLength: 2 })
const letters = fc.string({ unit: fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"), minLength: 2, maxLength: 2 })
const subjectParts: fc.Arbitrary<SubjectParts> = fc.record({
  commonName: subjectText,
  organization: texts,
  organizationalUnit: texts,
  country: fc.array(letters, { maxLength: 1 }),
  locality: texts,
  province: texts,
})
const url = fc
  .tuple(
    fc.constantFrom("http", "https"),
    fc.stringMatching(/^[a-z][a-z0-9]{0,20}$/),
    fc.stringMatching(/^[0-9a-f]{0,40}$/),
  )
  .map(([scheme, host, query]) => `${scheme}://${host}.example/a/b?ca=${query}`)
const urls = fc.array(url, { maxLength: 3 })
const serial = fc.option(
  fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => {
    // Positive and not zero; the first bits are anything else.
    bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 1
    return Buffer.from(bytes)
  }),
  { nil: undefined },
)
const ekus = fc.uniqueArray(fc.constantFrom(...Object.keys(ekuOids), "1.3.6.1.4.1.311.20.2.2"), { maxLength: 5 })
const certificate = fc.record({
  caType: keyType,
  leafType: keyType,
  subject: subjectParts,
  sans: fc.array(sanText.map(sanOf), { minLength: 1, maxLength: 12 }),
  ekus,
  dates: fc.tuple(moment, moment).filter(([one, other]) => one.getTime() !== other.getTime()),
  serial,
  crlUrls: urls,
  ocspUrls: urls,
  caIssuerUrls: urls,
  mustStaple: fc.boolean(),
  lot,
})

const peculiarTypes = { dns: "dns", email: "email", url: "uri", ip: "ip" } as const
/** Names as one text each; IP addresses by their bytes, since every parser writes them in its own way. */
const nameSet = (names: readonly San[]): string[] =>
  names.map(({ type, value }) => `${type}:${type === "ip" ? ipBytes(value)?.toString("hex") : value}`)
const theirNames = (items: readonly peculiar.GeneralName[]): string[] =>
  nameSet(items.map(({ type, value }) => ({ type: peculiarTypes[type as keyof typeof peculiarTypes], value })))
/** Attributes in their order, `oid=text`. */
const attributesOf = (der: Buffer): string[] =>
  readName(der, "name")
    .flat()
    .map(({ oid, text }) => `${oid}=${text}`)
const theirOids: Readonly<Record<string, string>> = {
  C: "2.5.4.6",
  ST: "2.5.4.8",
  L: "2.5.4.7",
  O: "2.5.4.10",
  OU: "2.5.4.11",
  CN: "2.5.4.3",
}
const theirAttributes = (name: peculiar.Name): string[] =>
  name
    .toJSON()
    .flatMap((rdn) =>
      Object.entries(rdn).flatMap(([type, values]) => values.map((text) => `${theirOids[type]}=${text}`)),
    )

test(`${cases} random certificates read back as requested, in three parsers`, async () => {
  const check = async (asked: typeof certificate extends fc.Arbitrary<infer T> ? T : never) => {
    const [notBefore, notAfter] = asked.dates[0] < asked.dates[1] ? asked.dates : [asked.dates[1], asked.dates[0]]
    const authority = await authorityOf(asked.caType)
    const spkiDer = spkiOf(await keyOf(asked.leafType))
    const subjectDer = issuedSubject(writeSubject(asked.subject))
    const { sans: names, ekus: wanted, serial: given, crlUrls, ocspUrls, caIssuerUrls, mustStaple } = asked
    const leaf = await authority.sign({
      sans: names,
      ekus: wanted,
      crlUrls,
      ocspUrls,
      caIssuerUrls,
      mustStaple,
      spkiDer,
      subjectDer,
      notBefore,
      notAfter,
      ...(given === undefined ? {} : { serial: given }),
    })
    const sans = distinctSans(asked.sans)
    const usages = asked.ekus.length === 0 ? ["serverAuth", "clientAuth"] : asked.ekus
    const dotted = usages.map((eku) => ekuOids[eku] ?? eku)

    const ours = parseCertificate(leaf.der)
    expect(ours).toMatchObject({
      commonName: asked.subject.commonName,
      sans,
      ekus: usages,
      notBefore,
      notAfter,
      crlUrls: asked.crlUrls,
      ocspUrls: asked.ocspUrls,
      caIssuerUrls: asked.caIssuerUrls,
      mustStaple: asked.mustStaple,
      isCa: false,
      problems: [],
      unknownCritical: [],
      serial: leaf.serial,
      fingerprint: leaf.fingerprint,
      aki: authority.keyId.toString("hex"),
    })
    expect(ours.subjectDer.equals(subjectDer)).toBe(true)
    expect(ours.spkiDer.equals(spkiDer)).toBe(true)
    if (given !== undefined) expect(BigInt(`0x${ours.serial}`)).toBe(BigInt(`0x${given.toString("hex")}`))
    const inside = new Date((notBefore.getTime() + notAfter.getTime()) / 2)
    expect(verifyChain(leaf.der, [authority.certDer], inside)).toBeNull()

    const theirs = new peculiar.X509Certificate(leaf.certPem)
    expect(theirAttributes(theirs.subjectName)).toEqual(attributesOf(subjectDer))
    expect(theirNames(theirs.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.items ?? [])).toEqual(
      nameSet(sans),
    )
    expect(theirs.notBefore).toEqual(notBefore)
    expect(theirs.notAfter).toEqual(notAfter)
    expect(BigInt(`0x${theirs.serialNumber}`)).toBe(BigInt(`0x${leaf.serial}`))
    expect(Buffer.from(theirs.publicKey.rawData).equals(spkiDer)).toBe(true)
    expect(theirs.getExtension(peculiar.ExtendedKeyUsageExtension)?.usages.map(String)).toEqual(dotted)
    expect(theirs.getExtension(peculiar.AuthorityKeyIdentifierExtension)?.keyId).toBe(ours.aki ?? "")
    expect(theirs.getExtension(peculiar.SubjectKeyIdentifierExtension)?.keyId).toBe(ours.ski ?? "")
    const points = theirs.getExtension(peculiar.CRLDistributionPointsExtension)?.distributionPoints ?? []
    expect(
      points.flatMap((point) => point.distributionPoint?.fullName?.map((one) => one.uniformResourceIdentifier)),
    ).toEqual(asked.crlUrls)
    const access = theirs.getExtension(peculiar.AuthorityInfoAccessExtension)
    expect((access?.ocsp ?? []).map(({ value }) => value)).toEqual(asked.ocspUrls)
    expect((access?.caIssuers ?? []).map(({ value }) => value)).toEqual(asked.caIssuerUrls)

    const node = new X509Certificate(leaf.der)
    expect(BigInt(`0x${node.serialNumber}`)).toBe(BigInt(`0x${leaf.serial}`))
    expect(new Date(node.validFrom)).toEqual(notBefore)
    expect(new Date(node.validTo)).toEqual(notAfter)
    expect(node.publicKey.export({ type: "spki", format: "der" }).equals(spkiDer)).toBe(true)
    expect(node.verify(new X509Certificate(authority.certDer).publicKey)).toBe(true)
    expect(node.checkIssued(new X509Certificate(authority.certDer))).toBe(true)
    expect(node.ca).toBe(false)
    expect(node.fingerprint256.replaceAll(":", "").toLowerCase()).toBe(
      createHash("sha256").update(leaf.der).digest("hex"),
    )
    for (const { type, value } of sans) {
      if (type === "ip") expect(node.checkIP(value)).toBeDefined()
      if (type === "dns") expect(node.subjectAltName).toContain(`DNS:${value}`)
      if (type === "email") expect(node.subjectAltName).toContain(`email:${value}`)
      if (type === "uri") expect(node.subjectAltName).toContain(`URI:${value}`)
    }

    if (asked.lot !== 0) return
    const args = ["-attime", String(Math.floor(inside.getTime() / 1000)), "-CAfile", "ca.pem", "leaf.pem"]
    const verified = openssl(["verify", "-x509_strict", ...args], {
      "ca.pem": authority.certPem,
      "leaf.pem": leaf.certPem,
    })
    expect(verified).toEqual({ ok: true, text: "leaf.pem: OK\n" })
    const shown = openssl(["x509", "-in", "a.pem", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb,utf8"], {
      "a.pem": leaf.certPem,
    })
    // It leaves a text alone that is nothing but one of these, which RFC 4514 section 2.4 wants escaped.
    const plain = (text: string): string => text.replaceAll(/\\([# ])/g, "$1")
    expect(plain(shown.text)).toBe(plain(`subject=${nameText(readName(subjectDer, "subject"))}\n`))
  }
  await fc.assert(fc.asyncProperty(certificate, check), options)
})

test(`${cases} random requests read back as written, in three parsers`, async () => {
  const request = fc.record({
    commonName: subjectText,
    sans: fc.array(sanText, { maxLength: 12 }),
    type: keyType,
    mustStaple: fc.boolean(),
    lot,
  })
  await fc.assert(
    fc.asyncProperty(request, async ({ commonName, sans, type, mustStaple, lot: drawn }) => {
      const privateKey = await keyOf(type)
      const pem = buildCsr({ commonName, sans, privateKey, mustStaple })
      const names = distinctSans(sans.map(sanOf))
      const spkiDer = spkiOf(privateKey)
      const ours = parseCsr(pem)
      expect(ours).toMatchObject({ commonName, sans: names, mustStaple, otherNames: [] })
      expect(ours.spkiDer.equals(spkiDer)).toBe(true)

      const theirs = new peculiar.Pkcs10CertificateRequest(pem)
      expect(theirAttributes(theirs.subjectName)).toEqual([`2.5.4.3=${commonName}`])
      const extension = theirs.getExtension("2.5.29.17")
      const shown = extension instanceof peculiar.SubjectAlternativeNameExtension ? extension.names.items : []
      expect(theirNames(shown)).toEqual(nameSet(names))
      expect(Buffer.from(theirs.publicKey.rawData).equals(spkiDer)).toBe(true)

      if (drawn !== 0) return
      expect(openssl(["req", "-verify", "-noout", "-in", "a.csr"], { "a.csr": pem })).toMatchObject({ ok: true })
    }),
    options,
  )
})
