import { describe, expect, test } from "bun:test"
import { generateKeyPairSync, type KeyObject } from "node:crypto"
import fc from "fast-check"
import { type Authority, createRootAuthority, openAuthority } from "./authority"
import { parseCertificate } from "./certificate"
import { type KeyType, privateKeyPem, spkiOf } from "./keys"
import { sanOf } from "./names"
import { openssl } from "./openssl.process"
import { certificateBlocks, pemBlocks, toPem } from "./pem"
import { damaged, sharedKey } from "./random.arbitrary"
import { chainOf, verifyChain } from "./trust"

// openssl signs from the machine's present on, so the checks happen a day later.
const now = new Date(Math.ceil(Date.now() / 1000) * 1000 + 86_400_000)
const begin = new Date("2020-01-01T00:00:00Z")
const end = new Date("2090-01-01T00:00:00Z")

const rootOf = async (commonName: string, keyType: KeyType = "ecdsa-p256") => {
  const { certPem, privateKey } = await createRootAuthority({ keyType, commonName, notBefore: begin, notAfter: end })
  return {
    authority: openAuthority({ certPem, chainPem: certPem, privateKey }),
    privateKey,
    der: parseCertificate(certPem).der,
  }
}

const leafOf = async (authority: Authority, notAfter = new Date("2070-09-01T00:00:00Z")) => {
  const spkiDer = spkiOf(await sharedKey("ecdsa-p256"))
  const sans = [sanOf("web.example.com")]
  return (
    await authority.sign({ spkiDer, subjectCommonName: "web.example.com", sans, ekus: [], notBefore: begin, notAfter })
  ).der
}

/** A CA below another one, made by openssl. */
const subordinate = async (
  above: Awaited<ReturnType<typeof rootOf>>,
  commonName: string,
  extensions = "basicConstraints=critical,CA:true",
  privateKey: KeyObject = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
) => {
  const files = {
    "key.pem": privateKeyPem(privateKey),
    "ca.key": privateKeyPem(above.privateKey),
    "ca.pem": above.authority.certPem,
    "ext.cnf": `${extensions}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n`,
  }
  const request = openssl(["req", "-new", "-key", "key.pem", "-subj", `/CN=${commonName}`], files).text
  const sign = [
    "x509",
    "-req",
    "-in",
    "a.csr",
    "-CA",
    "ca.pem",
    "-CAkey",
    "ca.key",
    "-set_serial",
    "7",
    "-days",
    "10000",
    "-extfile",
    "ext.cnf",
  ]
  const { text } = openssl(sign, { ...files, "a.csr": request })
  const certPem = text.slice(text.indexOf("-----BEGIN CERTIFICATE"), text.indexOf("-----END CERTIFICATE-----") + 26)
  const der = pemBlocks(certPem)[0]?.der ?? Buffer.alloc(0)
  return { certPem, privateKey, der, open: () => openAuthority({ certPem, chainPem: certPem, privateKey }) }
}

