/** Revocation lists and CA certificates for relying parties, below /.well-known/pki; without credentials. */
import { Hono } from "hono"
import * as v from "valibot"
import type { CrlService } from "../../revocation-status/crl.service"
import { type ApiEnv, input, operation } from "../../server/operation"

const IssuerParam = v.object({ issuer_id: v.string() })
/** After a roll-over the key identifier picks the CA; certificates carry it in their distribution point. */
const CaQuery = v.object({
  ca: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-fA-F]{2,64}$/, "must be a key identifier in hex"))),
})

const publishedElsewhere = "The key of the issuer's CA is not held here"

/** Bytes from which a body is shared by all answers instead of copied for each. */
const sharedFrom = 64 * 1024
const shared = new WeakMap<Buffer, Blob>()

const bodyOf = (der: Buffer): Uint8Array<ArrayBuffer> | Blob => {
  if (der.length < sharedFrom) return new Uint8Array(der)
  const known = shared.get(der)
  if (known !== undefined) return known
  const blob = new Blob([new Uint8Array(der)])
  shared.set(der, blob)
  return blob
}

const bytes = (der: Buffer, headers: Record<string, string>): Response =>
  new Response(bodyOf(der), { headers: { "content-length": String(der.length), ...headers } })

export const crlRoutes = (crls: Pick<CrlService, "current" | "certificate">) =>
  new Hono<ApiEnv>()
    .get(
      "/.well-known/pki/crl/:issuer_id",
      operation({
        id: "get_crl",
        summary: "Fetch an issuer's certificate revocation list (RFC 5280)",
        role: "public",
        tags: ["pki"],
        produces: "application/pkix-crl",
        otherwise: { 304: null },
        errors: { 501: publishedElsewhere },
      }),
      input("param", IssuerParam),
      input("query", CaQuery),
      async (c) => {
        const { der, etag } = await crls.current(c.req.valid("param").issuer_id, c.req.valid("query").ca ?? null)
        const headers = { etag, "cache-control": "public, max-age=3600, must-revalidate" }
        const asked =
          c.req
            .header("if-none-match")
            ?.split(",")
            .map((tag) => tag.trim()) ?? []
        if (asked.includes(etag) || asked.includes("*")) return c.body(null, 304, headers)
        return bytes(der, { "content-type": "application/pkix-crl", ...headers })
      },
    )
    .get(
      "/.well-known/pki/ca/:issuer_id",
      operation({
        id: "get_ca_certificate",
        summary: "Fetch an issuer's CA certificate",
        role: "public",
        tags: ["pki"],
        produces: "application/pkix-cert",
        errors: { 501: publishedElsewhere },
      }),
      input("param", IssuerParam),
      input("query", CaQuery),
      async (c) => {
        const der = await crls.certificate(c.req.valid("param").issuer_id, c.req.valid("query").ca ?? null)
        return bytes(der, { "content-type": "application/pkix-cert", "cache-control": "public, max-age=3600" })
      },
    )
