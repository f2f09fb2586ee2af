/**
 * NTLM as a client speaks it ([MS-NLMP]): NTLMv2 answers only, always with extended session security, a 128-bit key and key
 * exchange, so that there is one way of sealing. What a server offers below that is refused.
 */
import { createCipheriv, createHash, createHmac, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto"
import { AppError } from "../errors"

const signature = Buffer.from("NTLMSSP\0", "latin1")

/** [MS-NLMP] 2.2.2.5: Unicode, target, sign, seal, NTLM, always sign, extended security, target info, version, 128, key exchange, 56. */
const wantedFlags = 0xe2888235
/** Without these a message could be read or changed on its way. */
const neededFlags = 0x40000000 | 0x20000000 | 0x00080000 | 0x00000030
/** Windows 10; nothing depends on it but that the field is there. */
const version = Buffer.from([10, 0, 0x61, 0x4a, 0, 0, 0, 15])

const md5 = (...parts: readonly Uint8Array[]): Buffer => createHash("md5").update(Buffer.concat(parts)).digest()
const hmacMd5 = (key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer =>
  createHmac("md5", key).update(Buffer.concat(parts)).digest()
const rc4 = (key: Uint8Array) => createCipheriv("rc4", key, null)
const utf16 = (text: string): Buffer => Buffer.from(text, "utf16le")

/** [MS-NLMP] 3.3.2, NTOWFv2. */
export const ntlmPasswordKey = (username: string, domain: string, password: string): Buffer =>
  hmacMd5(createHash("md4").update(utf16(password)).digest(), utf16(username.toUpperCase() + domain))

export interface NtlmSealed {
  /** Sixteen bytes. */
  readonly signature: Buffer
  readonly sealed: Buffer
}

export interface NtlmSession {
  seal(message: Uint8Array): NtlmSealed
  /** Fails with `upstream` when the message was not sealed by the other side, or not in this order. */
  unseal(message: NtlmSealed): Buffer
}

const constants = (from: "client" | "server", to: "client" | "server", use: "signing" | "sealing"): Buffer =>
  Buffer.from(`session key to ${from}-to-${to} ${use} key magic constant\0`, "latin1")

const direction = (key: Buffer, from: "client" | "server", to: "client" | "server") => {
  const signKey = md5(key, constants(from, to, "signing"))
  const stream = rc4(md5(key, constants(from, to, "sealing")))
  let sequence = 0
  /** [MS-NLMP] 3.4.4.2. The stream goes on through message and checksum, in this order. */
  const stamp = (message: Uint8Array): Buffer => {
    const number = Buffer.alloc(4)
    number.writeUInt32LE(sequence++)
    const checksum = stream.update(hmacMd5(signKey, number, message).subarray(0, 8))
    return Buffer.concat([Buffer.from([1, 0, 0, 0]), checksum, number])
  }
  return { cipher: (bytes: Uint8Array): Buffer => stream.update(bytes), stamp }
}

/** Both directions of one session, as `side` sees them. `key` is the exported session key. */
export const ntlmSession = (key: Buffer, side: "client" | "server"): NtlmSession => {
  const other = side === "client" ? "server" : "client"
  const outgoing = direction(key, side, other)
  const incoming = direction(key, other, side)
  return {
    seal(message) {
      const sealed = outgoing.cipher(message)
      return { signature: outgoing.stamp(message), sealed }
    },
    unseal({ signature: stamp, sealed }) {
      const message = incoming.cipher(sealed)
      const expected = incoming.stamp(message)
      if (stamp.length !== expected.length || !timingSafeEqual(stamp, expected)) {
        throw new AppError("upstream", "an NTLM message was changed on its way")
      }
      return message
    },
  }
}

/** The first message. */
export const ntlmNegotiate = (): Buffer => {
  const message = Buffer.alloc(40)
  signature.copy(message)
  message.writeUInt32LE(1, 8)
  message.writeUInt32LE(wantedFlags, 12)
  version.copy(message, 32)
  return message
}

interface Challenge {
  readonly flags: number
  readonly challenge: Buffer
  readonly targetInfo: Buffer
}

const badChallenge = () => new AppError("upstream", "the server's NTLM challenge cannot be read")

const readChallenge = (message: Buffer): Challenge => {
  if (message.length < 48 || !message.subarray(0, 8).equals(signature) || message.readUInt32LE(8) !== 2) {
    throw badChallenge()
  }
  const [length, at] = [message.readUInt16LE(40), message.readUInt32LE(44)]
  if (at + length > message.length) throw badChallenge()
  return {
    flags: message.readUInt32LE(20),
    challenge: message.subarray(24, 32),
    targetInfo: message.subarray(at, at + length),
  }
}

/** Identifiers of [MS-NLMP] 2.2.2.1. */
const attribute = { end: 0, flags: 6, timestamp: 7, channelBindings: 10 }

interface AttributeValue {
  readonly id: number
  readonly value: Buffer
}

const readAttributes = (bytes: Buffer): AttributeValue[] => {
  const found: AttributeValue[] = []
  for (let at = 0; at + 4 <= bytes.length; ) {
    const [id, length] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2)]
    if (id === attribute.end) return found
    if (at + 4 + length > bytes.length) throw badChallenge()
    found.push({ id, value: bytes.subarray(at + 4, at + 4 + length) })
    at += 4 + length
  }
  throw badChallenge()
}

