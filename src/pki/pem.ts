/** PEM text (RFC 7468): text between blocks is ignored, inside a block nothing but base64 is accepted. */
import { AppError } from "../errors"

export interface PemBlock {
  readonly label: string
  readonly der: Buffer
}

/** A block with its own text, for readers that understand headers inside it (old encrypted keys). */
export interface PemRegion {
  readonly label: string
  readonly text: string
  readonly body: string
}

const begin = "-----BEGIN "
const dashes = "-----"

/** Finds the blocks without decoding them. Throws `validation` when one is not closed. */
export const pemRegions = (text: string): PemRegion[] => {
  const regions: PemRegion[] = []
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at)) {
    const labelEnd = text.indexOf(dashes, at + begin.length)
    const label = labelEnd < 0 ? "" : text.slice(at + begin.length, labelEnd)
    if (!/^[A-Z0-9][A-Z0-9 ]{0,63}$/.test(label)) throw new AppError("validation", "PEM: a block has no proper label")
    const end = `-----END ${label}-----`
    const bodyEnd = text.indexOf(end, labelEnd)
    if (bodyEnd < 0) throw new AppError("validation", `PEM: the ${label} block is not closed by "${end}"`)
    const next = bodyEnd + end.length
    regions.push({ label, text: text.slice(at, next), body: text.slice(labelEnd + dashes.length, bodyEnd) })
    at = next
  }
  return regions
}

/** The bytes of a block. Throws `validation` on anything in it that is not base64. */
export const regionBytes = ({ label, body }: Pick<PemRegion, "label" | "body">): Buffer => {
  const packed = body.replace(/[ \t\r\n]+/g, "")
  if (packed === "") throw new AppError("validation", `PEM: the ${label} block is empty`)
  if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed))
    throw new AppError("validation", `PEM: the ${label} block is not base64`)
  return Buffer.from(packed, "base64")
}

/** Every block of a text, in order; an empty list when there is none. Throws `validation` on garbage inside a block. */
export const pemBlocks = (text: string): PemBlock[] =>
  pemRegions(text).map((region) => ({ label: region.label, der: regionBytes(region) }))

const certificateLabels = new Set(["CERTIFICATE", "X509 CERTIFICATE"])

/** The certificates of a text, in order; other blocks are not even decoded. */
export const certificateBlocks = (text: string): Buffer[] =>
  pemRegions(text)
    .filter(({ label }) => certificateLabels.has(label))
    .map(regionBytes)

/** One block: 64 columns, newline at the end. */
export const toPem = (label: string, der: Uint8Array): string => {
  const text = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("base64")
  let lines = ""
  for (let at = 0; at < text.length; at += 64) lines += `${text.slice(at, at + 64)}\n`
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`
}
