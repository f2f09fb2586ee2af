/** The demo certificates as rows, with where they go and what was revoked. */
import { renewalPoint } from "../certificates/renewal-point"
import { newId } from "../db/ids"
import type { Tables } from "../db/tables/tables"
import { demoCertificates } from "./certificates.rows"
import { targetIdOf } from "./fleet.rows"
import { createdOf, daysFrom, expiryOf, issuesOf } from "./moments"
import { personOf, policies } from "./ownership.rows"
import { type DemoVersion, demoIssuerId } from "./versions.rows"

type Insert<Table extends keyof Tables> = Tables[Table]["$inferInsert"]

const minuteMs = 60_000
const revokedDaysAgo = 2
const revocationReason = "keyCompromise"

export const certificateRows = (now: Date): Insert<"certificates">[] =>
  demoCertificates.map((certificate) => {
    const { id, commonName, sans, environment, teamId, policyId, profileId, status, targets } = certificate
    const notAfter = expiryOf(certificate, now)
    const createdAt = createdOf(certificate, now)
    const issuedAt = issuesOf(certificate, now)[0] ?? createdAt
    const isRevoked = status === "Revoked"
    return {
      id,
      name: commonName,
      commonName,
      sans: [...sans],
      environment,
      teamId,
      ownerId: personOf(teamId).id,
      issuerId: demoIssuerId,
      renewalPolicyId: policyId,
      certificateProfileId: profileId,
      status,
      expiresAt: notAfter,
      renewAt: renewalPoint(id, policies[policyId].renewalWindowDays, { issuedAt, notAfter }),
      tags: { demo: "true" },
      lastRenewalAt: issuedAt,
      lastDeploymentAt: targets.length === 0 ? null : new Date(issuedAt.getTime() + minuteMs),
      revokedAt: isRevoked ? daysFrom(now, -revokedDaysAgo) : null,
      revocationReason: isRevoked ? revocationReason : null,
      createdAt,
      updatedAt: isRevoked ? daysFrom(now, -revokedDaysAgo) : issuedAt,
    }
  })

export const mappingRows = (): Insert<"certificateTargets">[] =>
  demoCertificates.flatMap(({ id, targets }) =>
    targets.map((target) => ({ certificateId: id, targetId: targetIdOf(target) })),
  )

export const revocationRows = (now: Date, versions: readonly DemoVersion[]): Insert<"certificateRevocations">[] =>
  demoCertificates
    .filter(({ status }) => status === "Revoked")
    .flatMap(({ id, teamId }) =>
      versions
        .filter(({ certificateId }) => certificateId === id)
        .map(({ serialNumber, notAfter }) => ({
          id: newId("rev-"),
          certificateId: id,
          serialNumber,
          reason: revocationReason,
          revokedBy: personOf(teamId).login,
          revokedAt: daysFrom(now, -revokedDaysAgo),
          issuerId: demoIssuerId,
          notAfter,
          issuerNotified: true,
          createdAt: daysFrom(now, -revokedDaysAgo),
        })),
    )
