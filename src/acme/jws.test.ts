import { describe, expect, test } from "bun:test"
import { createPublicKey } from "node:crypto"
import fc from "fast-check"
import { AppError } from "../errors"
import { generateKey } from "../pki/keys"
import { acmeKey, signJws } from "../testing/acme-client"
import { problemDocument } from "./acme.problem"
import { isSignedBy, readJwk } from "./jwk"
import { decodeBase64url, readJws, readPayload } from "./jws"

const url = "https://ca.example.test/acme/new-order"
const keys = (["ES256", "ES384", "RS256", "EdDSA"] as const).map((algorithm) => acmeKey(algorithm))
const rules = { nonce: "required" } as const

/** What is thrown must be an error that a client may see. */
const problemTypeOf = (run: () => unknown): string | null => {
  try {
    run()
    return null
  } catch (error) {
    expect(error).toBeInstanceOf(AppError)
    const { status, body } = problemDocument(error)
    expect(status).toBeLessThan(500)
    return String(body.type).split(":").at(-1) ?? ""
  }
}

describe("base64url", () => {
  test("reads its one spelling and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const text = Buffer.from(bytes).toString("base64url")
        expect(decodeBase64url(text, "x")).toEqual(Buffer.from(bytes))
        const standard = Buffer.from(bytes).toString("base64")
        if (standard !== text) expect(() => decodeBase64url(standard, "x")).toThrow("base64url")
      }),
    )
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (text) => {
        const isRead = problemTypeOf(() => decodeBase64url(text, "x")) === null
        expect(isRead).toBe(
          /^[A-Za-z0-9_-]*$/.test(text) && Buffer.from(text, "base64url").toString("base64url") === text,
        )
      }),
    )
    for (const odd of ["A", "AB", "AA=", "A A", "AA\n", "é"])
      expect(() => decodeBase64url(odd, "x")).toThrow("base64url")
  })
})

describe("a JWS", () => {
  test("of any payload is read as it was signed, by each algorithm", () => {
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.dictionary(fc.string(), fc.jsonValue()), (key, payload) => {
        const jws = readJws(JSON.stringify(signJws(key, { nonce: "abc", url, jwk: key.jwk }, payload)), rules)
        const { key: publicKey, thumbprint } = readJwk(jws.jwk)
        expect(isSignedBy(publicKey, jws.algorithm, jws.signed, jws.signature)).toBe(true)
        expect([jws.nonce, jws.url, jws.kid, thumbprint]).toEqual(["abc", url, null, key.thumbprint])
        expect(readPayload(jws.payload)).toEqual(JSON.parse(JSON.stringify(payload)))
      }),
    )
  })

  test("that was changed anywhere is refused, or not signed by its key", () => {
    const part = fc.constantFrom("protected", "payload", "signature")
    fc.assert(
      fc.property(
        fc.constantFrom(...keys),
        part,
        fc.nat(),
        fc.integer({ min: 1, max: 63 }),
        (key, which, at, shift) => {
          const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
          const signed = signJws(
            key,
            { nonce: "abc", url, kid: "https://ca.example.test/acme/account/a" },
            { some: "payload" },
          )
          const text = signed[which]
          const index = at % text.length
          const changed = alphabet[(alphabet.indexOf(text[index] ?? "") + shift) % 64]
          const forged = { ...signed, [which]: text.slice(0, index) + changed + text.slice(index + 1) }
          const type = problemTypeOf(() => {
            const jws = readJws(JSON.stringify(forged), rules)
            const publicKey = createPublicKey(key.privateKey)
            expect(isSignedBy(publicKey, jws.algorithm, jws.signed, jws.signature)).toBe(false)
          })
          expect([null, "malformed", "badSignatureAlgorithm", "badNonce"]).toContain(type)
        },
      ),
    )
  })

  test("of any JSON at all fails in words for the client", () => {
    fc.assert(fc.property(fc.json(), (text) => expect(problemTypeOf(() => readJws(text, rules))).toBe("malformed")))
    fc.assert(fc.property(fc.string(), (text) => expect(problemTypeOf(() => readJws(text, rules))).toBe("malformed")))
    const piece = fc.oneof(
      fc.base64String(),
      fc.json().map((json) => Buffer.from(json).toString("base64url")),
      fc.jsonValue(),
    )
    fc.assert(
      fc.property(piece, piece, piece, (header, payload, signature) => {
        const type = problemTypeOf(() => readJws(JSON.stringify({ protected: header, payload, signature }), rules))
        expect(type).not.toBe(null)
      }),
    )
  })

  test("is bounded", () => {
    expect(problemTypeOf(() => readJws(`{"protected":"${"A".repeat(300_000)}"}`, rules))).toBe("malformed")
    const [key] = keys
    if (key === undefined) throw new Error("there is no key")
    for (const header of [
      { nonce: "a".repeat(200), url },
      { nonce: "a", url: `https://x/${"a".repeat(3000)}` },
      { nonce: "a", url, kid: "k".repeat(3000) },
    ]) {
      const jws = signJws(key, { ...("kid" in header ? {} : { jwk: key.jwk }), ...header }, {})
      expect(problemTypeOf(() => readJws(JSON.stringify(jws), rules))).toBe("malformed")
    }
  })
})

describe("a JWK", () => {
  test("has the thumbprint of RFC 7638", () => {
    const n =
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    expect(readJwk({ kty: "RSA", n, e: "AQAB", alg: "RS256", kid: "2011-04-29" }).thumbprint).toBe(
      "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    )
  })

  test("of any shape is read or refused, never thrown at", () => {
    const member = fc.oneof(fc.base64String(), fc.string(), fc.jsonValue())
    const jwk = fc.record(
      {
        kty: fc.oneof(fc.constantFrom("EC", "RSA", "OKP", "oct", "constructor"), member),
        crv: fc.oneof(fc.constantFrom("P-256", "P-384", "P-521", "Ed25519", "X25519"), member),
        x: member,
        y: member,
        n: member,
        e: member,
        d: member,
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(jwk, fc.jsonValue()), (value) => {
        expect(["malformed", "badPublicKey"]).toContain(problemTypeOf(() => readJwk(value)) ?? "")
      }),
    )
  })

  test("must not be weak, of another curve, or private", async () => {
    const exported = async (type: Parameters<typeof generateKey>[0]) =>
      createPublicKey(await generateKey(type)).export({ format: "jwk" })
    expect(problemTypeOf(() => readJwk({ ...keys[2]?.jwk, e: "Aw" }))).toBe("badPublicKey")
    expect(
      problemTypeOf(() => readJwk({ kty: "RSA", n: Buffer.alloc(128, 0xff).toString("base64url"), e: "AQAB" })),
    ).toBe("badPublicKey")
    const p521 = await exported("ecdsa-p521")
    expect(problemTypeOf(() => readJwk(p521))).toBe("badPublicKey")
    expect(problemTypeOf(() => readJwk({ ...keys[0]?.jwk, d: "AAAA" }))).toBe("malformed")
    // A point that is not on the curve.
    expect(problemTypeOf(() => readJwk({ ...keys[0]?.jwk, y: keys[0]?.jwk.x }))).toBe("badPublicKey")
  })
})
