/** Waiting for a condition, in place of sleeping for a time that is too long here and too short there. */

/** Resolves once the condition holds; fails after thirty seconds, naming what never happened. A condition that asks a server wants more time between looks. */
export const until = async (
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 30_000,
  everyMs = 5,
): Promise<void> => {
  const end = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`did not happen within ${limitMs / 1000} s: ${what}`)
    await Bun.sleep(everyMs)
  }
}
