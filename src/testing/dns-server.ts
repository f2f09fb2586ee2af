/** A DNS server on a port of its own that knows the TXT records a test tells of, and says of every other name that there is none. */
import { createSocket } from "node:dgram"

const readName = (message: Buffer, from: number): { name: string; end: number } => {
  const labels: string[] = []
  let at = from
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join(".").toLowerCase(), end: at + 1 }
}

const answerTo = (query: Buffer, texts: readonly string[] | undefined): Buffer => {
  const { end } = readName(query, 12)
  const question = query.subarray(12, end + 4)
  const header = Buffer.from(query.subarray(0, 12))
  // A response, recursion available; 3 is "no such name".
  header.writeUInt16BE(0x8180 | (texts === undefined ? 3 : 0), 2)
  header.writeUInt16BE(texts?.length ?? 0, 6)
  header.writeUInt32BE(0, 8)
  const records = (texts ?? []).map((text) => {
    const fixed = Buffer.alloc(12)
    // The name of the question, TXT, IN, one second.
    fixed.writeUInt16BE(0xc00c, 0)
    fixed.writeUInt16BE(16, 2)
    fixed.writeUInt16BE(1, 4)
    fixed.writeUInt32BE(1, 6)
    const data = Buffer.from(text, "latin1")
    fixed.writeUInt16BE(data.length + 1, 10)
    return Buffer.concat([fixed, Buffer.of(data.length), data])
  })
  return Buffer.concat([header, question, ...records])
}

export interface DnsServer {
  /** `address:port`. */
  readonly address: string
  close(): void
}

/** `textsOf`: the records of a name in lower case; undefined: there is no such name. */
export const startDnsServer = async (textsOf: (name: string) => readonly string[] | undefined): Promise<DnsServer> => {
  const socket = createSocket("udp4")
  socket.on("message", (query, { port, address }) => {
    const { name } = readName(query, 12)
    socket.send(answerTo(query, textsOf(name)), port, address)
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.bind(0, "127.0.0.1", resolve)
  await promise
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() }
}
