import { describe, expect, test } from "bun:test"
import * as peculiar from "@peculiar/x509"
import fc from "fast-check"
import { createRootAuthority, openAuthority } from "./authority"
import { randomSerial } from "./certificate.writer"
import { encodeRevoked, type RevokedCertificate, signCrl } from "./crl"
import { tags } from "./der.reader"
import { element, integer, octetString, oid, sequence, time } from "./der.writer"
import type { KeyType } from "./keys"
import { spkiOf } from "./keys"
import { sanOf } from "./names"
import { oids } from "./oids"
import { openssl } from "./openssl.process"
import { toPem } from "./pem"
import { sharedKey } from "./random.arbitrary"

const begin = new Date("2024-03-01T00:00:00Z")
const end = new Date("2090-03-01T00:00:00Z")
const now = new Date("2024-03-02T00:00:00Z")
const tomorrow = new Date("2024-03-03T00:00:00Z")

const authorityOf = async (keyType: KeyType) => {
  const { certPem, privateKey } = await createRootAuthority({
    keyType,
    commonName: "CertCtl Local CA",
    notBefore: begin,
    notAfter: end,
  })
  return openAuthority({ certPem, chainPem: certPem, privateKey })
}

describe("certificate revocation list", () => {
  for (const keyType of ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"] as const)
    test(`signed with ${keyType} is verified and read by openssl and @peculiar/x509`, async () => {
      const authority = await authorityOf(keyType)
      const serials = [randomSerial().toString("hex"), "01", "80", randomSerial().toString("hex")]
      const reasons = [1, 0, 9, 6]
      const der = await signCrl(authority, {
        number: 2n ** 70n,
        thisUpdate: now,
        nextUpdate: tomorrow,
        revoked: [
          encodeRevoked(
            serials.map((serial, at) => ({
              serial,
              revokedAt: new Date(now.getTime() - at),
              reasonCode: reasons[at] ?? 0,
            })),
          ),
        ],
      })
      const { ok, text } = openssl(["crl", "-in", "a.pem", "-CAfile", "ca.pem", "-noout", "-text"], {
        "a.pem": toPem("X509 CRL", der),
        "ca.pem": authority.certPem,
      })
      expect(ok).toBe(true)
      expect(text).toContain("verify OK")
      expect(text).toContain("Key Compromise")
      expect(text).toContain("Certificate Hold")
      expect(text).toContain("Privilege Withdrawn")
      expect(text).not.toContain("Unspecified")
      expect(text).toContain(String(2n ** 70n))
      const list = new peculiar.X509Crl(new Uint8Array(der))
      expect(list.entries.map((entry) => entry.serialNumber.replace(/^00(?=[89a-f])/, ""))).toEqual(serials)
      expect(list.nextUpdate?.getTime()).toBe(tomorrow.getTime())
    })

  test("without entries has no list of them, and is still complete", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const der = await signCrl(authority, { number: 1n, thisUpdate: now, nextUpdate: tomorrow, revoked: [] })
    const { text } = openssl(["crl", "-in", "a.pem", "-CAfile", "ca.pem", "-noout", "-text"], {
      "a.pem": toPem("X509 CRL", der),
      "ca.pem": authority.certPem,
    })
    expect(text).toContain("verify OK")
    expect(text).toContain("No Revoked Certificates")
  })

  test("makes openssl refuse the certificate it names, and no other", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const leaf = async () =>
      authority.sign({
        spkiDer: spkiOf(await sharedKey("ecdsa-p256")),
        subjectCommonName: "web.example.com",
        sans: [sanOf("web.example.com")],
        ekus: [],
        notBefore: now,
        notAfter: end,
      })
    const [revoked, other] = [await leaf(), await leaf()]
    const der = await signCrl(authority, {
      number: 7n,
      thisUpdate: now,
      nextUpdate: tomorrow,
      revoked: [encodeRevoked([{ serial: revoked.serial, revokedAt: now, reasonCode: 1 }])],
    })
    const check = (certPem: string) =>
      openssl(
        [
          "verify",
          "-crl_check",
          "-CAfile",
          "ca.pem",
          "-CRLfile",
          "crl.pem",
          "-attime",
          String(now.getTime() / 1000 + 60),
          "a.pem",
        ],
        { "a.pem": certPem, "ca.pem": authority.certPem, "crl.pem": toPem("X509 CRL", der) },
      )
    expect(check(revoked.certPem).text).toContain("certificate revoked")
    expect(check(other.certPem).ok).toBe(true)
  })

  test("carries any serials and moments", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const serial = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) =>
      Buffer.from(bytes)
        .toString("hex")
        .replace(/^(00)+(?=..)/, ""),
    )
    const moment = fc.date({ min: new Date("1990-01-01"), max: new Date("2080-01-01"), noInvalidDate: true })
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(serial, moment), { maxLength: 30, selector: ([hex]) => hex }),
        async (rows) => {
          const der = await signCrl(authority, {
            number: 1n,
            thisUpdate: now,
            nextUpdate: tomorrow,
            revoked: rows.map(([hex, revokedAt]) => encodeRevoked([{ serial: hex, revokedAt, reasonCode: 0 }])),
          })
          const entries = new peculiar.X509Crl(new Uint8Array(der)).entries
          expect(entries.map((entry) => BigInt(`0x${entry.serialNumber}`))).toEqual(
            rows.map(([hex]) => BigInt(`0x${hex}`)),
          )
          expect(entries.map((entry) => entry.revocationDate?.getTime() ?? 0)).toEqual(
            rows.map(([, at]) => Math.floor(at.getTime() / 1000) * 1000),
          )
        },
      ),
      { numRuns: 50 },
    )
  })

  test("has entries to the byte as the general writer makes them", () => {
    const hex = fc.stringMatching(/^(0{0,6}|[89f])[0-9a-f]{1,34}$/)
    // Around the borders between the two kinds of time, and days.
    const moment = fc.oneof(
      fc.date({ min: new Date("0001-01-01"), max: new Date("9999-12-31T23:59:59Z"), noInvalidDate: true }),
      fc
        .tuple(
          fc.constantFrom("1950-01-01", "1970-01-01", "2000-03-01", "2024-02-29", "2050-01-01"),
          fc.integer({ min: -5000, max: 5000 }),
        )
        .map(([day, ms]) => new Date(new Date(`${day}T00:00:00Z`).getTime() + ms)),
    )
    const entry = fc.record({ serial: hex, revokedAt: moment, reasonCode: fc.integer({ min: 0, max: 10 }) })
    const generally = ({ serial, revokedAt, reasonCode }: RevokedCertificate) => {
      const code = element(tags.enumerated, Buffer.from([reasonCode]))
      const extension = sequence(sequence(oid(oids.crlReason), octetString(code)))
      const bytes = Buffer.from(serial.padStart(serial.length + (serial.length % 2), "0"), "hex")
      return sequence(integer(bytes), time(revokedAt), ...(reasonCode === 0 ? [] : [extension]))
    }
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        expect(encodeRevoked(entries)).toEqual(Buffer.concat(entries.map(generally)))
      }),
      { numRuns: 500 },
    )
  })

  test("of any entries in any number of pieces is verified by openssl, which finds every one", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const serial = fc.bigInt({ min: 1n, max: 2n ** 160n - 1n }).map((value) => value.toString(16))
    const pieces = fc.array(fc.uniqueArray(serial, { maxLength: 40 }), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 0, max: 10 }), async (lists, reasonCode) => {
        const der = await signCrl(authority, {
          number: 3n,
          thisUpdate: now,
          nextUpdate: tomorrow,
          revoked: lists.map((list) => encodeRevoked(list.map((hex) => ({ serial: hex, revokedAt: now, reasonCode })))),
        })
        const { text } = openssl(["crl", "-inform", "der", "-in", "a.der", "-CAfile", "ca.pem", "-noout", "-text"], {
          "a.der": der,
          "ca.pem": authority.certPem,
        })
        expect(text).toContain("verify OK")
        const found = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, hex]) => BigInt(`0x${hex}`))
        expect(found).toEqual(lists.flat().map((hex) => BigInt(`0x${hex}`)))
      }),
      { numRuns: 15 },
    )
  })

  test("may be longer than 16 MiB", async () => {
    const authority = await authorityOf("ecdsa-p256")
    const piece = encodeRevoked(
      Array.from({ length: 10_000 }, () => ({ serial: randomSerial().toString("hex"), revokedAt: now, reasonCode: 4 })),
    )
    const revoked = Array.from({ length: Math.ceil(0x1000000 / piece.length) + 1 }, () => piece)
    const der = await signCrl(authority, { number: 1n, thisUpdate: now, nextUpdate: tomorrow, revoked })
    expect(der.length).toBeGreaterThan(0x1000000)
    const { text } = openssl(["crl", "-inform", "der", "-in", "a.der", "-CAfile", "ca.pem", "-noout", "-nextupdate"], {
      "a.der": der,
      "ca.pem": authority.certPem,
    })
    expect(text).toContain("verify OK")
  })

  test("refuses a serial that is none", () => {
    for (const serial of ["", "xyz", "AB", "0".repeat(41)])
      expect(() => encodeRevoked([{ serial, revokedAt: now, reasonCode: 0 }])).toThrow("hex digits")
  })
})
