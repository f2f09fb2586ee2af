/** The demo inventory: loaded once into a database that holds nothing yet, and known as one ever after. */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { Sealer } from "../secrets/sealing"
import type { DemoRows, DemoStore } from "./demo.store"
import { fleetRows } from "./fleet.rows"
import { approvalRows, auditRows, jobRows, observationRows } from "./history.rows"
import { certificateRows, mappingRows, revocationRows } from "./inventory.rows"
import { ownershipRows } from "./ownership.rows"
import { makeVersions } from "./versions.rows"

interface Deps {
  db: Pick<Db, "transaction">
  demo: DemoStore
  sealer: Pick<Sealer, "seal" | "sealJson">
  audit: Pick<AuditService, "append">
  clock: Clock
}

const makeRows = async (now: Date, sealer: Deps["sealer"]): Promise<DemoRows> => {
  const { issuer, caKey, versions } = await makeVersions(now, sealer)
  const jobs = jobRows(now, versions)
  return {
    ...ownershipRows(now),
    ...fleetRows(now),
    issuers: [issuer],
    caKeys: [caKey],
    versions,
    certificates: certificateRows(now),
    mappings: mappingRows(),
    revocations: revocationRows(now, versions),
    jobs,
    approvals: approvalRows(jobs, issuer.id),
    observations: observationRows(now, versions),
    auditEvents: auditRows(now, jobs),
  }
}

export const demoService = ({ db, demo, sealer, audit, clock }: Deps) => {
  let isKnown = false

  /** Whether this database was begun with the demo inventory. It stays so, whatever is added: a demo is nobody's records. */
  const isDemo = async (): Promise<boolean> => {
    isKnown ||= await demo.isLoaded()
    return isKnown
  }

  return {
    isDemo,

    /**
     * For the start of a server, after the baseline. `present`: it was loaded before. `refused`: the database holds an inventory
     * of its own, with which nothing is mixed.
     */
    async load(): Promise<"loaded" | "present" | "refused"> {
      if (await isDemo()) return "present"
      if (await demo.hasInventory()) return "refused"
      const now = clock.now()
      const rows = await makeRows(now, sealer)
      return db.transaction(async (tx) => {
        if (!(await demo.claim(tx, now))) return "present"
        await demo.insert(tx, rows)
        await audit.append(tx, {
          action: "demo_inventory_loaded",
          actor: systemActor,
          resourceType: "settings",
          resourceId: "demo",
          details: { certificates: rows.certificates.length, agents: rows.agents.length, jobs: rows.jobs.length },
        })
        return "loaded"
      })
    },
  }
}

export type DemoService = ReturnType<typeof demoService>
