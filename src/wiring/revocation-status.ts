/** What relying parties ask about revocation: lists, OCSP answers and CA certificates. */
import { Hono } from "hono"
import { Counter, type Registry } from "prom-client"
import type { AuditService } from "../audit/audit.service"
import { AppError } from "../errors"
import type { IssuerService } from "../issuers/issuer.service"
import { logger } from "../logging"
import { crlRoutes } from "../protocols/crl/crl.routes"
import { ocspRoutes } from "../protocols/ocsp/ocsp.routes"
import { crlService } from "../revocation-status/crl.service"
import { crlStore } from "../revocation-status/crl.store"
import { type OcspEvent, ocspEvents, ocspService } from "../revocation-status/ocsp.service"
import { responderService } from "../revocation-status/responder.service"
import { responderStore } from "../revocation-status/responder.store"
import { revocationStatusStore } from "../revocation-status/revocation.store"
import { revocationFeed } from "../revocation-status/revocation-feed"
import type { ApiEnv } from "../server/operation"
import { rateLimiter } from "../server/rate-limit"
import type { WiringOptions } from "./options"

/** All labels from the start: a rate over a series that appears later misses its first event. */
const ocspCounter = (registry: Registry): ((event: OcspEvent) => void) => {
  const counter = new Counter({
    name: "certctl_ocsp_counter_total",
    help: "OCSP requests and what became of them",
    labelNames: ["label"],
    registers: [registry],
  })
  for (const label of ocspEvents) counter.inc({ label }, 0)
  return (label) => counter.inc({ label })
}

interface Parts extends Pick<WiringOptions, "config" | "db" | "sealer" | "clock"> {
  readonly audit: AuditService
  readonly issuers: IssuerService
  readonly registry: Registry
}

export const wireRevocationStatus = ({ config, db, sealer, clock, audit, issuers, registry }: Parts) => {
  const log = logger("crl")
  const revocations = revocationStatusStore(db)
  const feed = revocationFeed({ db, revocations, clock })
  const count = ocspCounter(registry)
  /** An issuer without a usable CA (its files are gone, its hierarchy has ended) publishes nothing, like one of another product. */
  const authoritiesOf: IssuerService["authoritiesOf"] = async (issuerId) => {
    try {
      return await issuers.authoritiesOf(issuerId)
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "upstream") throw error
      throw new AppError("not_supported", error.message, { cause: error })
    }
  }
  const crls = crlService({
    db,
    crls: crlStore(db),
    revocations,
    feed,
    authoritiesOf,
    issuerIds: issuers.idsWithOwnAuthority,
    clock,
    onIssuerError: (issuerId, error) =>
      log.error("the revocation list of issuer {issuerId} could not be signed: {error}", { issuerId, error }),
  })
  const responders = responderService({
    db,
    responders: responderStore(db),
    sealer,
    audit,
    clock,
    settings: config.ocsp.responder,
  })
  const ocsp = ocspService({ revocations, responders, feed, authoritiesOf, clock, count })
  return {
    crls,
    routes: new Hono<ApiEnv>()
      .route("/", crlRoutes(crls))
      .route("/", ocspRoutes({ ocsp, limiter: rateLimiter(clock), perMinute: config.ocsp.requestsPerMinute, count })),
    close: feed.close,
  }
}
