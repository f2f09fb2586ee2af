/** Primary keys that sort by age: new rows land at the end of the index, and a list ordered by id is in order of creation. */

import { randomBytes } from "node:crypto"

/** Crockford's base 32 in lower case: no letter that reads like a digit, and the same order in every collation. */
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
const timeLength = 10
const randomLength = 12

const encode = (value: bigint, length: number): string => {
  let text = ""
  for (let rest = value, place = 0; place < length; place += 1, rest >>= 5n) text = alphabet[Number(rest & 31n)] + text
  return text
}

const freshRandom = (): bigint => BigInt(`0x${randomBytes(8).toString("hex")}`) >> 5n

let lastTime = 0
let lastRandom = 0n

/**
 * `prefix` with its dash, then 22 characters: milliseconds and 60 bits, random at first and counted up within one millisecond,
 * so that ids of one process only ever grow, whatever the clock does. The time is for sorting only; rows have their own.
 */
export const newId = (prefix: string): string => {
  const now = Date.now()
  if (now > lastTime) {
    lastTime = now
    // The top bit stays clear: counting up would need 2^59 ids in one millisecond to overflow.
    lastRandom = freshRandom()
  } else {
    lastRandom += 1n
  }
  return prefix + encode(BigInt(lastTime), timeLength) + encode(lastRandom, randomLength)
}
