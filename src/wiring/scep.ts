/** Enrolment over SCEP: its profiles, its RA keys and its passwords. */
import { Counter, type Registry } from "prom-client"
import type { AuditService } from "../audit/audit.service"
import type { EnrolmentService } from "../certificates/enrolment.service"
import { openTrustBundle } from "../enrolment/trust-bundle"
import type { IssuerService } from "../issuers/issuer.service"
import { logger } from "../logging"
import { challengeService } from "../scep/challenge.service"
import { challengeStore } from "../scep/challenge.store"
import { registrationAuthorityService } from "../scep/registration-authority.service"
import { registrationAuthorityStore } from "../scep/registration-authority.store"
import { openRegistrationAuthorityFiles } from "../scep/registration-authority-files"
import { type ScepService, scepService } from "../scep/scep.service"
import { scepCounters } from "../scep/scep-profile"
import type { WiringOptions } from "./options"

interface Parts extends Pick<WiringOptions, "config" | "db" | "sealer" | "clock"> {
  readonly audit: AuditService
  readonly issuers: IssuerService
  readonly enrolments: EnrolmentService
  readonly registry: Registry
}

/** The service counts by itself; the metric is read off when it is asked for, with all labels from the start. */
const registerScepMetrics = (registry: Registry, scep: Pick<ScepService, "all">): void => {
  new Counter({
    name: "certctl_scep_requests_total",
    help: "SCEP requests and what became of them, by path",
    labelNames: ["path", "result"],
    registers: [registry],
    collect() {
      this.reset()
      for (const { pathId, counters } of scep.all()) {
        const path = pathId === "" ? "/scep" : `/scep/${pathId}`
        for (const result of scepCounters) this.inc({ path, result }, counters[result])
      }
    },
  })
}

export const wireScep = ({ config, db, sealer, clock, audit, issuers, enrolments, registry }: Parts) => {
  const log = logger("scep")
  const warn = (line: string) => log.warn("{line}", { line })
  const common = { db, audit, clock }
  const { profiles, allow3des, allowLegacy, enrolmentsPerDay } = config.scep
  const challenges = challengeService({
    ...common,
    challenges: challengeStore(db),
    pathIds: new Set(profiles.map(({ pathId }) => pathId)),
  })
  const scep = scepService({
    ...common,
    profiles: profiles.map(({ raFiles, trustBundlePath, ...profile }) => ({
      ...profile,
      ra: raFiles === null ? null : openRegistrationAuthorityFiles(raFiles, clock),
      trust: trustBundlePath === null ? null : openTrustBundle(trustBundlePath, clock, warn),
    })),
    rules: { allow3des, allowLegacy },
    enrolmentsPerDay,
    enrolments,
    challenges,
    authorities: registrationAuthorityService({ ...common, authorities: registrationAuthorityStore(db), sealer }),
    authoritiesOf: issuers.authoritiesOf,
    caChainOf: issuers.caChainOf,
    warn,
  })
  registerScepMetrics(registry, scep)
  return { scep, scepChallenges: challenges }
}
