/** Routes under /api/v1/certificates. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { TargetAnswer, targetAnswer } from "../targets/target.schema"
import {
  CertificateAnswer,
  CertificateListAnswer,
  CertificatePatchBody,
  CertificateQuery,
  certificateAnswer,
  certificateFilter,
  certificateSort,
  DeployAnswer,
  DeployBody,
  isForced,
  NewCertificateBody,
  onlyFields,
  orAbsent,
  RenewAnswer,
  RenewBody,
  RenewQuery,
  VersionListAnswer,
  VersionQuery,
  versionAnswer,
} from "./certificate.schema"
import type { CertificateService } from "./certificate.service"
import type { DeploymentService } from "./deployment.service"
import type { RenewalService } from "./renewal.service"

interface Services {
  certificates: CertificateService
  renewals: Pick<RenewalService, "trigger">
  deployments: Pick<DeploymentService, "deploy">
}

export const certificateRoutes = ({ certificates, renewals, deployments }: Services) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_certificates",
        summary: "List certificates",
        role: "viewer",
        returns: CertificateListAnswer,
      }),
      input("query", CertificateQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await certificates.list(certificateFilter(query), certificateSort(query), sliceOf(query))
        return c.json(pagedAnswer(query, found, (row) => onlyFields(certificateAnswer(row), query.fields)))
      },
    )
    .post(
      "/",
      operation({
        id: "create_certificate",
        summary: "Create a certificate; renew issues it",
        role: "operator",
        errors: { 409: "The name or the id is taken" },
        returns: CertificateAnswer,
        status: 201,
      }),
      input("json", NewCertificateBody),
      async (c) => c.json(certificateAnswer(await certificates.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_certificate", summary: "Show a certificate", role: "viewer", returns: CertificateAnswer }),
      input("param", IdParam),
      async (c) => c.json(certificateAnswer(await certificates.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_certificate",
        summary: "Change a certificate",
        role: "operator",
        errors: { 409: "Another certificate has the name, or this one is archived" },
        returns: CertificateAnswer,
      }),
      input("param", IdParam),
      input("json", CertificatePatchBody),
      async (c) => {
        const { id } = c.req.valid("param")
        return c.json(certificateAnswer(await certificates.update(id, c.req.valid("json"), c.get("actor"))))
      },
    )
    .delete(
      "/:id",
      operation({ id: "archive_certificate", summary: "Archive a certificate", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await certificates.archive(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
    .get(
      "/:id/versions",
      operation({
        id: "list_certificate_versions",
        summary: "List what was issued for a certificate",
        role: "viewer",
        returns: VersionListAnswer,
      }),
      input("param", IdParam),
      input("query", VersionQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await certificates.versions(c.req.valid("param").id, sliceOf(query), query.q)
        return c.json(pagedAnswer(query, found, versionAnswer))
      },
    )
    .get(
      "/:id/deployments",
      operation({
        id: "list_certificate_deployments",
        summary: "List the targets a certificate goes to",
        role: "viewer",
        returns: v.object({ data: v.array(TargetAnswer), total: v.pipe(v.number(), v.integer()) }),
      }),
      input("param", IdParam),
      async (c) => {
        const targets = await certificates.targets(c.req.valid("param").id)
        return c.json({ data: targets.map(targetAnswer), total: targets.length })
      },
    )
    .post(
      "/:id/renew",
      operation({
        id: "trigger_renewal",
        summary: "Issue a certificate, or renew it",
        role: "operator",
        errors: { 409: "A renewal is running or waits for approval" },
        returns: RenewAnswer,
        status: 202,
      }),
      input("param", IdParam),
      input("query", RenewQuery),
      input("json", RenewBody),
      async (c) => {
        const force = isForced(c.req.valid("query"), c.req.valid("json"))
        const { jobId } = await renewals.trigger(c.req.valid("param").id, { force }, c.get("actor"))
        return c.json({ status: "renewal_triggered" as const, job_id: jobId }, 202)
      },
    )
    .post(
      "/:id/deploy",
      operation({
        id: "trigger_deployment",
        summary: "Deploy a certificate again",
        role: "operator",
        returns: DeployAnswer,
        status: 202,
      }),
      input("param", IdParam),
      input("json", DeployBody),
      async (c) => {
        const { target_id, version_id, ignore_windows } = c.req.valid("json")
        const wanted = {
          targetId: orAbsent(target_id),
          versionId: orAbsent(version_id),
          ignoresWindows: ignore_windows === true,
        }
        await deployments.deploy(c.req.valid("param").id, wanted, c.get("actor"))
        return c.json({ status: "deployment_triggered" as const }, 202)
      },
    )
