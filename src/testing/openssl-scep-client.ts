/**
 * A SCEP client made of openssl: keys, CSRs, envelopes, signatures and the reading of answers are its own. Only the frame of a message
 * is put together here, since `openssl cms -sign` takes no signed attributes such as a transaction id.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { contextTag, DerReader, tags } from "../pki/der.reader"
import { element, octetString, sequence, setOf } from "../pki/der.writer"
import { runner } from "./runner"
import type { Stage } from "./stage"

const scepAttributes = "2.16.840.1.113733.1.9"

export interface OpensslScepMessage {
  /** `<name>.key` and `<name>.pem` sign. */
  readonly signer: string
  /** File that the envelope holds. */
  readonly content: string
  readonly messageType?: number
  readonly transactionId?: string
  readonly digest?: "sha1" | "sha256" | "sha384" | "sha512"
  /** Option of `openssl cms -encrypt`, without its hyphen. */
  readonly cipher?: string
  /** Certificate that the content is encrypted to: the RA's. */
  readonly recipient?: string
  readonly hasSenderNonce?: boolean
  readonly signingTime?: Date
  /** Key that signs in place of the signer's own. */
  readonly signingKey?: string
}

export interface OpensslScepReply {
  readonly pkiStatus: string
  readonly failInfo: string | null
  readonly transactionId: string
  readonly recipientNonce: string | null
  /** File with the signed content: the envelope, or nothing. */
  readonly content: string
}

const nonce = "30313233343536373839616263646566"

/** `utcTime` of ASN.1: two digits of the year. */
const utcTime = (time: Date): string => `${time.toISOString().slice(2, 19).replace(/[-T:]/g, "")}Z`

