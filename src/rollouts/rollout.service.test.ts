import { describe, expect, test } from "bun:test"
import { type Place, wavesOfPolicy } from "./rollout.service"

const place = (targetId: string, given: Partial<Place> = {}): Place => ({
  targetId,
  targetName: targetId,
  agentId: "a-1",
  isAgentOnline: true,
  windows: null,
  isOneFirst: true,
  ...given,
})

describe("the waves of a certificate", () => {
  test("are one target and then all others, unless its policy wants them at once", () => {
    expect(wavesOfPolicy([place("t-1"), place("t-2"), place("t-3")])).toEqual([["t-1"], ["t-2", "t-3"]])
    const atOnce = { isOneFirst: false }
    expect(wavesOfPolicy([place("t-1", atOnce), place("t-2", atOnce)])).toEqual([["t-1", "t-2"]])
    expect(wavesOfPolicy([place("t-1")])).toEqual([["t-1"]])
    expect(wavesOfPolicy([])).toEqual([[]])
  })

  test("begin with a target whose agent is there", () => {
    const away = { isAgentOnline: false }
    expect(wavesOfPolicy([place("t-1", away), place("t-2"), place("t-3")])).toEqual([["t-2"], ["t-1", "t-3"]])
    expect(wavesOfPolicy([place("t-1", away), place("t-2", away)])).toEqual([["t-1"], ["t-2"]])
  })
})
