/** The end of a SCEP transaction that the client is told of. One place catches it, which counts and records it and answers. */
import type { FailInfo } from "../pki/scep"
import type { ScepCounter } from "./scep-profile"

const counters: Readonly<Record<FailInfo, ScepCounter>> = {
  badAlg: "bad_algorithm",
  badMessageCheck: "bad_message",
  badRequest: "bad_request",
  badTime: "bad_time",
  badCertId: "bad_certificate",
}

export class ScepRefusal extends Error {
  /** For the audit trail, which may say more than the message, which is for the client. */
  readonly reason: string
  readonly counter: ScepCounter

  constructor(
    readonly failInfo: FailInfo,
    message: string,
    more: { readonly reason?: string; readonly counter?: ScepCounter; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause })
    this.reason = more.reason ?? message
    this.counter = more.counter ?? counters[failInfo]
  }
}
