/** Every table, built for one dialect. The order is the order of references. */
import type { Kit } from "../kit"
import { acmeTables } from "./acme.tables"
import { approvalTables } from "./approval.tables"
import { certificateTables } from "./certificate.tables"
import { countTables } from "./count.tables"
import { discoveryTables } from "./discovery.tables"
import { fleetTables } from "./fleet.tables"
import { intermediateTables } from "./intermediate.tables"
import { issuanceTables } from "./issuance.tables"
import { jobTables } from "./job.tables"
import { ownershipTables } from "./ownership.tables"
import { revocationTables } from "./revocation.tables"
import { accessTables, coordinationTables, rulesTables } from "./rules.tables"
import { scepTables } from "./scep.tables"
import { searchTables } from "./search.tables"

export const allTables = (k: Kit) => {
  const ownership = ownershipTables(k)
  const issuance = issuanceTables(k, ownership)
  const fleet = fleetTables(k, ownership)
  const certificate = certificateTables(k, ownership, issuance, fleet)
  const job = jobTables(k, certificate, fleet)
  return {
    ...ownership,
    ...issuance,
    ...fleet,
    ...certificate,
    ...revocationTables(k, issuance),
    ...intermediateTables(k, issuance),
    ...scepTables(k, issuance),
    ...acmeTables(k, ownership, issuance, certificate),
    ...job,
    ...approvalTables(k, issuance, certificate, job),
    ...rulesTables(k, certificate),
    ...accessTables(k),
    ...coordinationTables(k),
    ...countTables(k),
    ...searchTables(k),
    ...discoveryTables(k, certificate, fleet),
  }
}

export type Tables = ReturnType<typeof allTables>
