/** What is known of whether an issuer or a target can be used, and every move between. What is not listed is illegal. */
export type TestStatus = "untested" | "success" | "failed"

const moves: Readonly<Record<TestStatus, readonly TestStatus[]>> = {
  untested: ["success", "failed"],
  // untested: its settings were changed, so that the former outcome says nothing.
  success: ["failed", "untested"],
  failed: ["success", "untested"],
}

export const canMove = (from: TestStatus, to: TestStatus): boolean => moves[from].includes(to)

/** Details of an audit event; empty where nothing has changed. */
export const movedBetween = (from: TestStatus, to: TestStatus): { from?: TestStatus; to?: TestStatus } =>
  canMove(from, to) ? { from, to } : {}
