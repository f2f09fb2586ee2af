/**
 * SCEP over HTTP (RFC 8894 section 4), at /scep and, for clients that prove themselves with a certificate too, at /scep-mtls.
 * Both take an optional path label that names the profile.
 */
import { type Context, Hono } from "hono"
import * as v from "valibot"
import { readClientCert } from "../../enrolment/client-certificate"
import { AppError } from "../../errors"
import { certsOnly } from "../../pki/certs-only"
import type { ScepService } from "../../scep/scep.service"
import type { ScepDoor, ScepProfile } from "../../scep/scep-profile"
import { type ApiEnv, input, operation } from "../../server/operation"

const messageType = "application/x-pki-message"
/** Of what old clients append to every URL by themselves. It is no path label, since those have no dots. */
const programName = "pkiclient.exe"

const answered = (body: Uint8Array | string, contentType: string): Response =>
  new Response(body as BodyInit, { headers: { "content-type": contentType, "cache-control": "no-store" } })

/** Base64 of a message in a URL; where a plus sign was not escaped, it arrives as a space. */
const messageIn = (text = ""): Buffer => Buffer.from(text.replace(/ /g, "+"), "latin1")

const Query = v.object({ operation: v.optional(v.string()), message: v.optional(v.string()) })

const failures = {
  401: "A client certificate of a trusted CA is needed",
  403: "The challenge password of a bare CSR is wrong",
  404: "There is no such profile",
  500: "A rule forbids it, or the issuer failed",
  501: "The issuer does not tell its chain",
}

export const scepRoutes = (scep: ScepService) => {
  const demandProfile = (label: string, door: ScepDoor): ScepProfile => {
    const profile = scep.profile(label === programName ? "" : label, door)
    if (profile === null) throw new AppError("not_found", "there is no SCEP profile under this path")
    return profile
  }

  const operate = async (c: Context<ApiEnv>, profile: ScepProfile, door: ScepDoor, body: Buffer) =>
    answered(
      await scep.operate(profile, body, {
        door,
        address: c.get("clientAddress"),
        clientCertificate: c.get("isFromTrustedProxy") ? readClientCert(c.req.header("client-cert")) : null,
      }),
      messageType,
    )

  const certificates = async (profile: ScepProfile): Promise<Response> => {
    const [first, ...others] = await scep.caCertificates(profile)
    if (first === undefined) throw new AppError("upstream", "the issuer told no certificate")
    return others.length === 0
      ? answered(first, "application/x-x509-ca-cert")
      : answered(certsOnly([first, ...others]), "application/x-x509-ca-ra-cert")
  }

  const unknown = (): AppError =>
    new AppError("validation", "operation must be GetCACaps, GetCACert or PKIOperation (the latter by POST or GET)")

  /** Both methods of one profile's path. `label` says whether the path has a label. */
  const doorRoutes = (door: ScepDoor, prefix: string, name: string, label: boolean) => {
    const path = label ? `${prefix}/:path_id` : prefix
    const Label = label ? v.object({ path_id: v.string() }) : v.object({})
    const profileOf = (c: Context<ApiEnv>) => demandProfile(label ? (c.req.param("path_id") ?? "") : "", door)
    return new Hono<ApiEnv>()
      .get(
        path,
        operation({
          id: `${name}_get`,
          summary: "SCEP: GetCACaps, GetCACert, and PKIOperation with the message in the URL",
          role: "public",
          tags: ["scep"],
          produces: messageType,
          errors: { 400: "No such operation, or not a message", ...failures },
        }),
        input("param", Label),
        input("query", Query),
        async (c) => {
          const profile = profileOf(c)
          const query = c.req.valid("query")
          switch (query.operation) {
            case "GetCACaps":
              return answered(`${(await scep.capabilities(profile)).join("\n")}\n`, "text/plain")
            case "GetCACert":
              return certificates(profile)
            case "PKIOperation":
              return operate(c, profile, door, messageIn(query.message))
            default:
              throw unknown()
          }
        },
      )
      .post(
        path,
        operation({
          id: `${name}_post`,
          summary: "SCEP: PKIOperation",
          role: "public",
          tags: ["scep"],
          produces: messageType,
          errors: { 400: "Not PKIOperation, or not a message", ...failures },
        }),
        input("param", Label),
        input("query", Query),
        async (c) => {
          const profile = profileOf(c)
          if (c.req.valid("query").operation !== "PKIOperation") throw unknown()
          return operate(c, profile, door, Buffer.from(await c.req.arrayBuffer()))
        },
      )
  }

  return new Hono<ApiEnv>()
    .route("/", doorRoutes("plain", "/scep", "scep", false))
    .route("/", doorRoutes("plain", "/scep", "scep_label", true))
    .route("/", doorRoutes("mtls", "/scep-mtls", "scep_mtls", false))
    .route("/", doorRoutes("mtls", "/scep-mtls", "scep_mtls_label", true))
}
