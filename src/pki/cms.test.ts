import { describe, expect, test } from "bun:test"
import { type KeyObject, randomBytes } from "node:crypto"
import fc from "fast-check"
import { AppError } from "../errors"
import { certificatesOf, csrWithChallenge, readReply, scepMessage, selfSigned } from "../testing/scep-client"
import { parseCertificate } from "./certificate"
import { cmsOids, namesCertificate, writeContent } from "./cms-content"
import {
  type ContentCipher,
  canReceive,
  openEnvelopedData,
  readEnvelopedData,
  writeEnvelopedData,
} from "./cms-enveloped-data"
import { attributeValue, readSignedData, signerProblem, signingTimeOf, writeSignedData } from "./cms-signed-data"
import { octetString, sequence } from "./der.writer"
import { privateKeyPem, spkiOf } from "./keys"
import { openssl } from "./openssl.process"
import { pemBlocks } from "./pem"
import { damaged, sharedKey } from "./random.arbitrary"
import { readScepRequest, writeCertRep } from "./scep"
import { signerFor } from "./signature"

const now = new Date()
const key = await sharedKey("rsa-2048")
const certificateDer = await selfSigned(key, "Somebody", now)
const certificate = parseCertificate(certificateDer)
const files = { "key.pem": privateKeyPem(key), "cert.pem": certificate.pem }
const strict = { allowSha1: false }

/** The CMS message that openssl prints. */
const cmsOf = (args: readonly string[], more: Readonly<Record<string, string | Buffer>>): Buffer => {
  const { ok, text } = openssl(["cms", ...args], more)
  const [block] = ok ? pemBlocks(text) : []
  if (block === undefined) throw new Error(text)
  return block.der
}

const decrypted = (message: Buffer, privateKey: KeyObject): string => {
  const enveloped = readEnvelopedData(message)
  const transport = enveloped.recipients.find(({ recipient }) => namesCertificate(recipient, certificate))
  const plain = transport === undefined ? null : openEnvelopedData(enveloped, transport, privateKey)
  return plain?.toString("utf8") ?? "nothing"
}

describe("SignedData", () => {
  const sign = ["-sign", "-binary", "-nodetach", "-in", "content", "-outform", "PEM"]

  test.each([
    ["RSA", "rsa-2048", ["-md", "sha256"]],
    ["RSA with SHA-384", "rsa-2048", ["-md", "sha384"]],
    ["RSA with SHA-512, named by key identifier", "rsa-2048", ["-md", "sha512", "-keyid"]],
    ["RSA-PSS", "rsa-2048", ["-md", "sha256", "-keyopt", "rsa_padding_mode:pss"]],
    ["RSA as BER", "rsa-2048", ["-md", "sha256", "-stream"]],
    ["RSA without attributes", "rsa-2048", ["-md", "sha256", "-noattr"]],
    ["ECDSA", "ecdsa-p256", ["-md", "sha256"]],
    ["ECDSA P-384", "ecdsa-p384", ["-md", "sha384", "-stream"]],
  ] as const)("of openssl is read and verified: %s", async (_, type, options) => {
    const own = await sharedKey(type)
    const der = await selfSigned(own, "Signer", now)
    const content = randomBytes(3000)
    const more = { content, "k.pem": privateKeyPem(own), "c.pem": parseCertificate(der).pem }
    const signed = readSignedData(cmsOf([...sign, "-signer", "c.pem", "-inkey", "k.pem", ...options], more))
    const [signer] = signed.signers
    if (signer === undefined) throw new Error("no signer")
    expect(signed.content).toEqual(content)
    expect(signed.certificates).toEqual([der])
    expect(namesCertificate(signer.certificateId, parseCertificate(der))).toBe(true)
    expect(signerProblem(signed, signer, spkiOf(own), strict)).toBeNull()
    if (!(options as readonly string[]).includes("-noattr")) {
      const at = signingTimeOf(signer)?.getTime() ?? 0
      expect(Math.abs(at - Date.now())).toBeLessThan(60_000)
    }
    const other = signerProblem({ ...signed, content: Buffer.from("other") }, signer, spkiOf(own), strict)
    expect(other?.kind).toBe("signature")
    const stranger = signerProblem(signed, signer, spkiOf(await sharedKey("rsa-3072")), strict)
    expect(stranger?.kind).toBe("signature")
  })

  test("with SHA-1 is an algorithm that is refused, unless it is allowed", () => {
    const message = cmsOf([...sign, "-signer", "cert.pem", "-inkey", "key.pem", "-md", "sha1"], {
      ...files,
      content: "x",
    })
    const signed = readSignedData(message)
    const [signer] = signed.signers
    if (signer === undefined) throw new Error("no signer")
    expect(signerProblem(signed, signer, certificate.spkiDer, strict)?.kind).toBe("algorithm")
    expect(signerProblem(signed, signer, certificate.spkiDer, { allowSha1: true })).toBeNull()
  })

  test("of ours is verified by openssl, whatever is in it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2000 }), async (bytes) => {
        const text = Buffer.from(bytes).toString("base64")
        const message = await writeSignedData({
          contentType: cmsOids.data,
          content: Buffer.from(text),
          certificateDers: [certificateDer],
          signer: signerFor(key),
          attributes: [["1.2.3.4", octetString(Buffer.from("value"))]],
        })
        const args = ["cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", "m.der"]
        const { ok, text: printed } = openssl(args, { "m.der": message })
        expect([ok, printed.includes(text)]).toEqual([true, true])
        const [signer] = readSignedData(message).signers
        if (signer === undefined) throw new Error("no signer")
        expect(attributeValue(signer, "1.2.3.4")).toEqual(octetString(Buffer.from("value")))
        expect(attributeValue(signer, "1.2.3.5")).toBeNull()
      }),
      { numRuns: 5 },
    )
  })
})

