/** Metrics of approvals, counted from the rows when they are asked for: the same on every server, and after a restart. */
import { Counter, Histogram, type Registry } from "prom-client"
import type { ApprovalService } from "./approval.service"

interface Deps {
  readonly registry: Registry
  readonly approvals: Pick<ApprovalService, "decisions" | "ages">
}

const ageBuckets = [60, 300, 1800, 3600, 21_600, 86_400]

type Ages = Awaited<ReturnType<ApprovalService["ages"]>>

/** A histogram whose buckets are read whole. The library's own only takes observations, one by one. */
class ReadHistogram extends Histogram<"le"> {
  readonly #facts: { readonly name: string; readonly help: string; readonly registers: Registry[] }
  readonly #read: () => Promise<Ages>

  constructor(facts: { name: string; help: string; registers: Registry[] }, read: () => Promise<Ages>) {
    super({ ...facts, buckets: ageBuckets })
    this.#facts = facts
    this.#read = read
  }

  /** What the library makes its text of, and `get` too; it leaves the method out of its types. */
  async getForPromString() {
    const { name, help } = this.#facts
    const { count, sumSeconds, atMost } = await this.#read()
    const bucket = (le: number | string, value: number) => ({ metricName: `${name}_bucket`, labels: { le }, value })
    return {
      name,
      help,
      type: "histogram",
      aggregator: "sum",
      values: [
        ...ageBuckets.map((le, index) => bucket(le, atMost[index] ?? 0)),
        bucket("+Inf", count),
        { metricName: `${name}_sum`, labels: {}, value: sumSeconds },
        { metricName: `${name}_count`, labels: {}, value: count },
      ],
    }
  }
}

export const registerApprovalMetrics = ({ registry, approvals }: Deps): void => {
  new Counter({
    name: "certctl_approval_decisions_total",
    help: "Approval requests that are no longer pending",
    labelNames: ["outcome", "profile_id"],
    registers: [registry],
    async collect() {
      const decisions = await approvals.decisions()
      this.reset()
      for (const { state, profileId, isBypassed, count } of decisions) {
        this.inc({ outcome: isBypassed ? "bypassed" : state, profile_id: profileId }, count)
      }
    },
  })
  new ReadHistogram(
    {
      name: "certctl_approval_pending_age_seconds",
      help: "How long approval requests waited until they were decided or expired",
      registers: [registry],
    },
    () => approvals.ages(ageBuckets),
  )
}
