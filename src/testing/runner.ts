/** Other people's programs in a journey, each run to its end. */
import type { Stage } from "./stage"

export type Runner = (
  argv: readonly [string, ...string[]],
  env?: Record<string, string>,
  expected?: number,
) => Promise<string>

/**
 * Resolves with what the program printed to standard output, or rejects with all of it when it ended otherwise than `expected`:
 * 0, or anything else for some failure, which resolves with all of its output.
 */
export const runner = (here: Stage): Runner => {
  let runs = 0
  return async (
    argv: readonly [string, ...string[]],
    env: Record<string, string> = {},
    expected = 0,
  ): Promise<string> => {
    const program = here.run(argv, { env, name: `client-${++runs}` })
    const code = await program.exited
    const text = program.stdout() + program.stderr()
    if ((code === 0) !== (expected === 0)) throw new Error(`${argv[0]} ended with ${code}: ${text}`)
    return expected === 0 ? program.stdout() : text
  }
}
