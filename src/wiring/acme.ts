/** The ACME server: its stores and its services. */
import type { Registry } from "prom-client"
import { accountService } from "../acme/account.service"
import { accountStore } from "../acme/account.store"
import { acmeMetrics } from "../acme/acme.metrics"
import { acmeAdminService } from "../acme/acme-admin.service"
import { challengeService } from "../acme/challenge.service"
import { cleanUpService } from "../acme/clean-up.service"
import { dns01 } from "../acme/dns-01"
import { doors } from "../acme/door"
import { externalAccountService } from "../acme/external-account.service"
import { finalizeService } from "../acme/finalize.service"
import { http01 } from "../acme/http-01"
import { nonceService } from "../acme/nonce.service"
import { nonceStore } from "../acme/nonce.store"
import { orderService } from "../acme/order.service"
import { orderStore } from "../acme/order.store"
import { renewalInfoService } from "../acme/renewal-info.service"
import { requestService } from "../acme/request.service"
import { revokeService } from "../acme/revoke.service"
import { tlsAlpn01 } from "../acme/tls-alpn-01"
import type { AuditService } from "../audit/audit.service"
import type { CertificateStore } from "../certificates/certificate.store"
import type { EnrolmentService } from "../certificates/enrolment.service"
import type { RevocationService } from "../certificates/revocation.service"
import type { VersionStore } from "../certificates/version.store"
import { logger } from "../logging"
import type { ProfileService } from "../profiles/profile.service"
import type { WiringOptions } from "./options"

interface Parts extends Pick<WiringOptions, "config" | "db" | "sealer" | "clock" | "acmeProofs"> {
  readonly audit: AuditService
  readonly profiles: Pick<ProfileService, "find">
  readonly certificates: CertificateStore
  readonly versions: VersionStore
  readonly enrolments: EnrolmentService
  readonly revocations: RevocationService
  readonly registry: Registry
}

/** `server` null: it is off; what it left behind can still be seen. */
export const wireAcme = (parts: Parts) => {
  const { config, db, sealer, clock, audit, profiles, certificates, versions, enrolments, revocations, registry } =
    parts
  const settings = config.acme
  const log = logger("acme")
  const { publicUrl } = config.server
  const { acmeProofs: proofs = {} } = parts
  const common = { db, audit, clock }
  const accounts = accountStore(db)
  const orders = orderStore(db)
  const externals = externalAccountService({ ...common, accounts, sealer })
  const admin = { accounts: acmeAdminService({ ...common, accounts, orders }), externals }
  // All that is documented is there, also where nothing will be counted.
  const metrics = acmeMetrics(registry)
  if (settings === null) return { admin, server: null }
  const nonces = nonceService({ db, nonces: nonceStore(db), clock, ttlMs: settings.nonceTtlMs })
  const entrances = doors({ findProfile: profiles.find, publicUrl, settings })
  const renewalInfo = renewalInfoService({ db, orders, accounts, versions, certificates, clock })
  const orderParts = orderService({ ...common, orders, accounts, renewalInfo, settings })
  const server = {
    publicUrl,
    settings,
    metrics,
    nonces,
    renewalInfo,
    open: entrances.open,
    requests: requestService({ accounts, nonces, doors: entrances }),
    accounts: accountService({ ...common, accounts, orders, externals, doors: entrances, settings }),
    orders: orderParts,
    certificates: finalizeService({ ...common, orders, own: orderParts.own, versions, enrolments }),
    challenges: challengeService({
      ...common,
      orders,
      accounts,
      validators: {
        "http-01": { validate: http01(proofs), atOnce: settings.concurrency.http01 },
        "dns-01": { validate: dns01({ resolver: settings.dnsResolver }), atOnce: settings.concurrency.dns01 },
        "tls-alpn-01": { validate: tlsAlpn01(proofs), atOnce: settings.concurrency.tlsAlpn01 },
      },
      responsesPerHour: settings.limits.responsesPerHour,
      onOutcome: metrics.validated,
      onError: (id, error) => log.error("challenge {id} could not be looked at: {error}", { id, error }),
    }),
    revocations: revokeService({ orders, accounts, versions, revocations, clock }),
    cleanUp: cleanUpService({ db, orders, nonces, clock }),
  }
  return { admin, server }
}
