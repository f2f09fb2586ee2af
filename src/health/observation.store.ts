/** SQL of observations: what was seen where, and when. */
import { and, desc, eq, gt, inArray, lt, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hotInsertCount } from "../db/hot"
import type { Tables } from "../db/tables/tables"

export type ObservationRow = Tables["observations"]["$inferSelect"]
export type NewObservation = Tables["observations"]["$inferInsert"]

export const observationStore = ({ t, read }: Db) => {
  // With each deployment.
  const insertRows = hotInsertCount("insert_observations", t.observations, t.observations.id)
  return {
    async insert(tx: Tx, observation: NewObservation): Promise<void> {
      await insertRows(tx, [observation])
    },

    /** The newest of each kind at each target of the certificates. */
    async newest(certificateIds: readonly string[], query: Query | Tx = read): Promise<ObservationRow[]> {
      if (certificateIds.length === 0) return []
      const ranked = query
        .select({
          id: t.observations.id,
          rank: sql<number>`row_number() over (partition by ${t.observations.certificateId}, ${t.observations.targetId},
          ${t.observations.kind} order by ${t.observations.observedAt} desc, ${t.observations.id} desc)`.as("rank"),
        })
        .from(t.observations)
        .where(inArray(t.observations.certificateId, [...certificateIds]))
        .as("ranked")
      const rows = await query
        .select({ observation: t.observations })
        .from(t.observations)
        .innerJoin(ranked, and(eq(ranked.id, t.observations.id), eq(ranked.rank, 1)))
        .orderBy(desc(t.observations.observedAt))
      return rows.map((row) => row.observation)
    },

    /**
     * The certificate of each place that was last found to serve what it should, the newest sighting first. Follows the index of
     * times and stops at the limit: grouping would read a day's sightings of the whole inventory.
     */
    async lastSeenServing(since: Date, limit: number): Promise<string[]> {
      const rows = await read
        .select({ certificateId: t.observations.certificateId })
        .from(t.observations)
        .where(
          and(
            eq(t.observations.kind, "served"),
            eq(t.observations.ok, true),
            gt(t.observations.observedAt, since),
            sql`not exists (select 1 from observations newer where newer.certificate_id = ${t.observations.certificateId}
            and newer.target_id = ${t.observations.targetId} and newer.kind = 'served'
            and newer.observed_at > ${t.observations.observedAt})`,
          ),
        )
        .orderBy(desc(t.observations.observedAt), desc(t.observations.id))
        .limit(limit)
      return rows.map((row) => row.certificateId)
    },

    /** Drops what is older than the cutoff and not the newest of its kind at its place. Returns how many. */
    async thin(tx: Tx, cutoff: Date, limit: number): Promise<number> {
      const old = await tx
        .select({ id: t.observations.id })
        .from(t.observations)
        .where(
          and(
            lt(t.observations.observedAt, cutoff),
            sql`exists (select 1 from observations newer where newer.certificate_id = ${t.observations.certificateId}
            and coalesce(newer.target_id, '') = coalesce(${t.observations.targetId}, '') and newer.kind = ${t.observations.kind}
            and newer.observed_at > ${t.observations.observedAt})`,
          ),
        )
        .limit(limit)
      if (old.length === 0) return 0
      await tx.delete(t.observations).where(
        inArray(
          t.observations.id,
          old.map((row) => row.id),
        ),
      )
      return old.length
    },
  }
}

export type ObservationStore = ReturnType<typeof observationStore>