describe("EnvelopedData", () => {
  test.each([
    ["AES-128", ["-aes128"]],
    ["AES-192", ["-aes192"]],
    ["AES-256, named by key identifier", ["-aes256", "-keyid"]],
    ["AES-128 as BER", ["-aes128", "-stream"]],
    ["triple DES", ["-des3"]],
  ] as const)("of openssl is opened: %s", async (_, options) => {
    for (const length of [1, 15, 16, 17, 5000]) {
      const content = randomBytes(length).toString("hex").slice(0, length)
      const other = parseCertificate(await selfSigned(await sharedKey("rsa-3072"), "Other", now)).pem
      const args = ["-encrypt", "-binary", "-in", "content", "-outform", "PEM", ...options, "other.pem", "cert.pem"]
      const message = cmsOf(args, { ...files, content, "other.pem": other })
      expect(readEnvelopedData(message).recipients).toHaveLength(2)
      expect(decrypted(message, key)).toBe(content)
    }
  })

  test.each(["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc"] as ContentCipher[])(
    "of ours is opened by openssl: %s",
    (cipher) => {
      for (const length of [1, 16, 33, 4000]) {
        const content = randomBytes(length).toString("hex").slice(0, length)
        const message = writeEnvelopedData(Buffer.from(content), certificateDer, cipher)
        const args = [
          "cms",
          "-decrypt",
          "-binary",
          "-inform",
          "DER",
          "-in",
          "m.der",
          "-recip",
          "cert.pem",
          "-inkey",
          "key.pem",
        ]
        expect(openssl(args, { ...files, "m.der": message })).toEqual({ ok: true, text: content })
        expect(decrypted(message, key)).toBe(content)
      }
    },
  )

  test("opened with the wrong key gives rubbish and no error; other ways to send the key give nothing", async () => {
    const message = writeEnvelopedData(Buffer.from("content"), certificateDer, "des-cbc")
    expect(decrypted(message, key)).toBe("content")
    expect(decrypted(message, await sharedKey("rsa-3072"))).not.toBe("content")
    const oaep = [
      "-encrypt",
      "-in",
      "c",
      "-outform",
      "PEM",
      "-aes128",
      "-recip",
      "cert.pem",
      "-keyopt",
      "rsa_padding_mode:oaep",
    ]
    expect(decrypted(cmsOf(oaep, { ...files, c: "x" }), key)).toBe("nothing")
    const gcm = readEnvelopedData(
      cmsOf(["-encrypt", "-in", "c", "-outform", "PEM", "-camellia128", "cert.pem"], { ...files, c: "x" }),
    )
    expect([gcm.cipher, gcm.cipherOid]).toEqual([null, "1.2.392.200011.61.1.1.1.2"])
  })

  test("is made for RSA keys only", async () => {
    expect(canReceive(spkiOf(key))).toBe(true)
    expect(canReceive(spkiOf(await sharedKey("ecdsa-p256")))).toBe(false)
    expect(canReceive(Buffer.from("rubbish"))).toBe(false)
  })
})

