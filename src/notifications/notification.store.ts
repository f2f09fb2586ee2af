/** SQL of notifications, and what their texts say about certificates. */
import {
  and,
  asc,
  count,
  desc,
  eq,
  gte,
  inArray,
  isNull,
  lt,
  lte,
  max,
  notInArray,
  or,
  type SQL,
  sql,
} from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot, hotInsertCount, hotUpdateCount } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate } from "../db/locking"
import { rowCounts } from "../db/row-counts"
import type { Tables } from "../db/tables/tables"
import { equalities, unindexed } from "../db/unindexed"
import { mostRetries } from "./notification.machine"

export type NotificationRow = Tables["notifications"]["$inferSelect"]
export type NotificationStatus = NotificationRow["status"]

export interface NotificationFilter extends TextFilter {
  readonly status?: string | undefined
  readonly type?: string | undefined
  readonly channel?: string | undefined
  readonly certificateId?: string | undefined
}

/** Channels that a delivery lane serves: one of them, or all that have no lane of their own. */
export type LaneChannels = { readonly only: string } | { readonly except: readonly string[] }

/** A row that is due, with the name its message is about. */
export interface DueNotification {
  readonly row: NotificationRow
  readonly commonName: string | null
}

export interface CertificateFacts {
  readonly id: string
  readonly commonName: string
  readonly tags: Record<string, string>
  readonly source: string
  readonly expiresAt: Date | null
  readonly renewAt: Date | null
  readonly ownerId: string
  readonly ownerEmail: string
  readonly autoRenew: boolean
  readonly alertChannels: Readonly<Record<string, readonly string[]>>
  readonly alertSeverityMap: Readonly<Record<string, string>>
}

const statuses = ["pending", "sent", "failed", "dead", "read"] as const
/** Rows per INSERT: thirteen parameters each, far below SQLite's 32,766. */
const chunk = 500

