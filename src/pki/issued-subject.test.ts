import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { AppError } from "../errors"
import { tags } from "./der.reader"
import { directoryString, element, oid, sequence, setOf } from "./der.writer"
import { nameText, readName, sameName, writeName } from "./distinguished-name"
import { issuedSubject } from "./issued-subject"
import { subjectText } from "./random.arbitrary"

const attribute = (type: string, value: Buffer): Buffer => sequence(oid(type), value)
const subject = (...attributes: Buffer[]): Buffer => sequence(...attributes.map((one) => setOf(one)))
const latin1 = (tag: number, text: string): Buffer => element(tag, Buffer.from(text, "latin1"))
const commonName = "2.5.4.3"
const email = "1.2.840.113549.1.9.1"

const issued = (...attributes: Buffer[]) =>
  readName(issuedSubject(subject(...attributes)), "subject")
    .flat()
    .map(({ oid: type, text, value }) => [type, value.tag, text])

describe("an issued subject", () => {
  test("is the requested one, to the byte, when that complies", () => {
    fc.assert(
      fc.property(subjectText, subjectText, (cn, o) => {
        const requested = writeName({ commonName: cn, organization: o })
        expect(issuedSubject(requested)).toEqual(requested)
      }),
    )
    const inUtf8 = subject(attribute(commonName, element(tags.utf8String, Buffer.from("plain"))))
    expect(issuedSubject(inUtf8)).toEqual(inUtf8)
  })

  test("has the string types of RFC 5280 whatever the client used", () => {
    const wide = Buffer.from("München", "utf16le").swap16()
    expect(
      issued(
        attribute(commonName, latin1(tags.teletexString, "plain")),
        attribute("2.5.4.7", element(tags.bmpString, wide)),
        attribute("2.5.4.10", latin1(tags.printableString, "A & B *")),
        attribute("2.5.4.6", latin1(tags.utf8String, "de")),
        attribute(email, latin1(tags.utf8String, "ann@example.com")),
      ),
    ).toEqual([
      [commonName, tags.printableString, "plain"],
      ["2.5.4.7", tags.utf8String, "München"],
      ["2.5.4.10", tags.utf8String, "A & B *"],
      ["2.5.4.6", tags.printableString, "DE"],
      [email, tags.ia5String, "ann@example.com"],
    ])
  })

  test("leaves out what is empty, and a common name that no subject can hold", () => {
    expect(
      issued(
        attribute("2.5.4.11", latin1(tags.utf8String, "")),
        attribute("2.5.4.10", directoryString("Example")),
        attribute(commonName, directoryString("a".repeat(65))),
      ),
    ).toEqual([["2.5.4.10", tags.printableString, "Example"]])
  })

  test("takes over attributes of other types as they are", () => {
    const requested = subject(
      attribute("2.5.4.5", latin1(tags.utf8String, "device_7")),
      attribute("1.3.6.1.4.1.99999.1", latin1(tags.bmpString, "xx")),
      attribute("2.5.4.45", element(tags.bitString, Buffer.from([0, 1]))),
    )
    expect(issuedSubject(requested)).toEqual(requested)
  })

  test("is refused where a part could only be cut or guessed", () => {
    const refused = (...attributes: Buffer[]) => expect(() => issuedSubject(subject(...attributes)))
    refused(attribute("2.5.4.6", directoryString("Germany"))).toThrow("subject: C must be two letters (ISO 3166)")
    refused(attribute("2.5.4.10", directoryString("a".repeat(65)))).toThrow(
      "subject: O must have at most 64 characters",
    )
    refused(attribute("2.5.4.10", element(tags.utf8String, Buffer.from([0xc3])))).toThrow(
      "subject: O is no valid UTF-8",
    )
    refused(attribute("2.5.4.6", directoryString(""))).toThrow(AppError)
  })

  test("is the same name as the requested one", () => {
    const requested = subject(
      attribute(commonName, latin1(tags.teletexString, "M\xfcnchen")),
      attribute("2.5.4.6", latin1(tags.printableString, "de")),
    )
    expect(sameName(issuedSubject(requested), requested)).toBe(true)
    expect(nameText(readName(issuedSubject(requested), "subject"))).toBe("C=DE,CN=München")
  })
})