export const opensslScepClient = (here: Stage, program: string, url: string) => {
  const run = runner(here)
  const at = (name: string): string => here.at(name)
  const ssl = (...args: string[]): Promise<string> => run([program, ...args])
  let files = 0
  const file = (content: string | Buffer = ""): string => {
    files += 1
    const path = at(`scep-${files}`)
    writeFileSync(path, content)
    return path
  }

  /** DER of the signed attributes as they are signed (RFC 5652 section 5.4): a SET OF in order, which openssl puts them in. */
  const attributesOf = async (message: OpensslScepMessage, digest: string, envelope: string): Promise<string> => {
    const hash = /([0-9a-f]{40,})\s*$/.exec(await ssl("dgst", `-${digest}`, "-hex", envelope))?.[1] ?? ""
    const attributes: (readonly [string, string])[] = [
      ["contentType", "OID:pkcs7-data"],
      ["messageDigest", `FORMAT:HEX,OCTETSTRING:${hash}`],
      [`${scepAttributes}.2`, `PRINTABLESTRING:${message.messageType ?? 19}`],
      [`${scepAttributes}.7`, `PRINTABLESTRING:${message.transactionId ?? "a-transaction"}`],
    ]
    if (message.hasSenderNonce !== false) attributes.push([`${scepAttributes}.5`, `FORMAT:HEX,OCTETSTRING:${nonce}`])
    if (message.signingTime !== undefined) attributes.push(["signingTime", `UTCTIME:${utcTime(message.signingTime)}`])
    const sections = attributes.flatMap(([type, value], n) => [
      `[attribute-${n}]\ntype = OID:${type}\nvalues = SET:values-${n}`,
      `[values-${n}]\nvalue = ${value}`,
    ])
    const members = attributes.map((_, n) => `member-${n} = SEQUENCE:attribute-${n}`)
    const config = file(["asn1 = SET:attributes", "[attributes]", ...members, ...sections].join("\n"))
    const out = file()
    await ssl("asn1parse", "-genconf", config, "-noout", "-out", out)
    return out
  }

  /** A signed message of openssl's with other signed attributes, and the signature over those. */
  const withAttributes = (message: Buffer, attributes: Buffer, signature: Buffer): Buffer => {
    const info = new DerReader(message, "message").enter(tags.sequence)
    const type = info.next(tags.oid).bytes
    const signed = info.enter(contextTag(0, true)).enter(tags.sequence)
    const head = [signed.next().bytes, signed.next().bytes, signed.next().bytes, signed.next(contextTag(0, true)).bytes]
    const signer = signed.enter(tags.set).enter(tags.sequence)
    const [version, id, digest] = [signer.next().bytes, signer.next().bytes, signer.next().bytes]
    signer.next(contextTag(0, true))
    const algorithm = signer.next().bytes
    const tagged = Buffer.from(attributes)
    tagged[0] = contextTag(0, true)
    const signerInfo = sequence(version, id, digest, tagged, algorithm, octetString(signature))
    return sequence(type, element(contextTag(0, true), sequence(...head, setOf(signerInfo))))
  }

  const read = async (answer: string): Promise<OpensslScepReply> => {
    const content = file()
    // The RA's certificate is none for e-mail, which is what openssl would look for.
    const trust = ["-CAfile", at("ca.pem"), "-purpose", "any"]
    await ssl("cms", "-verify", "-binary", "-inform", "DER", "-in", answer, ...trust, "-out", content)
    const shown = await ssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", answer)
    const attribute = (number: number): string | null =>
      new RegExp(`\\(2\\.16\\.840\\.1\\.113733\\.1\\.9\\.${number}\\)\\s+set:\\s+PRINTABLESTRING:(.*)`).exec(
        shown,
      )?.[1] ?? null
    const nonceLines = /\(2\.16\.840\.1\.113733\.1\.9\.6\)\s+set:\s+OCTET STRING:\n((?:\s+[0-9a-f]{4} - .*\n)+)/.exec(
      shown,
    )?.[1]
    const octets = nonceLines?.matchAll(/^\s+[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -])+)/gm)
    if (attribute(2) !== "3") throw new Error(`the answer is no CertRep: ${shown}`)
    return {
      pkiStatus: attribute(3) ?? "",
      failInfo: attribute(4),
      transactionId: attribute(7) ?? "",
      recipientNonce:
        octets === undefined ? null : [...octets].map(([, hex = ""]) => hex.replace(/[ -]/g, "")).join(""),
      content,
    }
  }

  const get = async (query: string): Promise<Buffer> => {
    const answer = await fetch(`${url}?${query}`)
    if (!answer.ok) throw new Error(`${query} was answered with ${answer.status}`)
    return Buffer.from(await answer.arrayBuffer())
  }

  return {
    at,
    ssl,
    nonce,

    capabilities: async (): Promise<string[]> => (await get("operation=GetCACaps")).toString().trim().split("\n"),

    /** Into `ra.pem` and `ca.pem`. */
    async fetchCertificates(): Promise<void> {
      const list = file(await get("operation=GetCACert"))
      const text = await ssl("pkcs7", "-inform", "DER", "-in", list, "-print_certs")
      const [ra = "", ca = ""] =
        text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\n/g) ?? []
      writeFileSync(at("ra.pem"), ra)
      writeFileSync(at("ca.pem"), ca)
    },

    /** A key in `<name>.key`, and a certificate that it signs itself in `<name>.pem`. */
    async key(name: string, newKey: readonly string[] = ["rsa:2048"]): Promise<void> {
      const [type = "", ...options] = newKey
      const files = ["-keyout", at(`${name}.key`), "-out", at(`${name}.pem`)]
      await ssl("req", "-x509", "-newkey", type, ...options, "-nodes", "-subj", `/CN=${name}`, "-days", "2", ...files)
    },

    /** Path of a DER CSR for `<name>.key`. */
    async csr(key: string, commonName: string, challenge?: string): Promise<string> {
      const config = file(
        [
          "[req]\nprompt = no\ndistinguished_name = name\nattributes = attributes\nreq_extensions = extensions",
          `[name]\nCN = ${commonName}`,
          `[attributes]\n${challenge === undefined ? "" : `challengePassword = ${challenge}`}`,
          `[extensions]\nsubjectAltName = DNS:${commonName}`,
        ].join("\n"),
      )
      const out = file()
      await ssl("req", "-new", "-key", at(`${key}.key`), "-config", config, "-outform", "DER", "-out", out)
      return out
    },

    /** Makes, sends and verifies: the answer's signature must be the RA's. */
    async send(message: OpensslScepMessage): Promise<OpensslScepReply> {
      const { signer, digest = "sha256", cipher = "aes128", recipient = "ra.pem" } = message
      const envelope = file()
      const providers = ["-provider", "default", "-provider", "legacy"]
      const into = ["-outform", "DER", "-out", envelope, at(recipient)]
      await ssl("cms", "-encrypt", "-binary", ...providers, `-${cipher}`, "-in", message.content, ...into)
      const plain = file()
      const identity = ["-signer", at(`${signer}.pem`), "-inkey", at(`${signer}.key`), "-md", digest]
      const whole = ["-binary", "-nodetach", "-nosmimecap", "-outform", "DER", "-out", plain]
      await ssl("cms", "-sign", ...identity, "-in", envelope, ...whole)
      const attributes = await attributesOf(message, digest, envelope)
      const signature = file()
      const key = at(message.signingKey ?? `${signer}.key`)
      await ssl("dgst", `-${digest}`, "-sign", key, "-out", signature, attributes)
      const body = withAttributes(readFileSync(plain), readFileSync(attributes), readFileSync(signature))
      const answer = await fetch(`${url}?operation=PKIOperation`, { method: "POST", body: body as BodyInit })
      const type = answer.headers.get("content-type")
      if (answer.status !== 200 || type !== "application/x-pki-message") {
        throw new Error(`the message was answered with ${answer.status}, ${type}: ${await answer.text()}`)
      }
      return read(file(Buffer.from(await answer.arrayBuffer())))
    },

    /** The leaf of a successful answer, into `<name>.pem`, opened with the key of the message's signer. */
    async open({ content }: OpensslScepReply, signer: string, name: string): Promise<string> {
      const list = file()
      const recipient = ["-recip", at(`${signer}.pem`), "-inkey", at(`${signer}.key`)]
      await ssl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", content, ...recipient, "-out", list)
      const text = await ssl("pkcs7", "-inform", "DER", "-in", list, "-print_certs")
      const [leaf = ""] = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\n/) ?? []
      writeFileSync(at(`${name}.pem`), leaf)
      return leaf
    },
  }
}
