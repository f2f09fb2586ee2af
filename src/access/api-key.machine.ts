/** The states of a stored API key and every move between them. What is not listed is illegal. */
import type { ApiKey } from "./api-key.store"

export type KeyState = "active" | "disabled"

const moves: Readonly<Record<KeyState, readonly KeyState[]>> = {
  // active: rotated, another secret opens it from then on.
  active: ["active", "disabled"],
  disabled: [],
}

export const canMove = (from: KeyState, to: KeyState): boolean => moves[from].includes(to)

export const stateOf = ({ disabledAt }: Pick<ApiKey, "disabledAt">): KeyState =>
  disabledAt === null ? "active" : "disabled"
