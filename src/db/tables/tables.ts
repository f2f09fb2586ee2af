/** Every table, built for one dialect. The order is the order of references. */
import type { Kit } from "../kit"
import { certificateTables } from "./certificate.tables"
import { discoveryTables } from "./discovery.tables"
import { fleetTables } from "./fleet.tables"
import { issuanceTables } from "./issuance.tables"
import { jobTables } from "./job.tables"
import { ownershipTables } from "./ownership.tables"
import { accessTables, coordinationTables, rulesTables } from "./rules.tables"

export const allTables = (k: Kit) => {
  const ownership = ownershipTables(k)
  const issuance = issuanceTables(k, ownership)
  const fleet = fleetTables(k, ownership)
  const certificate = certificateTables(k, ownership, issuance, fleet)
  return {
    ...ownership,
    ...issuance,
    ...fleet,
    ...certificate,
    ...jobTables(k, certificate, fleet),
    ...rulesTables(k, certificate),
    ...accessTables(k),
    ...coordinationTables(k),
    ...discoveryTables(k, certificate, fleet),
  }
}

export type Tables = ReturnType<typeof allTables>
