/**
 * EST over HTTP (RFC 7030 with the clarifications of RFC 8951), below /.well-known/est and, for clients that prove themselves
 * with a certificate, below /.well-known/est-mtls. Both take an optional path label that names the profile.
 */
import { type Context, Hono } from "hono"
import * as v from "valibot"
import { readClientCert } from "../../enrolment/client-certificate"
import { AppError } from "../../errors"
import type { EstCaller, EstDoor, EstOperation, EstProfile, EstService } from "../../est/est.service"
import { certsOnly } from "../../pki/certs-only"
import { oid, sequence } from "../../pki/der.writer"
import { errorAnswer } from "../../server/error-answers"
import { type ApiEnv, input, operation } from "../../server/operation"

const certsOnlyType = "application/pkcs7-mime; smime-type=certs-only"
/** When to come back for what the CA has not decided yet. */
const retrySeconds = "60"

/** Base64 on one line with its length: strongSwan's client reads nothing else. */
const base64 = (der: Buffer, contentType: string): Response => {
  const body = der.toString("base64")
  return new Response(body, {
    headers: {
      "content-type": contentType,
      "content-transfer-encoding": "base64",
      "content-length": String(body.length),
      "cache-control": "no-store",
    },
  })
}

const failures = {
  401: "The password or the client certificate is missing or wrong",
  404: "There is no such profile",
  500: "A rule forbids it, or the issuer failed",
}

export const estRoutes = (est: EstService) => {
  const demandProfile = (pathId: string, door: EstDoor): EstProfile => {
    const profile = est.profile(pathId, door)
    if (profile === null) throw new AppError("not_found", "there is no EST profile under this path")
    return profile
  }

  const callerOf = (c: Context<ApiEnv>, door: EstDoor): EstCaller => ({
    door,
    address: c.get("clientAddress"),
    authorization: c.req.header("authorization"),
    clientCertificate: c.get("isFromTrustedProxy") ? readClientCert(c.req.header("client-cert")) : null,
  })

  const enrol = async (c: Context<ApiEnv>, door: EstDoor, pathId: string, which: EstOperation): Promise<Response> => {
    const profile = demandProfile(pathId, door)
    try {
      const body = Buffer.from(await c.req.arrayBuffer())
      return base64(certsOnly(await est.enrol(profile, which, body, callerOf(c, door))), certsOnlyType)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (error.code === "unavailable") return c.body(null, 202, { "retry-after": retrySeconds })
      if (error.code === "unauthenticated" && door === "plain") {
        return errorAnswer(c, 401, error.message, { headers: { "www-authenticate": 'Basic realm="est-enrollment"' } })
      }
      throw error
    }
  }

  /** The four operations of one profile's path. `label` is the pattern of the path label, if there is one. */
  const doorRoutes = (door: EstDoor, prefix: string, name: string, label: boolean) => {
    const base = label ? `${prefix}/:path_id` : prefix
    const Label = label ? v.object({ path_id: v.string() }) : v.object({})
    const pathIdOf = (c: Context<ApiEnv>): string => (label ? (c.req.param("path_id") ?? "") : "")
    const id = (what: string) => `${name}_${what}`
    return new Hono<ApiEnv>()
      .get(
        `${base}/cacerts`,
        operation({
          id: id("cacerts"),
          summary: "EST: fetch the CA certificates",
          role: "public",
          tags: ["est"],
          produces: certsOnlyType,
          errors: { 404: failures[404], 500: "The issuer failed", 501: "The issuer does not tell its chain" },
        }),
        input("param", Label),
        async (c) => base64(certsOnly(await est.caCertificates(demandProfile(pathIdOf(c), door))), certsOnlyType),
      )
      .get(
        `${base}/csrattrs`,
        operation({
          id: id("csrattrs"),
          summary: "EST: ask what a CSR should contain",
          role: "public",
          tags: ["est"],
          produces: "application/csrattrs",
          otherwise: { 204: null },
          errors: { 404: failures[404] },
        }),
        input("param", Label),
        async (c) => {
          const ids = await est.csrAttributes(demandProfile(pathIdOf(c), door))
          if (ids.length === 0) return c.body(null, 204)
          return base64(sequence(...ids.map(oid)), "application/csrattrs")
        },
      )
      .post(
        `${base}/simpleenroll`,
        operation({
          id: id("simpleenroll"),
          summary: "EST: enrol with a CSR",
          role: "public",
          tags: ["est"],
          produces: certsOnlyType,
          otherwise: { 202: null },
          errors: { 400: "Not a CSR", ...failures },
        }),
        input("param", Label),
        (c) => enrol(c, door, pathIdOf(c), "simpleenroll"),
      )
      .post(
        `${base}/simplereenroll`,
        operation({
          id: id("simplereenroll"),
          summary: "EST: enrol again with a CSR",
          role: "public",
          tags: ["est"],
          produces: certsOnlyType,
          otherwise: { 202: null },
          errors: { 400: "Not a CSR", ...failures },
        }),
        input("param", Label),
        (c) => enrol(c, door, pathIdOf(c), "simplereenroll"),
      )
  }

  return new Hono<ApiEnv>()
    .route("/", doorRoutes("plain", "/.well-known/est", "est", false))
    .route("/", doorRoutes("plain", "/.well-known/est", "est_label", true))
    .route("/", doorRoutes("mtls", "/.well-known/est-mtls", "est_mtls", false))
    .route("/", doorRoutes("mtls", "/.well-known/est-mtls", "est_mtls_label", true))
}
