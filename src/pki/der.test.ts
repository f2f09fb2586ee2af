import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { AppError } from "../errors"
import {
  DerReader,
  readBoolean,
  readNamedBits,
  readOid,
  readSequence,
  readSmallInteger,
  readText,
  readTime,
  tags,
} from "./der.reader"
import { directoryString, element, generalizedTime, integer, namedBits, oid, sequence, setOf, time } from "./der.writer"
import { moment } from "./random.arbitrary"

const only = (der: Buffer) => {
  const reader = new DerReader(der, "test")
  const found = reader.next()
  reader.end()
  return found
}

const anyAppError = (run: () => unknown): void => {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(AppError)
  }
}

describe("DER", () => {
  test("reads back what it wrote, for contents on every length form", () => {
    for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const content = Buffer.alloc(length, 7)
      expect(only(element(0x04, content)).content.equals(content)).toBe(true)
    }
  })

  test("reads back object identifiers with arcs of any size", () => {
    const arc = fc.bigInt({ min: 0n, max: 2n ** 128n })
    fc.assert(
      fc.property(
        fc.constantFrom(0, 1, 2),
        fc.bigInt({ min: 0n, max: 39n }),
        fc.array(arc, { maxLength: 5 }),
        (root, second, rest) => {
          const dotted = [root, second, ...rest].join(".")
          expect(readOid(only(oid(dotted)).content, "test")).toBe(dotted)
        },
      ),
    )
    expect(readOid(only(oid("2.999.3")).content, "test")).toBe("2.999.3")
    for (const bad of ["", "1", "3.1", "1.40", "1.2.03", "1..2", "1.2.x"]) expect(() => oid(bad)).toThrow(AppError)
  })

  test("reads back times to the second, switching to GeneralizedTime in 2050", () => {
    fc.assert(
      fc.property(moment, (at) => {
        const written = only(time(at))
        expect(written.tag).toBe(at.getUTCFullYear() < 2050 ? tags.utcTime : tags.generalizedTime)
        expect(readTime(written, "test").getTime()).toBe(at.getTime())
        expect(readTime(only(generalizedTime(at)), "test").getTime()).toBe(at.getTime())
      }),
    )
    expect(time(new Date("2049-12-31T23:59:59.999Z")).toString("latin1", 2)).toBe("491231235959Z")
    expect(time(new Date("2050-01-01T00:00:00Z")).toString("latin1", 2)).toBe("20500101000000Z")
    expect(time(new Date("1949-12-31T23:59:59Z")).toString("latin1", 2)).toBe("19491231235959Z")
    expect(() => time(new Date(Number.NaN))).toThrow(AppError)
    expect(() => time(new Date("+010000-01-01T00:00:00Z"))).toThrow(AppError)
  })

  test("reads the times of old certificates: without seconds, with an offset, with the largest date", () => {
    const utc = (text: string) => readTime(only(element(tags.utcTime, Buffer.from(text))), "test").toISOString()
    const generalized = (text: string) =>
      readTime(only(element(tags.generalizedTime, Buffer.from(text))), "test").toISOString()
    expect(utc("9912312359Z")).toBe("1999-12-31T23:59:00.000Z")
    expect(utc("500101000000Z")).toBe("1950-01-01T00:00:00.000Z")
    expect(utc("200101020000+0100")).toBe("2020-01-01T01:00:00.000Z")
    expect(generalized("99991231235959Z")).toBe("9999-12-31T23:59:59.000Z")
    for (const bad of ["201301000000Z", "20010100000Z", "", "20010100000000Z", "200101250000Z"])
      expect(() => utc(bad)).toThrow(AppError)
  })

  test("reads back named bits and writes them without trailing zeros", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(8)), (bits) => {
        const der = namedBits(bits)
        expect(readNamedBits(only(der), "test")).toEqual([...bits].sort((a, b) => a - b))
      }),
    )
    expect(namedBits([0]).toString("hex")).toBe("03020780")
    expect(namedBits([5, 6]).toString("hex")).toBe("03020106")
    expect(namedBits([8]).toString("hex")).toBe("0303070080")
    expect(namedBits([]).toString("hex")).toBe("030100")
  })

  test("writes integers in their shortest positive form", () => {
    expect(integer(0).toString("hex")).toBe("020100")
    expect(integer(127).toString("hex")).toBe("02017f")
    expect(integer(128).toString("hex")).toBe("02020080")
    expect(integer(Buffer.from("0000ff", "hex")).toString("hex")).toBe("020200ff")
    expect(readSmallInteger(only(integer(65_537)), "test")).toBe(65_537)
  })

  test("orders the members of a set", () => {
    expect(setOf(integer(2), integer(1)).equals(setOf(integer(1), integer(2)))).toBe(true)
  })

  test("picks the string type by its characters and reads every string type", () => {
    expect(only(directoryString("A b-1")).tag).toBe(tags.printableString)
    expect(only(directoryString("*.x")).tag).toBe(tags.utf8String)
    expect(readText(only(directoryString("Ä")))).toBe("Ä")
    expect(readText(only(element(tags.bmpString, Buffer.from("00410042", "hex"))))).toBe("AB")
    expect(readText(only(element(tags.universalString, Buffer.from("0001f600ffffffff", "hex"))))).toBe("😀\uFFFD")
    expect(readText(only(element(tags.teletexString, Buffer.from([0xe9]))))).toBe("é")
    expect(readText(only(integer(1)))).toBeNull()
  })

  test("refuses trailing bytes, indefinite, overlong and truncated lengths, and other tags", () => {
    const refused = ["3080", "308100", "3082000100", "30850000000001", "3005", "30", "", "1f8100"]
    for (const hex of refused) expect(() => new DerReader(Buffer.from(hex, "hex"), "test").next()).toThrow(AppError)
    expect(() => readSequence(Buffer.from("300000", "hex"), "test")).toThrow("trailing bytes")
    expect(() => readSequence(integer(1), "test")).toThrow("unexpected element 0x2")
    expect(() => readBoolean(only(element(tags.boolean)), "test")).toThrow(AppError)
  })

  test("throws nothing but AppError on random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const der = Buffer.from(bytes)
        anyAppError(() => {
          const reader = new DerReader(der, "test")
          while (!reader.done) {
            const found = reader.next()
            anyAppError(() => readTime(found, "test"))
            anyAppError(() => readSmallInteger(found, "test"))
            readText(found)
          }
        })
        anyAppError(() => readOid(der, "test"))
        anyAppError(() => readNamedBits({ tag: tags.bitString, bytes: der, content: der }, "test"))
        anyAppError(() => readSequence(sequence(der), "test").next())
      }),
      { numRuns: 500 },
    )
  })
})