describe("trust", () => {
  test("orders a chain out of a pile and accepts it, as openssl does", async () => {
    const root = await rootOf("Root")
    const stranger = await rootOf("Stranger")
    const middle = await subordinate(root, "Middle")
    const leaf = await leafOf(middle.open())
    const pile = [Buffer.from("junk"), stranger.der, root.der, leaf, middle.der]
    const chain = chainOf(leaf, pile)
    expect(chain).toEqual([middle.der, root.der])
    expect(verifyChain(leaf, chain, now)).toBeNull()
    expect(verifyChain(leaf, [middle.der], now)).toBeNull()
    expect(verifyChain(leaf, [], now)).toBeNull()
    expect(verifyChain(root.der, [], now)).toBeNull()
    const files = {
      "root.pem": root.authority.certPem,
      "middle.pem": middle.certPem,
      "leaf.pem": toPem("CERTIFICATE", leaf),
    }
    const attime = String(now.getTime() / 1000)
    expect(
      openssl(["verify", "-attime", attime, "-CAfile", "root.pem", "-untrusted", "middle.pem", "leaf.pem"], files).text,
    ).toBe("leaf.pem: OK\n")
  })

  test("finds nothing above a root, above a leaf of a stranger, or in an empty pile", async () => {
    const root = await rootOf("Root")
    const leaf = await leafOf(root.authority)
    expect(chainOf(leaf, [])).toEqual([])
    expect(chainOf(leaf, [(await rootOf("Other")).der])).toEqual([])
    expect(chainOf(root.der, [root.der, leaf])).toEqual([])
  })

  test("ends when two authorities certify each other", async () => {
    const a = await rootOf("A")
    const b = await rootOf("B")
    const cross = async (above: typeof a, below: typeof b, name: string) => {
      const files = {
        "key.pem": privateKeyPem(below.privateKey),
        "ca.key": privateKeyPem(above.privateKey),
        "ca.pem": above.authority.certPem,
        "ext.cnf": "basicConstraints=critical,CA:true\n",
      }
      const request = openssl(["req", "-new", "-key", "key.pem", "-subj", `/CN=${name}`], files).text
      const sign = [
        "x509",
        "-req",
        "-in",
        "a.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-set_serial",
        "9",
        "-days",
        "10000",
        "-extfile",
        "ext.cnf",
      ]
      const { text } = openssl(sign, { ...files, "a.csr": request })
      return certificateBlocks(text)[0] ?? Buffer.alloc(0)
    }
    const [aByB, bByA] = [await cross(b, a, "A"), await cross(a, b, "B")]
    const leaf = await leafOf(a.authority)
    expect(chainOf(leaf, [aByB, bByA])).toEqual([aByB, bByA])
    expect(chainOf(leaf, [aByB, bByA, a.der, b.der])).toEqual([a.der])
  })

  for (const keyType of ["rsa-2048", "ecdsa-p521", "ed25519"] as const)
    test(`refuses a certificate of which a byte was changed (${keyType})`, async () => {
      const root = await rootOf("Root", keyType)
      const leaf = await leafOf(root.authority)
      expect(verifyChain(leaf, [root.der], now)).toBeNull()
      fc.assert(
        fc.property(damaged(leaf), (der) => {
          fc.pre(!der.equals(leaf))
          expect(verifyChain(der, [root.der], now)).toBeString()
        }),
        { numRuns: 100 },
      )
    })

  test("says which certificate is wrong, and how", async () => {
    const root = await rootOf("Root")
    const other = await rootOf("Root")
    const leaf = await leafOf(root.authority)
    expect(verifyChain(leaf, [root.der], new Date("2019-12-31T23:59:59Z"))).toContain(
      '"CN=web.example.com" is not valid before 2020-01-01',
    )
    expect(verifyChain(leaf, [root.der], new Date("2070-09-01T00:00:01Z"))).toContain("expired at 2070-09-01")
    expect(verifyChain(leaf, [root.der], new Date("2070-09-01T00:00:00Z"))).toBeNull()
    expect(verifyChain(leaf, [other.der], now)).toContain("another key")
    expect(verifyChain(leaf, [(await rootOf("Else")).der], now)).toContain('its issuer is "CN=Root", not "CN=Else"')
    expect(verifyChain(leaf, [Buffer.from("junk")], now)).toContain("certificate")
    expect(verifyChain(leaf, Array<Buffer>(11).fill(root.der), now)).toContain("more than 10")
  })

  test("refuses authorities that may not sign: no CA, wrong usage, too many below, unknown critical extension", async () => {
    const root = await rootOf("Root")
    const cases = {
      "basicConstraints=CA:false": "is not a CA certificate",
      "basicConstraints=critical,CA:true\nkeyUsage=cRLSign": "may not sign certificates",
      "basicConstraints=critical,CA:true\n1.2.3.4=critical,ASN1:NULL": "unknown critical extension (1.2.3.4)",
    }
    const usable = await subordinate(root, "Sub")
    for (const [extensions, reason] of Object.entries(cases)) {
      const sub = await subordinate(root, "Sub", extensions, usable.privateKey)
      expect(verifyChain(await leafOf(usable.open()), [sub.der], now)).toContain(reason)
    }
    const short = await subordinate(root, "Short", "basicConstraints=critical,CA:true,pathlen:0")
    const below = await subordinate({ ...root, authority: short.open(), privateKey: short.privateKey }, "Below")
    const leaf = await leafOf(below.open())
    expect(verifyChain(leaf, [below.der, short.der, root.der], now)).toContain("allows only 0 CAs below it")
    expect(verifyChain(await leafOf(short.open()), [short.der, root.der], now)).toBeNull()
  })
})
