/** One sentence that says how a certificate stands, from what was seen and what is planned; worst fact first. */
import type { RenewalOutlook, TargetEvidence } from "../pages/views"
import type { Tone } from "./badge"
import { dateText, relativeText } from "./time"

export interface Standing {
  readonly status: string
  readonly expiresAt: Date | null
  readonly renewal: RenewalOutlook
  readonly targets: readonly TargetEvidence[]
  readonly revokedAt: Date | null
  /** The open job that issues or renews it, if any. */
  readonly openJob: { readonly status: string; readonly agentName: string | null } | null
  /** Failed attempts since the last success. */
  readonly failedAttempts: number
}

export interface Headline {
  readonly tone: Tone
  readonly sentence: string
}

const DAY = 86_400_000

const renewalClause = (renewal: RenewalOutlook, now: Date): string => {
  switch (renewal.kind) {
    case "automatic":
      return renewal.at.getTime() <= now.getTime() ? "renewal is due now" : `renews ${dateText(renewal.at, now)}`
    case "approval":
      return `renews ${dateText(renewal.at, now)} once somebody approves`
    case "manual":
      return "renews only by hand"
    case "client":
      return `renewed by its ${renewal.protocol} client`
    case "none":
      return ""
  }
}

const waitingFor = ({ status, agentName }: NonNullable<Standing["openJob"]>): string => {
  if (status === "AwaitingApproval") return "waiting for somebody to approve it"
  if (status === "AwaitingCSR") return `waiting for ${agentName ?? "the agent"} to make a key`
  return status === "Running" ? "in progress" : "queued"
}

const of = (count: number, all: number, noun = "target"): string => `${count} of ${all} ${noun}${all === 1 ? "" : "s"}`

const proof = (targets: readonly TargetEvidence[]): { tone: Tone; words: string } => {
  const active = targets.filter(({ target }) => !target.retired)
  if (active.length === 0) return { tone: "neutral", words: "Issued, but no target is mapped" }
  const verified = active.filter(
    ({ served, trusted }) => served.state === "confirmed" && (trusted === null || trusted.state === "confirmed"),
  ).length
  const served = active.filter((entry) => entry.served.state === "confirmed").length
  const delivered = active.filter((entry) => entry.delivered.state === "confirmed").length
  if (verified === active.length)
    return { tone: "good", words: `Served and verified on ${of(verified, active.length)}` }
  const outdated = active.filter((entry) => entry.served.state === "outdated").length
  if (outdated > 0) {
    return { tone: "attention", words: `An earlier version is still served on ${of(outdated, active.length)}` }
  }
  if (served > 0)
    return {
      tone: served === active.length ? "good" : "neutral",
      words: `Served on ${of(served, active.length)}, verified on ${verified}`,
    }
  if (delivered > 0)
    return { tone: "neutral", words: `Delivered to ${of(delivered, active.length)}, not seen served lately` }
  return {
    tone: "neutral",
    words: `Not seen lately on ${active.length === 1 ? "its target" : `any of ${active.length} targets`}`,
  }
}

const sentenceOf = (...clauses: readonly string[]): string => `${clauses.filter((clause) => clause !== "").join(", ")}.`

export const headlineOf = (standing: Standing, now: Date): Headline => {
  const { status, expiresAt, renewal, targets, openJob, failedAttempts } = standing
  if (status === "Archived") return { tone: "neutral", sentence: "Archived: no longer renewed or deployed." }
  if (status === "Revoked") {
    return {
      tone: "revoked",
      sentence:
        standing.revokedAt === null
          ? "Revoked."
          : `Revoked ${relativeText(standing.revokedAt, now)}, on ${dateText(standing.revokedAt, now)}.`,
    }
  }
  if (expiresAt === null) {
    if (openJob !== null)
      return { tone: "progress", sentence: `Not issued yet: the first issuance is ${waitingFor(openJob)}.` }
    if (failedAttempts > 0) return { tone: "bad", sentence: "Not issued: the first issuance failed." }
    return { tone: "attention", sentence: "Not issued yet: nothing has asked the issuer for it." }
  }
  const left = expiresAt.getTime() - now.getTime()
  const seen = proof(targets)
  if (left <= 0) {
    const still = targets.filter(({ served }) => served.state === "confirmed").length
    const where = still === 0 ? "" : `still served on ${of(still, targets.length)}`
    return {
      tone: "bad",
      sentence: sentenceOf(
        `Expired ${relativeText(expiresAt, now)}`,
        where,
        openJob === null ? "" : `renewal is ${waitingFor(openJob)}`,
      ),
    }
  }
  const differing = targets.filter(({ delivered, served, trusted }) =>
    [delivered, served, trusted].some((seen) => seen?.state === "mismatch"),
  )
  const [odd] = differing
  if (odd !== undefined) {
    const where = differing.length === 1 ? odd.target.name : of(differing.length, targets.length)
    const what =
      odd.served.state === "mismatch"
        ? "another certificate is served than the one deployed"
        : "what was seen contradicts what was deployed"
    return { tone: "bad", sentence: sentenceOf(`On ${where}, ${what}`) }
  }
  if (openJob !== null)
    return {
      tone: "progress",
      sentence: sentenceOf(
        `Renewal is ${waitingFor(openJob)}`,
        `the present certificate is good until ${dateText(expiresAt, now)}`,
      ),
    }
  if (failedAttempts > 0) {
    return {
      tone: left < 7 * DAY ? "bad" : "attention",
      sentence: `Renewal failed ${failedAttempts === 1 ? "once" : `${failedAttempts} times`}; it expires ${relativeText(expiresAt, now)}, on ${dateText(expiresAt, now)}.`,
    }
  }
  if (renewal.kind === "manual" && left < 30 * DAY) {
    return {
      tone: left < 7 * DAY ? "bad" : "attention",
      sentence: `Expires ${relativeText(expiresAt, now)}, on ${dateText(expiresAt, now)}, and renews only by hand.`,
    }
  }
  return { tone: seen.tone, sentence: sentenceOf(seen.words, renewalClause(renewal, now)) }
}
