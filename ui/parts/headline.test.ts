import { expect, test } from "bun:test"
import type { TargetEvidence } from "../pages/views"
import type { Evidence, EvidenceState } from "./evidence"
import { headlineOf, type Standing } from "./headline"

const now = new Date("2026-01-02T00:00:00Z")
const inDays = (days: number) => new Date(now.getTime() + days * 86_400_000)
const seen = (state: EvidenceState): Evidence => ({
  state,
  observedAt: state === "missing" ? null : now,
  observer: "edge-1",
  detail: "",
})

const target = (
  name: string,
  delivered: EvidenceState,
  served: EvidenceState,
  trusted: EvidenceState,
): TargetEvidence => ({
  target: { id: name, name, type: "NGINX", endpoint: null, retired: false },
  agent: null,
  delivered: seen(delivered),
  served: seen(served),
  trusted: seen(trusted),
  lastDeployment: null,
})
const proven = (name: string) => target(name, "confirmed", "confirmed", "confirmed")

const standing = (changes: Partial<Standing> = {}): Standing => ({
  status: "Active",
  expiresAt: inDays(40),
  renewal: { kind: "automatic", at: inDays(10) },
  targets: [proven("edge-1"), proven("edge-2")],
  revokedAt: null,
  openJob: null,
  failedAttempts: 0,
  ...changes,
})

const cases: readonly (readonly [name: string, standing: Standing, tone: string, sentence: string])[] = [
  ["proven everywhere", standing(), "good", "Served and verified on 2 of 2 targets, renews 12 Jan."],
  [
    "proven in part",
    standing({ targets: [proven("a"), target("b", "stale", "stale", "missing")] }),
    "neutral",
    "Served on 1 of 2 targets, verified on 1, renews 12 Jan.",
  ],
  [
    "only delivered",
    standing({ targets: [target("a", "confirmed", "missing", "missing")] }),
    "neutral",
    "Delivered to 1 of 1 target, not seen served lately, renews 12 Jan.",
  ],
  [
    "everything stale",
    standing({ targets: [target("a", "stale", "stale", "stale")] }),
    "neutral",
    "Not seen lately on its target, renews 12 Jan.",
  ],
  ["no target", standing({ targets: [] }), "neutral", "Issued, but no target is mapped, renews 12 Jan."],
  [
    "another certificate served",
    standing({ targets: [proven("a"), target("edge-2", "confirmed", "mismatch", "confirmed")] }),
    "bad",
    "On edge-2, another certificate is served than the one deployed.",
  ],
  [
    "renewal failing near the end",
    standing({ expiresAt: inDays(3), failedAttempts: 4 }),
    "bad",
    "Renewal failed 4 times; it expires in 3 days, on 5 Jan.",
  ],
  [
    "renewal failing early",
    standing({ failedAttempts: 1 }),
    "attention",
    "Renewal failed once; it expires in 40 days, on 11 Feb.",
  ],
  [
    "manual and near",
    standing({ expiresAt: inDays(20), renewal: { kind: "manual" } }),
    "attention",
    "Expires in 20 days, on 22 Jan, and renews only by hand.",
  ],
  [
    "expired and still served",
    standing({ expiresAt: inDays(-3) }),
    "bad",
    "Expired 3 days ago, still served on 2 of 2 targets.",
  ],
  [
    "renewing",
    standing({ openJob: { status: "AwaitingCSR", agentName: "edge-1" } }),
    "progress",
    "Renewal is waiting for edge-1 to make a key, the present certificate is good until 11 Feb.",
  ],
  [
    "never issued",
    standing({ expiresAt: null, targets: [] }),
    "attention",
    "Not issued yet: nothing has asked the issuer for it.",
  ],
  ["revoked", standing({ status: "Revoked", revokedAt: inDays(-2) }), "revoked", "Revoked 2 days ago, on 31 Dec 2025."],
]

for (const [name, input, tone, sentence] of cases) {
  test(`says how it stands: ${name}`, () => {
    expect(headlineOf(input, now)).toEqual({ tone: tone as never, sentence })
  })
}

test("is never green without a fresh observation of what is served", () => {
  const states: EvidenceState[] = ["stale", "missing", "mismatch"]
  for (const served of states)
    expect(headlineOf(standing({ targets: [target("a", "confirmed", served, "confirmed")] }), now).tone).not.toBe(
      "good",
    )
})
