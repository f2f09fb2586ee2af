/** What an agent's CSR is judged by. CSRs that come at about the same time are looked up with the same few reads. */
import type { Db } from "../db/db"
import { gathering } from "../db/gathering"
import { isIssuing } from "../jobs/job.machine"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { CertificateRow } from "./certificate.store"
import type { DueStore } from "./due.store"
import type { ServingStore } from "./serving.store"
import { type OpenIssuer, type Subject, subjectBy } from "./signing.service"

interface Deps {
  db: Pick<Db, "read">
  jobs: Pick<JobStore, "liveOfAll">
  serving: Pick<ServingStore, "mappedAgents">
  due: Pick<DueStore, "rows" | "rulesOf">
  openIssuer: (issuerId: string) => Promise<OpenIssuer>
}

interface Asked {
  readonly certificateId: string
  readonly agentId: string
}

export interface Found {
  readonly certificate: CertificateRow
  readonly subject: Subject
  /** One of the agent's targets is mapped: see `ServingStore.isMapped`. */
  readonly isMapped: boolean
  /** The job that waits for a CSR of this agent; else the one that waits for any. */
  readonly job: JobRow | null
  /** Opened once for all CSRs of a set. Rejects where it cannot be. */
  readonly openIssuer: () => Promise<OpenIssuer>
}

/** Few enough that those who ask for something else get their turn. */
const most = 64

const waitingFor = (agentId: string, jobs: readonly JobRow[]): JobRow | null => {
  const waiting = jobs.filter(({ type, status }) => isIssuing(type) && status === "AwaitingCSR")
  const own = waiting.find((job) => job.agentId === agentId)
  return own ?? waiting.find((job) => job.agentId === null) ?? null
}

/** A function that answers for one CSR; null where there is no such certificate. */
export const csrLookup = ({ db, jobs, serving, due, openIssuer }: Deps): ((asked: Asked) => Promise<Found | null>) => {
  const work = async (set: readonly Asked[]): Promise<(Found | null)[]> => {
    const ids = [...new Set(set.map(({ certificateId }) => certificateId))]
    const certificates = new Map((await due.rows(ids)).map((row) => [row.id, row]))
    const rulesFor = await due.rulesOf(db.read, [...certificates.values()])
    const mapped = await serving.mappedAgents(ids)
    const jobsOf = Map.groupBy(await jobs.liveOfAll(db.read, ids), ({ certificateId }) => certificateId)
    const opened = new Map<string, Promise<OpenIssuer>>()
    const opening = (issuerId: string): Promise<OpenIssuer> => {
      const issuer = opened.get(issuerId) ?? openIssuer(issuerId)
      opened.set(issuerId, issuer)
      return issuer
    }
    return set.map(({ certificateId, agentId }) => {
      const certificate = certificates.get(certificateId)
      if (certificate === undefined) return null
      return {
        certificate,
        subject: subjectBy(certificate, rulesFor(certificate)),
        isMapped: mapped.get(certificateId)?.has(agentId) === true,
        job: waitingFor(agentId, jobsOf.get(certificateId) ?? []),
        openIssuer: () => opening(certificate.issuerId),
      }
    })
  }
  return gathering({ most, parallel: 2, work })
}
