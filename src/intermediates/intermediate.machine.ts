/** The states of a CA in a hierarchy. Retiring ones sign nothing new; what they signed stays valid in every state. */

export const intermediateStates = ["active", "retiring", "retired"] as const
export type IntermediateState = (typeof intermediateStates)[number]

const moves: Readonly<Record<IntermediateState, readonly IntermediateState[]>> = {
  active: ["retiring"],
  retiring: ["retired"],
  retired: [],
}

export const canMove = (from: IntermediateState, to: IntermediateState): boolean => moves[from].includes(to)