const writeAttributes = (attributes: readonly AttributeValue[]): Buffer =>
  Buffer.concat(
    [...attributes, { id: attribute.end, value: Buffer.alloc(0) }].map(({ id, value }) => {
      const head = Buffer.alloc(4)
      head.writeUInt16LE(id)
      head.writeUInt16LE(value.length, 2)
      return Buffer.concat([head, value])
    }),
  )

/** Hundreds of nanoseconds since 1601. */
const fileTime = (now: Date): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE((BigInt(now.getTime()) + 11_644_473_600_000n) * 10_000n)
  return bytes
}

/**
 * RFC 5929 tls-server-end-point in the shape of RFC 2744 section 3.11, hashed as [MS-NLMP] wants it. Null for signature algorithms
 * for which that leaves the hash open: no binding is accepted by default, a wrong one is not.
 */
export const channelBindings = (certificateDer: Uint8Array): Buffer | null => {
  const algorithm = new X509Certificate(certificateDer).signatureAlgorithm?.toLowerCase() ?? ""
  const [, bits] = /sha(1|224|256|384|512)(?!\d)/.exec(algorithm) ?? []
  if (bits === undefined) return null
  // Weaker ones are replaced by SHA-256, says the RFC.
  const hash = bits === "1" ? "sha256" : `sha${bits}`
  const data = Buffer.concat([
    Buffer.from("tls-server-end-point:", "latin1"),
    createHash(hash).update(certificateDer).digest(),
  ])
  const head = Buffer.alloc(20)
  head.writeUInt32LE(data.length, 16)
  return md5(head, data)
}

export interface NtlmLogin {
  /** `user`, `DOMAIN\user` or `user@domain`. */
  readonly username: string
  readonly password: string
  readonly now: Date
  /** Of the server's certificate, where the messages travel by TLS. */
  readonly channelBindings: Buffer | null
  /** For the published test values. */
  readonly random?: { readonly clientChallenge: Buffer; readonly sessionKey: Buffer }
}

/** `DOMAIN\user` in its parts; other forms have no domain of their own. */
export const splitAccount = (username: string): { domain: string; user: string } => {
  const at = username.indexOf("\\")
  return at < 0 ? { domain: "", user: username } : { domain: username.slice(0, at), user: username.slice(at + 1) }
}

/** The third message, for the answer that the server gave to the first, and the session that follows. Fails with `upstream`. */
export const ntlmAuthenticate = (
  negotiate: Buffer,
  challengeMessage: Buffer,
  login: NtlmLogin,
): { message: Buffer; session: NtlmSession } => {
  const { flags, challenge, targetInfo } = readChallenge(challengeMessage)
  if ((flags & neededFlags) !== neededFlags) {
    throw new AppError("upstream", "the server's NTLM does not offer 128-bit sealing with key exchange")
  }
  const offered = readAttributes(targetInfo)
  const serverTime = offered.find(({ id }) => id === attribute.timestamp)?.value
  const attributes = [
    ...offered.filter(({ id }) => id !== attribute.flags && id !== attribute.channelBindings),
    // "A MIC is present", which protects the two messages before this one.
    ...(serverTime === undefined ? [] : [{ id: attribute.flags, value: Buffer.from([2, 0, 0, 0]) }]),
    ...(login.channelBindings === null ? [] : [{ id: attribute.channelBindings, value: login.channelBindings }]),
  ]
  const clientChallenge = login.random?.clientChallenge ?? randomBytes(8)
  const exportedKey = login.random?.sessionKey ?? randomBytes(16)
  const { domain, user } = splitAccount(login.username)
  const passwordKey = ntlmPasswordKey(user, domain, login.password)

  const blob = Buffer.concat([
    Buffer.from([1, 1, 0, 0, 0, 0, 0, 0]),
    serverTime ?? fileTime(login.now),
    clientChallenge,
    Buffer.alloc(4),
    writeAttributes(attributes),
    Buffer.alloc(4),
  ])
  const proof = hmacMd5(passwordKey, challenge, blob)
  const lmAnswer =
    serverTime === undefined
      ? Buffer.concat([hmacMd5(passwordKey, challenge, clientChallenge), clientChallenge])
      : Buffer.alloc(24)

  const parts = [
    lmAnswer,
    Buffer.concat([proof, blob]),
    utf16(domain),
    utf16(user),
    Buffer.alloc(0),
    rc4(hmacMd5(passwordKey, proof)).update(exportedKey),
  ]
  const head = Buffer.alloc(88)
  signature.copy(head)
  head.writeUInt32LE(3, 8)
  let at = head.length
  for (const [index, part] of parts.entries()) {
    head.writeUInt16LE(part.length, 12 + index * 8)
    head.writeUInt16LE(part.length, 14 + index * 8)
    head.writeUInt32LE(at, 16 + index * 8)
    at += part.length
  }
  head.writeUInt32LE((flags & wantedFlags) >>> 0, 60)
  version.copy(head, 64)
  const message = Buffer.concat([head, ...parts])
  if (serverTime !== undefined) hmacMd5(exportedKey, negotiate, challengeMessage, message).copy(message, 72)
  return { message, session: ntlmSession(exportedKey, "client") }
}
