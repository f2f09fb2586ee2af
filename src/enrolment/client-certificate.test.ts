import { expect, test } from "bun:test"
import { toPem } from "../pki/pem"
import { readClientCert } from "./client-certificate"

const der = Buffer.from(Array.from({ length: 700 }, (_, n) => (n * 37 + 0xfb) % 256))
const base64 = der.toString("base64")
const escaped = encodeURIComponent(toPem("CERTIFICATE", der))

test("a certificate is read in the form of RFC 9440 and in that of nginx", () => {
  expect(readClientCert(`:${base64}:`)).toEqual(der)
  expect(readClientCert(` :${base64}: `)).toEqual(der)
  expect(readClientCert(escaped)).toEqual(der)
})

test("everything else is no certificate", () => {
  for (const header of [
    undefined,
    "",
    base64,
    `:${base64}:, :${base64}:`,
    `${escaped}, ${escaped}`,
    escaped + escaped,
    encodeURIComponent(toPem("PUBLIC KEY", der)),
    toPem("CERTIFICATE", der),
    "-----BEGIN%",
    escaped.slice(0, 200),
    encodeURIComponent("-----BEGIN CERTIFICATE-----\n=A==\n-----END CERTIFICATE-----\n"),
    "-----BEGIN%20CERTIFICATE-----%zz",
    `:${"A".repeat(70_000)}:`,
  ]) {
    expect([header, readClientCert(header)]).toEqual([header, null])
  }
})
