/** What is fuzzed: each parser of bytes that others send, with good inputs to start from. A new parser is one more entry. */
import { createHash } from "node:crypto"
import { createRootAuthority, openAuthority } from "../../src/pki/authority"
import { openFrame, parseCertificate, splitChain } from "../../src/pki/certificate"
import { certsOnly } from "../../src/pki/certs-only"
import { openEnvelopedData, readEnvelopedData, writeEnvelopedData } from "../../src/pki/cms-enveloped-data"
import { readSignedData, signerProblem, signingTimeOf } from "../../src/pki/cms-signed-data"
import { buildCsr, parseCsr, parseCsrDer } from "../../src/pki/csr"
import { DerReader, readBitBytes, readOid, readText, readTime, tags } from "../../src/pki/der.reader"
import { explicit, octetString, oid, sequence } from "../../src/pki/der.writer"
import { nameText, readName, writeName, writeSubject } from "../../src/pki/distinguished-name"
import { writeExtension, writeExtensions } from "../../src/pki/extensions"
import { writeSans } from "../../src/pki/general-name"
import { issuedSubject } from "../../src/pki/issued-subject"
import { keyStoreCertificates } from "../../src/pki/key-store-certificates"
import {
  generateKey,
  type KeyType,
  keyFacts,
  keysMatch,
  keyTypes,
  privateKeyPem,
  readPrivateKey,
  spkiOf,
} from "../../src/pki/keys"
import { commonNameProblem, nameKey, sanOf, sanProblem } from "../../src/pki/names"
import { certIdMatcher, certIdOf, parseOcspRequest } from "../../src/pki/ocsp"
import { certificateBlocks, pemBlocks, toPem } from "../../src/pki/pem"
import { pkcs12KeyStore } from "../../src/pki/pkcs12-key-store"
import { readScepRequest } from "../../src/pki/scep"
import { chainOf, verifyChain } from "../../src/pki/trust"
import { csrWithChallenge, scepMessage, selfSigned } from "../../src/testing/scep-client"

export interface Fuzzed {
  readonly corpus: readonly [Buffer, ...Buffer[]]
  /** May throw the parsers' own error. Words say what is wrong with an accepted input. */
  parse(input: Buffer): string | undefined
}

const now = new Date()
const dayMs = 86_400_000

const makeAuthority = async (keyType: KeyType) => {
  const { certPem, privateKey } = await createRootAuthority({
    keyType,
    commonName: "Fuzz Root",
    organization: "Example & Sons, Inc.",
    notBefore: new Date(now.getTime() - dayMs),
    notAfter: new Date(now.getTime() + 30 * dayMs),
  })
  return { ...openAuthority({ certPem, chainPem: certPem, privateKey }), privateKey }
}

const names = [
  "www.example.com",
  "*.example.com",
  "192.0.2.1",
  "2001:db8::1",
  "ann@example.com",
  "spiffe://a.example/b",
]

const makeCsrs = async (): Promise<[Buffer, ...Buffer[]]> => {
  const made: Buffer[] = []
  for (const type of keyTypes) {
    const privateKey = await generateKey(type)
    const pem = buildCsr({ commonName: "www.example.com", sans: names, privateKey, mustStaple: true })
    made.push(...pemBlocks(pem).map(({ der }) => der))
  }
  return made as [Buffer, ...Buffer[]]
}

const makeCertificates = async () => {
  const authority = await makeAuthority("ecdsa-p256")
  const made: Buffer[] = [authority.certDer]
  for (const type of keyTypes) {
    const { der } = await authority.sign({
      spkiDer: spkiOf(await generateKey(type)),
      subjectCommonName: "www.example.com",
      sans: names.map(sanOf),
      ekus: ["serverAuth", "emailProtection"],
      notBefore: now,
      notAfter: new Date(Date.UTC(2060, 0, 1)),
      crlUrls: ["http://pki.example/crl?ca=00"],
      ocspUrls: ["http://pki.example/ocsp"],
      caIssuerUrls: ["http://pki.example/ca"],
      mustStaple: true,
    })
    made.push(der)
  }
  return { authority, ders: made as [Buffer, ...Buffer[]] }
}

