/** The words of notifications: what happened, to which certificate, and what to do. Pure. */

const dayMs = 86_400_000
const hourMs = 3_600_000

interface Subject {
  readonly id: string
  readonly commonName: string
}

interface Dated extends Subject {
  readonly expiresAt: Date | null
  readonly now: Date
}

/** Base of links, without a trailing slash. */
interface Linked {
  readonly publicUrl: string
}

const minuteOf = (date: Date): string => `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`

const counted = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`

/** A span in the one unit that says enough: "6 days", "5 hours", "12 minutes". */
export const spanWords = (ms: number): string => {
  const span = Math.abs(ms)
  if (span >= 2 * dayMs) return counted(Math.floor(span / dayMs), "day")
  if (span >= 2 * hourMs) return counted(Math.floor(span / hourMs), "hour")
  return counted(Math.max(1, Math.floor(span / 60_000)), "minute")
}

const named = ({ id, commonName }: Subject): string => `Certificate ${commonName} (${id})`

const link = ({ publicUrl }: Linked, { id }: Subject): string => `${publicUrl}/certificates/${encodeURIComponent(id)}`

/** "expires in 6 days, on …", "expired 3 hours ago, on …", or that it was never issued. */
const remainder = ({ expiresAt, now }: Dated): string => {
  if (expiresAt === null) return "has not been issued yet"
  const ms = expiresAt.getTime() - now.getTime()
  return ms > 0
    ? `expires in ${spanWords(ms)}, on ${minuteOf(expiresAt)}`
    : `expired ${spanWords(ms)} ago, on ${minuteOf(expiresAt)}`
}

const lines = (...texts: readonly (string | null)[]): string => texts.filter((text) => text !== null).join("\n")

export const expiryMessage = (
  facts: Dated &
    Linked & {
      readonly autoRenew: boolean
      readonly isOverdue: boolean
      readonly renewAt: Date | null
      readonly source: string
    },
): string => {
  const advice = ["EST", "SCEP", "ACME"].includes(facts.source)
    ? `It came by ${facts.source}, and its client renews it: look at that client.`
    : !facts.autoRenew
      ? "Its policy does not renew by itself: start the renewal, or approve the one that waits."
      : facts.isOverdue && facts.renewAt !== null
        ? `It was to be renewed from ${minuteOf(facts.renewAt)} on, and was not: its jobs say why.`
        : "It is to be renewed by certctl; check that an agent serves it and that its issuer answers."
  return lines(`${named(facts)} ${remainder(facts)}.`, advice, link(facts, facts))
}

/** What to do about a reason, as far as the reason shows it. */
const adviceFor = (reason: string): string => {
  const text = reason.toLowerCase()
  if (/\b(401|403)\b|auth|denied|forbidden|credential|token/.test(text))
    return "Check the issuer's credentials and rights."
  if (/429|rate.?limit|too many/.test(text))
    return "The CA limits requests; wait, or move certificates to another issuer."
  if (/timeout|timed out|refused|resolve|network|unreachable|econn/.test(text)) {
    return "Check that the issuer can be reached: run the test of its connection."
  }
  if (/csr_timeout|awaitingcsr|agent/.test(text)) return "Check that the agent runs and can reach this server."
  if (/approv/.test(text)) return "Somebody has to approve the job before it runs."
  if (/profile|san|key type|key size|csr/.test(text)) return "Compare the certificate's names and key with its profile."
  return "See the job for the whole story."
}

export const renewalFailureMessage = (
  facts: Dated & Linked & { readonly reason: string; readonly isLastCall: boolean },
): string =>
  lines(
    facts.expiresAt === null
      ? `${named(facts)} could not be issued.`
      : `${named(facts)} could not be renewed; the one in use ${remainder(facts)}.`,
    `Reason: ${facts.reason || "none was given"}`,
    adviceFor(facts.reason),
    facts.isLastCall
      ? "Little time is left: if this cannot be repaired at once, issue from another issuer now."
      : "certctl goes on trying by itself.",
    link(facts, facts),
  )

export const renewalSuccessMessage = (facts: Dated & Linked): string =>
  lines(`${named(facts)} was renewed; it now ${remainder(facts)}.`, link(facts, facts))

export const deploymentSuccessMessage = (facts: Subject & Linked & { readonly targetName: string }): string =>
  lines(`${named(facts)} was deployed to ${facts.targetName}.`, link(facts, facts))

export const deploymentFailureMessage = (
  facts: Dated & Linked & { readonly targetName: string; readonly reason: string },
): string =>
  lines(
    `${named(facts)} could not be deployed to ${facts.targetName}; it ${remainder(facts)}.`,
    `Reason: ${facts.reason || "none was given"}`,
    "The previous certificate stays in place. Repair the target, then deploy again from the certificate's page.",
    link(facts, facts),
  )

export const violationMessage = (
  facts: Subject & Linked & { readonly ruleName: string; readonly violation: string },
): string =>
  lines(
    `${named(facts)} violates the policy rule ${facts.ruleName}: ${facts.violation}`,
    "Change the certificate, or the rule.",
    link(facts, facts),
  )

export const revocationMessage = (
  facts: Subject & Linked & { readonly reason: string; readonly actor: string },
): string =>
  lines(
    `${named(facts)} was revoked by ${facts.actor}; reason: ${facts.reason}.`,
    "Where it is still served, clients will refuse it: replace it there.",
    link(facts, facts),
  )

const counts = (n: number): string => (n === 1 ? "once" : `${n} times in a row`)

/** Of an endpoint that is watched; machines know it by its first word. */
export const healthMessage = (
  facts: Linked & {
    readonly certificateId: string | null
    readonly endpoint: string
    readonly commonName: string | null
    readonly status: string
    readonly consecutiveFailures: number
    readonly failureReason: string
    readonly expectedFingerprint: string
    readonly observedFingerprint: string
  },
): string => {
  const what = `${facts.endpoint}${facts.commonName === null ? "" : ` (${facts.commonName})`}`
  const [happened, advice] =
    facts.status === "healthy"
      ? [`${what} is healthy again.`, null]
      : facts.status === "cert_mismatch"
        ? [
            `${what} serves another certificate than it should.`,
            `Served is ${facts.observedFingerprint}, expected ${facts.expectedFingerprint}: deploy again, or reload the service.`,
          ]
        : [
            `${what} is ${facts.status}: it did not answer ${counts(facts.consecutiveFailures)}.`,
            `Reason: ${facts.failureReason || "none was given"}`,
          ]
  const page = facts.certificateId === null ? "" : `/certificates/${encodeURIComponent(facts.certificateId)}`
  return lines(`[health] ${happened}`, advice, `${facts.publicUrl}${page}`)
}
