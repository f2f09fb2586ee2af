/** Name constraints of subordinate CAs (RFC 5280 section 4.2.1.10): DNS names, IP ranges and mail domains. */
import { AppError } from "../errors"
import { contextTag } from "./der.reader"
import { element, implicit, sequence } from "./der.writer"
import { ipBytes } from "./names"

/** As people write them: `example.com`, `10.0.0.0/8`, `2001:db8::/32`, `@example.com`. A DNS name covers what is below it. */
export interface NameConstraints {
  readonly permitted: readonly string[]
  readonly excluded: readonly string[]
}

type Subtree =
  | { readonly kind: "dns" | "email"; readonly domain: string }
  | { readonly kind: "ip"; readonly address: Buffer; readonly mask: Buffer }

const domainForm = /^(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*$/

const maskOf = (bits: number, length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => (0xff00 >> Math.min(8, Math.max(0, bits - at * 8))) & 0xff))

const parse = (text: string): Subtree => {
  const refuse = (): never => {
    throw new AppError("validation", `name_constraints: "${text}" must be a domain, an IP range or a mail domain`)
  }
  const [address = "", bits] = text.split("/")
  const bytes = bits === undefined ? null : ipBytes(address)
  if (bytes !== null) {
    const count = /^\d{1,3}$/.test(bits ?? "") ? Number(bits) : Number.NaN
    if (!(count <= bytes.length * 8)) return refuse()
    const mask = maskOf(count, bytes.length)
    return { kind: "ip", address: Buffer.from(bytes.map((byte, at) => byte & (mask[at] ?? 0))), mask }
  }
  const isMail = text.startsWith("@")
  const domain = text
    .slice(isMail ? 1 : 0)
    .toLowerCase()
    .replace(/^\./, "")
  if (domain.length > 253 || !domainForm.test(domain)) return refuse()
  return { kind: isMail ? "email" : "dns", domain }
}

const numbers = { email: 1, dns: 2, ip: 7 } as const

const writeSubtree = (text: string): Buffer => {
  const subtree = parse(text)
  const content =
    subtree.kind === "ip" ? Buffer.concat([subtree.address, subtree.mask]) : Buffer.from(subtree.domain, "latin1")
  return sequence(implicit(numbers[subtree.kind], content))
}

/** The extension's value. Throws `validation` naming the entry. */
export const writeNameConstraints = ({ permitted, excluded }: NameConstraints): Buffer =>
  sequence(
    ...[permitted, excluded].flatMap((list, at) =>
      list.length === 0 ? [] : [element(contextTag(at, true), ...list.map(writeSubtree))],
    ),
  )

const isWithin = (inner: Subtree, outer: Subtree): boolean => {
  if (inner.kind === "ip" || outer.kind === "ip") {
    if (inner.kind !== "ip" || outer.kind !== "ip" || inner.address.length !== outer.address.length) return false
    const { mask } = outer
    const isNarrower = inner.mask.every((byte, at) => (byte & (mask[at] ?? 0)) === (mask[at] ?? 0))
    return isNarrower && inner.address.every((byte, at) => (byte & (mask[at] ?? 0)) === outer.address[at])
  }
  return inner.kind === outer.kind && (inner.domain === outer.domain || inner.domain.endsWith(`.${outer.domain}`))
}

/**
 * The first permitted entry of a child that its parent does not permit; null when there is none. A parent permits whatever
 * kind of name it does not list.
 */
export const widened = (child: NameConstraints, parent: NameConstraints): string | null => {
  const outer = parent.permitted.map(parse)
  return (
    child.permitted.find((text) => {
      const inner = parse(text)
      const sameKind = outer.filter(({ kind }) => kind === inner.kind)
      return sameKind.length > 0 && !sameKind.some((subtree) => isWithin(inner, subtree))
    }) ?? null
  )
}