/** Every element of an input, read in all the ways that its tag allows. */
const walk = (reader: DerReader, depth: number): void => {
  while (!reader.done) {
    const found = reader.next()
    if (found.tag === tags.oid) readOid(found.content, "fuzz")
    else if (found.tag === tags.utcTime || found.tag === tags.generalizedTime) readTime(found, "fuzz")
    else if (found.tag === tags.bitString) readBitBytes(found, "fuzz")
    else readText(found)
    if ((found.tag & 0x20) !== 0 && depth < 40) walk(new DerReader(found.content, "fuzz"), depth + 1)
  }
}

/** The signed part and the signature: what is around them may differ in form. */
const sameSigned = (one: Buffer, other: Buffer): boolean => openFrame(one).tbsDer.equals(openFrame(other).tbsDer)

const text = (input: Buffer): string => input.toString("utf8")

/** With and without a nonce, for one certificate and for several (RFC 6960 section 4.1.1). */
const ocspRequests = (certId: (serial: string) => Buffer): [Buffer, ...Buffer[]] => {
  const requests = (...serials: string[]) => sequence(...serials.map((serial) => sequence(certId(serial))))
  const nonce = (bytes: number) =>
    explicit(
      2,
      writeExtensions([
        writeExtension(oid("1.3.6.1.5.5.7.48.1.2"), false, octetString(octetString(Buffer.alloc(bytes, 7)))),
      ]),
    )
  return [
    sequence(sequence(requests("01"))),
    sequence(sequence(requests("01", "7f00", "40aa"), nonce(32))),
    sequence(sequence(requests("40".repeat(20)), nonce(8))),
  ]
}

const scepParts = async () => {
  const key = await generateKey("rsa-2048")
  const certificateDer = await selfSigned(key, "Fuzz", now)
  const content = csrWithChallenge(key, "www.example.com", { challenge: "secret", sans: names })
  return { key, certificateDer, message: scepMessage({ key, certificateDer, content, raDer: certificateDer }) }
}

