import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { escapeXml, readXml, xmlElements } from "./xml.reader"

describe("the XML reader", () => {
  test("reads a SOAP answer, prefixes and declarations aside", () => {
    const root = readXml(
      `<?xml version="1.0" encoding="utf-8"?>\n<s:Envelope xmlns:s="urn:soap" xml:lang="en"><s:Body><!-- c --><a:Id x:Name='A&amp;B'>1 &lt; &#x32;</a:Id><b/><a:Id><![CDATA[<&>]]></a:Id></s:Body></s:Envelope>\n`,
    )
    expect(root.name).toBe("Envelope")
    expect([...root.attributes]).toEqual([["lang", "en"]])
    expect(xmlElements(root, "Id").map(({ text }) => text)).toEqual(["1 < 2", "<&>"])
    expect(xmlElements(root, "Id")[0]?.attributes.get("Name")).toBe("A&B")
  })

  const refused = [
    "",
    "text",
    "<a>",
    "<a></b>",
    "<a/><b/>",
    "<a b=c/>",
    "<a>&evil;</a>",
    "<a>&</a>",
    '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    "<a><?php x ?></a>",
    "<a>&#0;</a>",
    "<a".repeat(3),
    "<a>".repeat(100),
    "<a></a>trailing",
  ]
  for (const document of refused) {
    test(`refuses ${JSON.stringify(document.slice(0, 40))}`, () => expect(() => readXml(document)).toThrow("XML: "))
  }

  test("reads back what was escaped", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const escaped = (() => {
          try {
            return escapeXml(text)
          } catch {
            return null
          }
        })()
        if (escaped === null) return
        const root = readXml(`<a b="${escaped}">${escaped}</a>`)
        expect([root.text, root.attributes.get("b")]).toEqual([text, text])
      }),
    )
  })

  test("never fails otherwise than in its own words", () => {
    const pieces = [
      "<",
      ">",
      "</",
      "a",
      "/>",
      "&",
      ";",
      "amp",
      "<![CDATA[",
      "]]>",
      "<!--",
      "-->",
      '"',
      "=",
      " ",
      "<?xml ?>",
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 40 }), (parts) => {
        try {
          readXml(parts.join(""))
        } catch (error) {
          expect(String(error)).toContain("XML: ")
        }
      }),
    )
  })
})