export const notificationStore = ({ t, read, scan, dialect }: Db) => {
  const { notifications, certificates, owners, renewalPolicies, certificateVersions, auditEvents } = t

  const { id, createdAt, sentAt, certificateId, recipient, message } = notifications
  const listed = listing({
    id,
    time: createdAt,
    text: [id, certificateId, recipient, message],
    // As the index has it, whose expression goes without the name of the table.
    order: [sql`(sent_at is not null) desc`, desc(sentAt), desc(createdAt), desc(id)],
  })

  const counts = rowCounts({ t, read })
  /** In the words of the index of those that are not sent, which are few. */
  const isUnsent = sql`${unindexed(notifications.status)} <> 'sent'`
  const readerFor = ({ search }: NotificationFilter) => (listed.matches(search) === undefined ? read : scan)

  const conditions = ({ status, type, channel, certificateId, search }: NotificationFilter): SQL | undefined => {
    const known = statuses.find((name) => name === status)
    const isSent = known === "sent"
    return and(
      equalities(dialect, [
        [notifications.certificateId, certificateId],
        [notifications.status, isSent ? undefined : known],
        [notifications.type, type],
        [notifications.channel, channel],
      ]),
      // Nearly all are: no index finds them sooner than the order of the list does.
      isSent ? sql`${unindexed(notifications.status)} = 'sent'` : known === undefined ? undefined : isUnsent,
      // An unknown status matches nothing; the column cannot hold it.
      status === known ? undefined : eq(notifications.id, ""),
      listed.matches(search),
    )
  }

  /** Demo rows are to be looked at: nobody is written to. */
  const isOurs = or(isNull(certificates.tags), sql`${certificates.tags} not like '%"demo":"true"%'`)

  const laneOf = (lane: LaneChannels): SQL | undefined =>
    "only" in lane
      ? eq(notifications.channel, lane.only)
      : lane.except.length === 0
        ? undefined
        : notInArray(notifications.channel, [...lane.except])

  // With every event in a certificate's life.
  const factsWhere = (query: Query, whose: SQL) =>
    query
      .select({
        id: certificates.id,
        commonName: certificates.commonName,
        tags: certificates.tags,
        source: certificates.source,
        expiresAt: certificates.expiresAt,
        renewAt: certificates.renewAt,
        ownerId: certificates.ownerId,
        ownerEmail: owners.email,
        autoRenew: renewalPolicies.autoRenew,
        alertChannels: renewalPolicies.alertChannels,
        alertSeverityMap: renewalPolicies.alertSeverityMap,
      })
      .from(certificates)
      .innerJoin(owners, eq(owners.id, certificates.ownerId))
      .innerJoin(renewalPolicies, eq(renewalPolicies.id, certificates.renewalPolicyId))
      .where(whose)
  // With each deployment.
  const targetById = hot("target_name_by_id", (query: Query) =>
    query
      .select({ name: t.deploymentTargets.name })
      .from(t.deploymentTargets)
      .where(eq(t.deploymentTargets.id, sql.placeholder("id"))),
  )
  const factsOf = hot("facts_for_notifications", (query: Query) =>
    factsWhere(query, eq(certificates.id, sql.placeholder("certificateId"))),
  )
  const factsOfGiven = hot(null, (query: Query) => factsWhere(query, inGiven(dialect, certificates.id, "ids")))

  const insertRows = hotInsertCount("insert_notifications", notifications, notifications.id)

  const isAsSeen = and(
    eq(notifications.id, sql.placeholder("id")),
    eq(unindexed(notifications.status), sql.placeholder("status")),
    eq(notifications.retryCount, sql.placeholder("retryCount")),
  )
  const replaceUndated = hotUpdateCount(
    "replace_undated_notification",
    notifications,
    and(isAsSeen, isNull(notifications.nextRetryAt)),
    notifications.id,
  )
  const replaceDated = hotUpdateCount(
    "replace_dated_notification",
    notifications,
    and(isAsSeen, sql`${notifications.nextRetryAt} = ${sql.placeholder("due")}`),
    notifications.id,
  )
  const closeGiven = hotUpdateCount(
    null,
    notifications,
    and(
      inGiven(dialect, notifications.id, "ids"),
      sql`${unindexed(notifications.status)} = ${sql.placeholder("from")}`,
    ),
    notifications.id,
  )

  return {
    /** Last sent first, never sent last, then newest first. */
    list: (filter: NotificationFilter, slice: Slice) =>
      listed.read(readerFor(filter).select().from(notifications), conditions(filter), slice),

    async total(filter: NotificationFilter): Promise<number> {
      const { search, certificateId: ofCertificate, ...counted } = filter
      if (ofCertificate === undefined && listed.matches(search) === undefined) {
        return await counts.total("notifications", counted)
      }
      const [row] = await readerFor(filter).select({ n: count() }).from(notifications).where(conditions(filter))
      return row?.n ?? 0
    },

    async get(id: string): Promise<NotificationRow | null> {
      return (await read.select().from(notifications).where(eq(notifications.id, id)))[0] ?? null
    },

    async insert(tx: Tx, rows: readonly NotificationRow[]): Promise<void> {
      for (let from = 0; from < rows.length; from += chunk) {
        const some = rows.slice(from, from + chunk)
        if ((await insertRows(tx, some)) < some.length) throw new Error("a notification has an id that is taken")
      }
    },

    async lock(tx: Tx, id: string): Promise<NotificationRow | null> {
      return (await forUpdate(tx.select().from(notifications).where(eq(notifications.id, id))))[0] ?? null
    },

    /** null when there is no such row. */
    async update(tx: Tx, id: string, patch: Partial<NotificationRow>): Promise<NotificationRow | null> {
      return (await tx.update(notifications).set(patch).where(eq(notifications.id, id)).returning())[0] ?? null
    },

    /** Waiting for their first delivery, oldest first; not those that somebody is delivering. */
    pending: (lane: LaneChannels, now: Date, limit: number): Promise<DueNotification[]> =>
      read
        .select({ row: notifications, commonName: certificates.commonName })
        .from(notifications)
        .leftJoin(certificates, eq(certificates.id, notifications.certificateId))
        .where(
          and(
            isUnsent,
            eq(notifications.status, "pending"),
            laneOf(lane),
            isOurs,
            or(isNull(notifications.nextRetryAt), lte(notifications.nextRetryAt, now)),
          ),
        )
        .orderBy(asc(notifications.createdAt), asc(notifications.id))
        .limit(limit),

    /** Failed before and due again, longest due first. */
    toRetry: (lane: LaneChannels, now: Date, limit: number): Promise<DueNotification[]> =>
      read
        .select({ row: notifications, commonName: certificates.commonName })
        .from(notifications)
        .leftJoin(certificates, eq(certificates.id, notifications.certificateId))
        .where(
          and(
            isUnsent,
            eq(notifications.status, "failed"),
            laneOf(lane),
            isOurs,
            lte(notifications.nextRetryAt, now),
            lt(notifications.retryCount, mostRetries),
          ),
        )
        .orderBy(asc(notifications.nextRetryAt), asc(notifications.id))
        .limit(limit),

    /** Changes a row only if it still is as it was seen; false when somebody else was quicker. */
    async replace(tx: Tx, seen: NotificationRow, patch: Partial<NotificationRow>): Promise<boolean> {
      const { id, status, retryCount, nextRetryAt } = seen
      const due = nextRetryAt === null ? null : notifications.nextRetryAt.mapToDriverValue(nextRetryAt)
      const replaceSeen = nextRetryAt === null ? replaceUndated : replaceDated
      return (await replaceSeen(tx, patch, { id, status, retryCount, due })) > 0
    },

    /** Marks as sent those that are still `from`, with the reason why they went nowhere; answers how many they were. */
    closeAll: (tx: Tx, ids: readonly string[], from: NotificationStatus, error: string): Promise<number> =>
      closeGiven(tx, { status: "sent", error, nextRetryAt: null }, { ids: idList(ids), from }),

    /** Its id where the target is gone. */
    async targetName(tx: Tx, id: string): Promise<string> {
      const [row] = await targetById(tx, { id })
      return row?.name ?? id
    },

    /** null when there is no such certificate. */
    async facts(query: Query | Tx, certificateId: string): Promise<CertificateFacts | null> {
      const rows = await factsOf(query, { certificateId })
      return rows[0] ?? null
    },

    /** `facts` of several. */
    factsOfAll: (query: Query | Tx, certificateIds: readonly string[]): Promise<CertificateFacts[]> =>
      factsOfGiven(query, { ids: idList(certificateIds) }),

    /** When the certificate was last issued; null when never. */
    async lastIssuedAt(query: Query | Tx, certificateId: string): Promise<Date | null> {
      const rows = await query
        .select({ at: certificateVersions.createdAt })
        .from(certificateVersions)
        .where(eq(certificateVersions.certificateId, certificateId))
        .orderBy(desc(certificateVersions.createdAt))
        .limit(1)
      return rows[0]?.at ?? null
    },

    /** Notifications of one type about one certificate since a moment, newest first. */
    since: (query: Query | Tx, type: string, certificateId: string, since: Date | null) =>
      query
        .select({
          channel: notifications.channel,
          message: notifications.message,
          createdAt: notifications.createdAt,
        })
        .from(notifications)
        .where(
          and(
            eq(notifications.certificateId, certificateId),
            eq(notifications.type, type),
            since === null ? undefined : gte(notifications.createdAt, since),
          ),
        )
        .orderBy(desc(notifications.createdAt), desc(notifications.id)),

    /** When each certificate was last issued; without those that never were. */
    async lastIssuedAtOf(query: Query | Tx, certificateIds: readonly string[]): Promise<Map<string, Date>> {
      const { certificateId, createdAt } = certificateVersions
      const rows = await query
        .select({ certificateId, at: max(createdAt) })
        .from(certificateVersions)
        .where(inArray(certificateId, [...certificateIds]))
        .groupBy(certificateId)
      return new Map(rows.flatMap(({ certificateId: id, at }) => (at === null ? [] : [[id, at] as const])))
    },

    /** Notifications of one type about any of the certificates. */
    of: (query: Query | Tx, type: string, certificateIds: readonly string[]) =>
      query
        .select({
          certificateId: notifications.certificateId,
          channel: notifications.channel,
          message: notifications.message,
          createdAt: notifications.createdAt,
        })
        .from(notifications)
        .where(and(inArray(notifications.certificateId, [...certificateIds]), eq(notifications.type, type))),

    /** Audit events of these actions about any of the resources. */
    auditedOf: (query: Query | Tx, actions: readonly string[], resourceIds: readonly string[]) =>
      query
        .select({
          resourceId: auditEvents.resourceId,
          details: auditEvents.details,
          timestamp: auditEvents.timestamp,
        })
        .from(auditEvents)
        .where(and(inArray(auditEvents.resourceId, [...resourceIds]), inArray(auditEvents.action, [...actions]))),
  }
}

export type NotificationStore = ReturnType<typeof notificationStore>