/** By name. Keys are made when a parser is asked for. */
export const parsers: Readonly<Record<string, () => Promise<Fuzzed>>> = {
  async "csr-der"() {
    const corpus = await makeCsrs()
    const known = new Set(corpus.map((der) => parseCsrDer(der).spkiDer.toString("hex")))
    return {
      corpus,
      parse(input) {
        const { spkiDer, subjectDer } = parseCsrDer(input)
        issuedSubject(subjectDer)
        // The signature proves that the key is the requester's: nobody has one for another key by chance.
        return known.has(spkiDer.toString("hex")) ? undefined : "takes a request for a key that signed none"
      },
    }
  },

  async "csr-pem"() {
    const corpus = (await makeCsrs()).map((der) => Buffer.from(toPem("CERTIFICATE REQUEST", der)))
    return { corpus: corpus as [Buffer, ...Buffer[]], parse: (input) => void parseCsr(text(input)) }
  },

  async certificate() {
    const { ders } = await makeCertificates()
    return {
      corpus: ders,
      parse(input) {
        const { der, pem, fingerprint } = parseCertificate(input)
        const again = parseCertificate(pem)
        const isSame = again.der.equals(der) && again.fingerprint === fingerprint
        return isSame ? undefined : "reads its own PEM otherwise"
      },
    }
  },

  async chain() {
    const { authority, ders } = await makeCertificates()
    return {
      corpus: ders,
      parse(input) {
        const chain = chainOf(input, [authority.certDer, ...ders])
        const problem = verifyChain(input, [authority.certDer], now)
        if (chain.length > 0 && problem === null && !ders.some((der) => sameSigned(der, input))) {
          return "takes a certificate that the CA did not sign"
        }
      },
    }
  },

  async pem() {
    const { ders } = await makeCertificates()
    const one = ders.map((der) => Buffer.from(`text before\n${toPem("CERTIFICATE", der)}`))
    return {
      corpus: [Buffer.concat(one), ...one],
      parse(input) {
        pemBlocks(text(input))
        certificateBlocks(text(input))
        splitChain(text(input))
      },
    }
  },

  async "private-key"() {
    const keys = await Promise.all(keyTypes.map(generateKey))
    const format = { format: "pem", cipher: "aes-256-cbc", passphrase: "secret" } as const
    const plain = keys.map((key) => Buffer.from(privateKeyPem(key)))
    const sealed = keys.map((key) => Buffer.from(key.export({ type: "pkcs8", ...format }).toString()))
    return {
      corpus: [...plain, ...sealed] as unknown as [Buffer, ...Buffer[]],
      parse(input) {
        const key = readPrivateKey(text(input), "secret")
        keyFacts(key)
        spkiOf(key)
      },
    }
  },

  async der() {
    const { ders } = await makeCertificates()
    return { corpus: [...ders, ...(await makeCsrs())], parse: (input) => void walk(new DerReader(input, "fuzz"), 0) }
  },

  async "distinguished-name"() {
    const part = { organization: ["Example & Sons, Inc."], organizationalUnit: ["Café"], locality: ["München"] }
    const full = { ...part, commonName: "www.example.com", country: ["DE"], province: ["Bavaria"] }
    return {
      corpus: [writeSubject(full), writeName({ commonName: "*.example.com", organization: "Example" })],
      parse(input) {
        nameText(readName(input, "name"))
        const issued = issuedSubject(input)
        if (!issuedSubject(issued).equals(issued)) return "writes a name that it would write otherwise"
      },
    }
  },

  async "ocsp-request"() {
    const authority = await makeAuthority("ecdsa-p256")
    const isOurs = certIdMatcher(authority)
    return {
      corpus: ocspRequests(certIdOf(authority)),
      parse(input) {
        const { certIds, nonce } = parseOcspRequest(input)
        for (const id of certIds) isOurs(id)
        if (certIds.length > 64 || (Buffer.isBuffer(nonce) && nonce.length > 32)) return "takes more than it should"
      },
    }
  },

  async "subject-names"() {
    return {
      corpus: names.map((name) => Buffer.from(name)) as [Buffer, ...Buffer[]],
      parse(input) {
        const name = text(input)
        nameKey(name)
        commonNameProblem(name)
        if (sanProblem(name) === null) writeSans([sanOf(name)])
      },
    }
  },

  async "cms-signed-data"() {
    const { key, certificateDer, message } = await scepParts()
    const { spkiDer } = parseCertificate(certificateDer)
    return {
      corpus: [message, certsOnly([certificateDer])],
      parse(input) {
        const signed = readSignedData(input)
        readScepRequest(signed)
        for (const signer of signed.signers) {
          signingTimeOf(signer)
          signerProblem(signed, signer, spkiDer, { allowSha1: true })
        }
        keysMatch(key, spkiDer)
      },
    }
  },

  async "cms-enveloped-data"() {
    const { key, certificateDer } = await scepParts()
    const ciphers = ["aes-128-cbc", "aes-256-cbc", "des-ede3-cbc"] as const
    return {
      corpus: ciphers.map((cipher) => writeEnvelopedData(Buffer.alloc(500, 7), certificateDer, cipher)) as unknown as [
        Buffer,
        ...Buffer[],
      ],
      parse(input) {
        const enveloped = readEnvelopedData(input)
        for (const transport of enveloped.recipients.slice(0, 3)) openEnvelopedData(enveloped, transport, key)
      },
    }
  },

  async "key-store"() {
    const key = await generateKey("ecdsa-p256")
    const { ders } = await makeCertificates()
    const [first, ...chain] = ders.map((der) => toPem("CERTIFICATE", der))
    const content = { keyPem: privateKeyPem(key), certPem: first ?? "", chainPem: chain.join(""), password: "secret" }
    return {
      corpus: [pkcs12KeyStore(content), pkcs12KeyStore({ ...content, legacy: true }), javaKeyStore(ders)],
      parse: (input) => void keyStoreCertificates(input, ["secret"]),
    }
  },
}

/** A JKS file with trusted certificates: `version, count, (tag, alias, date, type, certificate)*, digest`; its password is "secret". */
const javaKeyStore = (ders: readonly Buffer[]): Buffer => {
  const number = (value: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return bytes
  }
  const word = (value: string) => Buffer.concat([number(value.length).subarray(2), Buffer.from(value)])
  const entries = ders.flatMap((der, at) => [
    number(2),
    word(`c${at}`),
    Buffer.alloc(8),
    word("X.509"),
    number(der.length),
    der,
  ])
  const body = Buffer.concat([number(0xfeedfeed), number(2), number(ders.length), ...entries])
  // Of the password, a phrase and the body, as Sun has it.
  return Buffer.concat([
    body,
    createHash("sha1")
      .update(Buffer.from("secret", "utf16le").swap16())
      .update("Mighty Aphrodite")
      .update(body)
      .digest(),
  ])
}
