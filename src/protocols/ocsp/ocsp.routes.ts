/** OCSP over HTTP (RFC 6960 appendix A, RFC 5019) for relying parties; without credentials. */
import { Hono } from "hono"
import * as v from "valibot"
import { AppError } from "../../errors"
import { ocspErrorResponse } from "../../pki/ocsp"
import type { OcspAnswer, OcspEvent, OcspService } from "../../revocation-status/ocsp.service"
import { type ApiEnv, input, operation } from "../../server/operation"
import type { RateLimiter } from "../../server/rate-limit"

const mostBytes = 16 * 1024
const mediaType = "application/ocsp-response"

interface Deps {
  ocsp: Pick<OcspService, "answerSerial" | "answerRequest">
  limiter: Pick<RateLimiter, "take">
  /** Requests per minute and address; 0: no limit. */
  perMinute: number
  count: (event: OcspEvent) => void
}

const publishedElsewhere = "The key of the issuer's CA is not held here"

const answer = ({ der, isCacheable }: OcspAnswer): Response =>
  new Response(new Uint8Array(der), {
    headers: { "content-type": mediaType, "cache-control": isCacheable ? "max-age=3600" : "no-store" },
  })

/** Hex, colons tolerated: a serial. Anything else in the path is a base64 request (RFC 6960 appendix A.1). */
const serialForm = /^(?:[0-9a-fA-F]{2}:)*[0-9a-fA-F]{1,64}$/
const base64Form = /^[A-Za-z0-9+/]+={0,2}$/

export const ocspRoutes = ({ ocsp, limiter, perMinute, count }: Deps) => {
  /** RFC 6960 has no word for "too often"; unauthorized makes clients go on without an answer. */
  const tooMany = (address: string): Response | null => {
    if (perMinute === 0 || limiter.take(`ocsp ${address}`, { perSecond: perMinute / 60, burst: perMinute })) return null
    count("rate_limited")
    return new Response(new Uint8Array(ocspErrorResponse("unauthorized")), {
      headers: { "content-type": mediaType, "cache-control": "no-store", "retry-after": "60" },
    })
  }
  return new Hono<ApiEnv>()
    .get(
      "/.well-known/pki/ocsp/:issuer_id/:request{.+}",
      operation({
        id: "get_ocsp_response",
        summary: "Ask for a certificate's revocation status by serial number or base64 request",
        role: "public",
        tags: ["pki"],
        produces: mediaType,
        errors: { 400: "Neither a serial number nor a request", 501: publishedElsewhere },
      }),
      input("param", v.object({ issuer_id: v.string(), request: v.string() })),
      async (c) => {
        count("request_get")
        const limited = tooMany(c.get("clientAddress"))
        if (limited !== null) return limited
        const { issuer_id, request } = c.req.valid("param")
        if (serialForm.test(request)) return answer(await ocsp.answerSerial(issuer_id, request))
        const text = request.replace(/%2f/gi, "/").replace(/%2b/gi, "+").replace(/%3d/gi, "=").replace(/ /g, "+")
        if (!base64Form.test(text)) {
          count("request_invalid")
          throw new AppError("validation", "serial must be hexadecimal, or a base64 OCSP request")
        }
        return answer(await ocsp.answerRequest(issuer_id, Buffer.from(text, "base64")))
      },
    )
    .post(
      "/.well-known/pki/ocsp/:issuer_id",
      operation({
        id: "post_ocsp_request",
        summary: "Ask for the revocation status of certificates (RFC 6960)",
        role: "public",
        tags: ["pki"],
        produces: mediaType,
        errors: { 400: "Not an OCSP request", 415: "Another content type", 501: publishedElsewhere },
      }),
      input("param", v.object({ issuer_id: v.string() })),
      async (c) => {
        count("request_post")
        const limited = tooMany(c.get("clientAddress"))
        if (limited !== null) return limited
        const type = c.req.header("content-type")
        if (type !== undefined && type !== "" && !type.toLowerCase().includes("ocsp-request")) {
          throw new AppError("unsupported_media_type", "the content type must be application/ocsp-request")
        }
        const body = Buffer.from(await c.req.arrayBuffer())
        if (body.length > mostBytes) throw new AppError("too_large", "an OCSP request must have at most 16 KiB")
        return answer(await ocsp.answerRequest(c.req.valid("param").issuer_id, body))
      },
    )
}
