/** The states of RFC 8555 section 7.1.6 and every move between them. What is not listed is illegal. */
import type { accountStatuses, authorizationStatuses, challengeStatuses, orderStatuses } from "../db/tables/acme.tables"

export type AccountStatus = (typeof accountStatuses)[number]
export type OrderStatus = (typeof orderStatuses)[number]
export type AuthorizationStatus = (typeof authorizationStatuses)[number]
export type ChallengeStatus = (typeof challengeStatuses)[number]

type Moves<S extends string> = Readonly<Record<S, readonly S[]>>

export const accountMoves: Moves<AccountStatus> = {
  // Revoked: by the server's administrator; deactivated: by the client.
  valid: ["deactivated", "revoked"],
  deactivated: [],
  revoked: [],
}

export const orderMoves: Moves<OrderStatus> = {
  pending: ["ready", "invalid"],
  ready: ["processing", "invalid"],
  processing: ["valid", "invalid"],
  valid: [],
  invalid: [],
}

export const authorizationMoves: Moves<AuthorizationStatus> = {
  pending: ["valid", "invalid", "deactivated", "expired"],
  valid: ["deactivated", "expired", "revoked"],
  invalid: [],
  deactivated: [],
  expired: [],
  revoked: [],
}

export const challengeMoves: Moves<ChallengeStatus> = {
  pending: ["processing"],
  processing: ["valid", "invalid"],
  valid: [],
  invalid: [],
}

/** Those that a move to `to` starts from. */
export const sourcesOf = <S extends string>(moves: Moves<S>, to: S): S[] =>
  (Object.keys(moves) as S[]).filter((from) => moves[from].includes(to))

/** An order that holds one of its account's places. */
export const openOrderStatuses = ["pending", "ready", "processing"] as const satisfies readonly OrderStatus[]