describe("hostile messages", () => {
  const csr = csrWithChallenge(key, "device-1", { challenge: "secret" })
  const message = scepMessage({ content: csr, key, certificateDer, raDer: certificateDer, signingTime: now })
  const envelope = writeEnvelopedData(csr, certificateDer, "aes-256-cbc")

  /** Everything that is done with a message before anything is believed. */
  const readAll = (bytes: Buffer): void => {
    const signed = readSignedData(bytes)
    const request = readScepRequest(signed)
    for (const signer of signed.signers) {
      signerProblem(signed, signer, certificate.spkiDer, { allowSha1: true })
      if (request !== null) signerProblem(signed, signer, request.certificate.spkiDer, { allowSha1: true })
    }
    openAll(signed.content ?? Buffer.alloc(0))
  }
  const openAll = (bytes: Buffer): void => {
    const enveloped = readEnvelopedData(bytes)
    for (const transport of enveloped.recipients) {
      namesCertificate(transport.recipient, certificate)
      openEnvelopedData(enveloped, transport, key)
    }
  }
  const ownErrorOnly = (read: (bytes: Buffer) => void) => (bytes: Uint8Array) => {
    try {
      read(Buffer.from(bytes))
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "validation") throw error
    }
  }

  test("are read whole, or refused with the parsers' own error", () => {
    const any = fc.uint8Array({ maxLength: 300 })
    fc.assert(fc.property(any, ownErrorOnly(readAll)), { numRuns: 300 })
    fc.assert(fc.property(any, ownErrorOnly(openAll)), { numRuns: 300 })
    const inside = any.map((bytes) => writeContent(cmsOids.signedData, sequence(bytes)))
    fc.assert(fc.property(inside, ownErrorOnly(readAll)), { numRuns: 300 })
    fc.assert(fc.property(damaged(message), ownErrorOnly(readAll)), { numRuns: 400 })
    fc.assert(fc.property(damaged(envelope), ownErrorOnly(openAll)), { numRuns: 400 })
  })

  test("cut short at any place are refused", () => {
    for (let at = 0; at < message.length; at += 7)
      expect(() => readSignedData(message.subarray(0, at))).toThrow(AppError)
    for (let at = 0; at < envelope.length; at += 7)
      expect(() => readEnvelopedData(envelope.subarray(0, at))).toThrow(AppError)
  })

  test("with endless lists are refused", () => {
    const many = (count: number) => writeContent(cmsOids.signedData, sequence(...Array(count).fill(sequence())))
    expect(() => readSignedData(many(60_000))).toThrow("too many parts")
  })
})

describe("SCEP messages", () => {
  test("are read as they were written, and answered to their signer", async () => {
    const nonce = randomBytes(16)
    const message = scepMessage({
      content: Buffer.from("content"),
      key,
      certificateDer,
      raDer: certificateDer,
      transactionId: "abc",
      senderNonce: nonce,
      messageType: "17",
    })
    const request = readScepRequest(readSignedData(message))
    expect(request).toMatchObject({ messageType: "RenewalReq", transactionId: "abc", signingTime: null })
    expect(request?.senderNonce).toEqual(nonce)
    expect(request?.certificate.fingerprint).toBe(certificate.fingerprint)
    if (request === null) throw new Error("no request")
    const envelope = writeEnvelopedData(
      writeContent(cmsOids.signedData, Buffer.alloc(0)),
      certificateDer,
      "aes-128-cbc",
    )
    const ra = { certificateDer, signer: signerFor(key) }
    const success = readReply(await writeCertRep(request, { status: "success", envelope }, ra))
    expect(success).toMatchObject({ status: "0", failInfo: null, text: null, transactionId: "abc" })
    expect(success.recipientNonce).toEqual(nonce)
    expect(() => certificatesOf(success, key)).toThrow(AppError)
    const failure = { status: "failure", failInfo: "badTime", text: "späť" } as const
    const refused = readReply(await writeCertRep({ ...request, senderNonce: null }, failure, ra))
    expect(refused).toMatchObject({ status: "2", failInfo: "3", text: "späť", recipientNonce: null })
    expect(refused.envelope).toHaveLength(0)
  })

  test("without a transaction are no SCEP messages; without its parts they are refused", () => {
    const plain = cmsOf(
      ["-sign", "-nodetach", "-in", "c", "-outform", "PEM", "-signer", "cert.pem", "-inkey", "key.pem"],
      { ...files, c: "x" },
    )
    expect(readScepRequest(readSignedData(plain))).toBeNull()
    const message = (transactionId: string) =>
      readSignedData(
        scepMessage({ content: Buffer.from("x"), key, certificateDer, raDer: certificateDer, transactionId }),
      )
    expect(() => readScepRequest(message(""))).toThrow("no transaction id")
    expect(() => readScepRequest(message("x".repeat(300)))).toThrow("too long")
    expect(() => readScepRequest({ ...message("x"), certificates: [] })).toThrow("certificate is missing")
  })
})
