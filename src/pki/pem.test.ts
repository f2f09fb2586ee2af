import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { AppError } from "../errors"
import { certificateBlocks, pemBlocks, toPem } from "./pem"

describe("PEM", () => {
  test("reads back every block it wrote, with any text between them", () => {
    const labels = fc.constantFrom("CERTIFICATE", "PRIVATE KEY", "X509 CRL")
    const block = fc.tuple(labels, fc.uint8Array({ minLength: 1, maxLength: 300 }))
    fc.assert(
      fc.property(
        fc.array(block, { maxLength: 5 }),
        fc.constantFrom("", "# comment\n", "\r\n\r\n"),
        (blocks, between) => {
          const text = between + blocks.map(([label, der]) => toPem(label, der) + between).join("")
          const expected = blocks.map(([label, der]) => ({ label, der: Buffer.from(der) }))
          expect(pemBlocks(text)).toEqual(expected)
          expect(pemBlocks(text.replaceAll("\n", "\r\n"))).toEqual(expected)
        },
      ),
    )
  })

  test("writes 64 columns and ends with a newline", () => {
    const lines = toPem("CERTIFICATE", Buffer.alloc(100)).split("\n")
    expect(lines.map((line) => line.length)).toEqual([27, 64, 64, 8, 25, 0])
  })

  test("writes a view into a larger buffer as just that view", () => {
    const whole = new Uint8Array([1, 2, 3, 4])
    expect(pemBlocks(toPem("X", whole.subarray(1, 3)))[0]?.der).toEqual(Buffer.from([2, 3]))
  })

  test("finds nothing in text without blocks", () => {
    expect(pemBlocks("hello")).toEqual([])
    expect(certificateBlocks("")).toEqual([])
  })

  test("refuses garbage inside a block, empty blocks, and blocks without an end", () => {
    const wrap = (body: string) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`
    for (const body of ["", "AAA", "AA=A", "A A*A", "ÄÄÄÄ", "-----BEGIN CERTIFICATE-----", "Proc-Type: 4"])
      expect(() => pemBlocks(wrap(body))).toThrow(AppError)
    expect(() => pemBlocks("-----BEGIN CERTIFICATE-----\nAAAA\n")).toThrow('not closed by "-----END CERTIFICATE-----"')
    expect(() => pemBlocks("-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n")).toThrow(AppError)
    expect(() => pemBlocks("-----BEGIN ")).toThrow(AppError)
  })

  test("takes only the certificates out of a mixed file", () => {
    const text = `${toPem("PRIVATE KEY", Buffer.from("k"))}${toPem("CERTIFICATE", Buffer.from("c"))}`
    expect(certificateBlocks(text).map(String)).toEqual(["c"])
  })

  test("throws nothing but AppError on random text", () => {
    const pieces = fc.constantFrom(
      "-----BEGIN ",
      "-----END ",
      "CERTIFICATE",
      "-----",
      "\n",
      "AAAA",
      "=",
      " ",
      "x",
      "\u0000",
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        try {
          pemBlocks(parts.join(""))
        } catch (error) {
          expect(error).toBeInstanceOf(AppError)
        }
      }),
      { numRuns: 500 },
    )
  })
})
