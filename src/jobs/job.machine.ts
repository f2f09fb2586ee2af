/** The states of a job and every move between them. What is not listed is illegal. */
import type { jobStatuses, jobTypes } from "../db/tables/job.tables"

export type JobStatus = (typeof jobStatuses)[number]
export type JobType = (typeof jobTypes)[number]

const moves: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  // Running: claimed. Failed: its target is gone.
  Pending: ["Running", "Failed", "Cancelled"],
  // Pending: approved. Failed: nobody decided in time.
  AwaitingApproval: ["Pending", "Failed", "Cancelled"],
  // Completed at once where the CA lives in this process, so that a crash leaves the job waiting.
  AwaitingCSR: ["Running", "Completed", "Failed", "Cancelled"],
  // AwaitingCSR: its agent makes the key; or the server that held the CSR died. Pending: that server made the key itself.
  Running: ["AwaitingCSR", "Pending", "Completed", "Failed", "Cancelled"],
  // Retried.
  Failed: ["Pending"],
  Completed: [],
  Cancelled: [],
}

export const canMove = (from: JobStatus, to: JobStatus): boolean => moves[from].includes(to)

/** Work that is neither done nor given up. A Failed job may still be retried: see `mayRetry`. */
export const openStatuses = [
  "Pending",
  "AwaitingCSR",
  "AwaitingApproval",
  "Running",
] as const satisfies readonly JobStatus[]

export const isOpen = (status: JobStatus): boolean => (openStatuses as readonly JobStatus[]).includes(status)

export const issuingTypes = ["Issuance", "Renewal"] as const satisfies readonly JobType[]

export const isIssuing = (type: JobType): boolean => (issuingTypes as readonly JobType[]).includes(type)

/** Whether the retry loop will take a Failed job up again. */
export const mayRetry = (job: { status: JobStatus; attempts: number; maxAttempts: number }): boolean =>
  job.status === "Failed" && job.attempts < job.maxAttempts

/** Whether a certificate is being issued by the job: it is open and needs no approval any more, or will be tried again. */
export const isUnderWay = (job: { type: JobType; status: JobStatus; attempts: number; maxAttempts: number }): boolean =>
  isIssuing(job.type) && ((isOpen(job.status) && job.status !== "AwaitingApproval") || mayRetry(job))
