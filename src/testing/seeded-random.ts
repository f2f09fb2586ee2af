/** Random numbers of a test that can be repeated: CERTCTL_TEST_SEED takes the seed that a failed run has printed. */

/** Numbers in [0, 1). mulberry32: small, and good enough to spread moments. */
export const seededRandom = (): { readonly seed: number; random(): number } => {
  const seed = Number(process.env.CERTCTL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
  let state = seed
  return {
    seed,
    random() {
      state = (state + 0x6d2b79f5) | 0
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
    },
  }
}
