import { describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { AppError } from "../errors"
import { type Authority, createRootAuthority, openAuthority } from "./authority"
import { parseCertificate } from "./certificate"
import { generateKey, spkiOf } from "./keys"
import { sanOf } from "./names"
import { type CertStatus, certIdMatcher, certIdOf, ocspErrorResponse, parseOcspRequest, signOcspResponse } from "./ocsp"
import { openssl } from "./openssl.process"
import { damaged, sharedKey } from "./random.arbitrary"
import { signerFor } from "./signature"

const begin = new Date(Math.floor(Date.now() / 1000) * 1000 - 3_600_000)
const end = new Date(begin.getTime() + 365 * 86_400_000)
const now = new Date(begin.getTime() + 3_500_000)
const inAnHour = new Date(now.getTime() + 3_600_000)

const made = createRootAuthority({
  keyType: "ecdsa-p256",
  commonName: "CertCtl Local CA",
  notBefore: begin,
  notAfter: end,
}).then(({ certPem, privateKey }) => openAuthority({ certPem, chainPem: certPem, privateKey }))

const leafOf = async (authority: Authority) =>
  authority.sign({
    spkiDer: spkiOf(await sharedKey("ecdsa-p256")),
    subjectCommonName: "web.example.com",
    sans: [sanOf("web.example.com")],
    ekus: [],
    notBefore: begin,
    notAfter: end,
  })

/** A request as openssl writes it. */
const requestOf = (authority: Authority, certPems: readonly string[], options: readonly string[] = []): Buffer => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-ocsp-"))
  try {
    const files = Object.fromEntries(certPems.map((pem, at) => [`${at}.pem`, pem]))
    const certs = certPems.flatMap((_, at) => ["-cert", `${at}.pem`])
    const answer = openssl(["ocsp", "-issuer", "ca.pem", ...options, ...certs, "-reqout", join(folder, "r.der")], {
      ...files,
      "ca.pem": authority.certPem,
    })
    if (!answer.ok) throw new Error(answer.text)
    return readFileSync(join(folder, "r.der"))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What openssl makes of a response to its own request; the nonces must be equal. */
const opensslReads = (authority: Authority, request: Buffer, response: Buffer) =>
  openssl(["ocsp", "-reqin", "r.der", "-respin", "s.der", "-CAfile", "ca.pem", "-issuer", "ca.pem", "-resp_text"], {
    "ca.pem": authority.certPem,
    "r.der": request,
    "s.der": response,
  }).text

const answer = (request: Buffer, authority: Authority, certStatus: CertStatus) => {
  const { certIds, nonce } = parseOcspRequest(request)
  return signOcspResponse(
    { keyId: authority.keyId, signer: authority.signer, certificateDers: [] },
    {
      producedAt: now,
      responses: certIds.map(({ der }) => ({ certIdDer: der, certStatus, thisUpdate: now, nextUpdate: inAnHour })),
      nonce: nonce === "malformed" ? null : nonce,
    },
  )
}

describe("OCSP", () => {
  const states: [CertStatus, string][] = [
    [{ status: "good" }, "Cert Status: good"],
    [{ status: "unknown" }, "Cert Status: unknown"],
    [{ status: "revoked", revokedAt: now, reasonCode: 1 }, "Cert Status: revoked"],
    [{ status: "revoked", revokedAt: now, reasonCode: 0 }, "Cert Status: revoked"],
  ]
  for (const [status, words] of states)
    for (const nonce of ["-nonce", "-no_nonce"])
      test(`openssl verifies ${status.status} with ${nonce}`, async () => {
        const authority = await made
        const { certPem, serial } = await leafOf(authority)
        const request = requestOf(authority, [certPem], [nonce])
        const parsed = parseOcspRequest(request)
        expect(parsed.certIds.map((id) => id.serial)).toEqual([serial])
        expect(parsed.nonce === null).toBe(nonce === "-no_nonce")
        const text = opensslReads(authority, request, await answer(request, authority, status))
        expect(text).toContain("Response verify OK")
        expect(text).toContain(words)
        expect(text).not.toContain("WARNING")
      })

  test("a delegated responder's answer is verified with the certificate it brings", async () => {
    const authority = await made
    const { certPem } = await leafOf(authority)
    const privateKey = await generateKey("ecdsa-p256")
    const delegate = await authority.sign({
      spkiDer: spkiOf(privateKey),
      subjectCommonName: "OCSP Responder for CertCtl Local CA",
      sans: [],
      ekus: ["OCSPSigning"],
      notBefore: begin,
      notAfter: end,
      ocspNoCheck: true,
    })
    const request = requestOf(authority, [certPem])
    const { certIds, nonce } = parseOcspRequest(request)
    const response = await signOcspResponse(
      {
        keyId: Buffer.from(parseCertificate(delegate.certPem).ski ?? "", "hex"),
        signer: signerFor(privateKey),
        certificateDers: [delegate.der],
      },
      {
        producedAt: now,
        responses: certIds.map(({ der }) => ({
          certIdDer: der,
          certStatus: { status: "good" },
          thisUpdate: now,
          nextUpdate: inAnHour,
        })),
        nonce: nonce === "malformed" ? null : nonce,
      },
    )
    expect(opensslReads(authority, request, response)).toContain("Response verify OK")
  })

  test("reads several certificates and every hash clients use", async () => {
    const authority = await made
    const leaves = [await leafOf(authority), await leafOf(authority), await leafOf(authority)]
    const isOurs = certIdMatcher(authority)
    for (const hash of ["sha1", "sha256", "sha384", "sha512"] as const) {
      const { certIds } = parseOcspRequest(
        requestOf(
          authority,
          leaves.map((leaf) => leaf.certPem),
          [`-${hash}`],
        ),
      )
      expect(certIds.map((id) => [id.serial, id.hash, isOurs(id)])).toEqual(
        leaves.map((leaf) => [leaf.serial, hash, true]),
      )
    }
    const { certIds } = parseOcspRequest(requestOf(authority, [leaves[0]?.certPem ?? ""], ["-sha1"]))
    expect(certIds[0]?.der).toEqual(certIdOf(authority)(leaves[0]?.serial ?? ""))
    const other = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "Other",
      notBefore: begin,
      notAfter: end,
    })
    const stranger = openAuthority({ certPem: other.certPem, chainPem: other.certPem, privateKey: other.privateKey })
    expect(certIds.map(certIdMatcher(stranger))).toEqual([false])
  })

  test("damaged requests are refused with a validation error and nothing else", async () => {
    const authority = await made
    const request = requestOf(authority, [(await leafOf(authority)).certPem], ["-nonce"])
    fc.assert(
      fc.property(
        fc.oneof(
          damaged(request),
          fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        ),
        (bytes) => {
          try {
            parseOcspRequest(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(AppError)
            expect((error as AppError).code).toBe("validation")
          }
        },
      ),
      { numRuns: 2000 },
    )
    expect(() => parseOcspRequest(Buffer.alloc(16 * 1024 + 1))).toThrow("16 KiB")
  })

  test("says in one unsigned structure what went wrong", () => {
    const { text } = openssl(["ocsp", "-respin", "s.der", "-resp_text", "-noverify"], {
      "s.der": ocspErrorResponse("unauthorized"),
    })
    expect(text).toContain("unauthorized (6)")
  })
})
