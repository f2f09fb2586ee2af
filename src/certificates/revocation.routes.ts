/** Routes under /api/v1/certificates for revoking, for many certificates at once, and for taking them away as files. */
import { type Context, Hono } from "hono"
import type { RevocationReason } from "../connectors/issuers/contract"
import { AppError } from "../errors"
import { type ApiEnv, input, operation } from "../server/operation"
import { IdParam } from "../server/resource.schema"
import type { BulkCriteria, BulkService } from "./bulk.service"
import type { ExportService } from "./export.service"
import {
  BulkReassignAnswer,
  BulkReassignBody,
  BulkRenewAnswer,
  BulkRenewBody,
  BulkRevokeAnswer,
  BulkRevokeBody,
  failuresAnswer,
  PemAnswer,
  PemQuery,
  Pkcs12Body,
  RevokeAnswer,
  RevokeBody,
} from "./revocation.schema"
import type { RevocationService } from "./revocation.service"

interface Services {
  revocations: Pick<RevocationService, "revoke">
  bulk: BulkService
  exports: ExportService
}

type BulkRevocation = { readonly criteria: BulkCriteria; readonly reason: RevocationReason }

const revokeMany = async (
  c: Context<ApiEnv>,
  bulk: Pick<BulkService, "revoke">,
  { criteria, reason }: BulkRevocation,
  selection: { source?: "EST" } = {},
) => {
  // A hundred thousand take a minute.
  c.env?.keepOpen?.()
  const done = await bulk.revoke(criteria, { reason, actor: c.get("actor") }, selection)
  return {
    total_matched: done.matched,
    total_revoked: done.revoked,
    total_skipped: done.skipped,
    ...failuresAnswer(done.failures),
  }
}

/** The answer over the hourly limit has a form of its own, which clients know. */
const orLimited = async (answer: () => Promise<Response>): Promise<Response> => {
  try {
    return await answer()
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "rate_limited" || error.body === undefined) throw error
    return Response.json(error.body, {
      status: error.status,
      headers: { "retry-after": String(error.body.retry_after_seconds) },
    })
  }
}

const attachment = (type: string, name: string) => ({
  "content-type": type,
  "content-disposition": `attachment; filename="${name}"`,
})

export const revocationRoutes = ({ revocations, bulk, exports }: Services) =>
  new Hono<ApiEnv>()
    .post(
      "/:id/revoke",
      operation({
        id: "revoke_certificate",
        summary: "Revoke a certificate",
        role: "operator",
        returns: RevokeAnswer,
        errors: { 409: "Somebody else changed it at the same moment" },
      }),
      input("param", IdParam),
      input("json", RevokeBody),
      async (c) => {
        const { reason } = c.req.valid("json")
        await revocations.revoke(c.req.valid("param").id, { reason, actor: c.get("actor") })
        return c.json({ status: "revoked" as const })
      },
    )
    .post(
      "/bulk-revoke",
      operation({
        id: "bulk_revoke_certificates",
        summary: "Revoke all certificates that match",
        role: "admin",
        returns: BulkRevokeAnswer,
      }),
      input("json", BulkRevokeBody),
      async (c) => c.json(await revokeMany(c, bulk, c.req.valid("json"))),
    )
    .post(
      "/bulk-renew",
      operation({
        id: "bulk_renew_certificates",
        summary: "Renew all certificates that match",
        role: "operator",
        returns: BulkRenewAnswer,
      }),
      input("json", BulkRenewBody),
      async (c) => {
        c.env?.keepOpen?.()
        const done = await bulk.renew(c.req.valid("json"), c.get("actor"))
        return c.json({
          total_matched: done.matched,
          total_enqueued: done.enqueued.length,
          total_skipped: done.skipped,
          ...(done.enqueued.length === 0
            ? {}
            : {
                enqueued_jobs: done.enqueued.map(({ certificateId, jobId }) => ({
                  certificate_id: certificateId,
                  job_id: jobId,
                })),
              }),
          ...failuresAnswer(done.failures),
        })
      },
    )
    .post(
      "/bulk-reassign",
      operation({
        id: "bulk_reassign_certificates",
        summary: "Give certificates to another owner",
        role: "operator",
        returns: BulkReassignAnswer,
      }),
      input("json", BulkReassignBody),
      async (c) => {
        c.env?.keepOpen?.()
        const done = await bulk.reassign(c.req.valid("json"), c.get("actor"))
        return c.json({
          total_matched: done.matched,
          total_reassigned: done.reassigned,
          total_skipped: done.skipped,
          ...failuresAnswer(done.failures),
        })
      },
    )
    .get(
      "/:id/export/pem",
      operation({
        id: "export_certificate_pem",
        summary: "Export a certificate and its chain as PEM",
        description: "With `download=true` the answer is the file itself.",
        role: "viewer",
        returns: PemAnswer,
        produces: "application/x-pem-file",
        errors: { 422: "What is stored is not X.509" },
      }),
      input("param", IdParam),
      input("query", PemQuery),
      (c) =>
        orLimited(async () => {
          const pem = await exports.pem(c.req.valid("param").id, c.get("actor"))
          return c.req.valid("query").download === "true"
            ? c.body(pem.fullPem, 200, attachment("application/x-pem-file", "certificate.pem"))
            : c.json({ cert_pem: pem.certPem, chain_pem: pem.chainPem, full_pem: pem.fullPem })
        }),
    )
    .post(
      "/:id/export/pkcs12",
      operation({
        id: "export_certificate_pkcs12",
        summary: "Export a certificate and its chain as a PKCS#12 trust store",
        description: "Certificates only: keys never leave the agents. AES-256; the password may be empty.",
        role: "operator",
        produces: "application/x-pkcs12",
        errors: { 422: "What is stored is not X.509" },
      }),
      input("param", IdParam),
      input("json", Pkcs12Body),
      (c) =>
        orLimited(async () => {
          const password = c.req.valid("json").password ?? ""
          const { file } = await exports.pkcs12(c.req.valid("param").id, password, c.get("actor"))
          return c.body(new Uint8Array(file), 200, attachment("application/x-pkcs12", "certificate.p12"))
        }),
    )

/** Mount under `/est`. */
export const estRevocationRoutes = (bulk: Pick<BulkService, "revoke">) =>
  new Hono<ApiEnv>().post(
    "/certificates/bulk-revoke",
    operation({
      id: "bulk_revoke_est_certificates",
      summary: "Revoke all certificates enrolled by EST that match",
      role: "admin",
      returns: BulkRevokeAnswer,
    }),
    input("json", BulkRevokeBody),
    async (c) => c.json(await revokeMany(c, bulk, c.req.valid("json"), { source: "EST" })),
  )
