/** Primary keys that sort by age: new rows land at the end of the index, and a list ordered by id is in order of creation. */

import { randomBytes } from "node:crypto"

/** Crockford's base 32 in lower case: no letter that reads like a digit, and the same order in every collation. */
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
const timeLength = 10

/** The last `length` digits of a safe integer. */
const encode = (value: number, length: number): string => {
  let text = ""
  for (let rest = value, place = 0; place < length; place += 1, rest = Math.floor(rest / 32)) {
    text = `${alphabet[rest % 32]}${text}`
  }
  return text
}

// Six digits each: together they are more than a number holds exactly.
const half = 32 ** 6

let lastTime = 0
let timeText = ""
let upper = 0
let upperText = ""
let lower = 0

const setUpper = (value: number): void => {
  upper = value
  upperText = encode(value, 6)
}

/**
 * `prefix` with its dash, then 22 characters: milliseconds and 60 bits, random at first and counted up within one millisecond,
 * so that ids of one process only ever grow, whatever the clock does. The time is for sorting only; rows have their own.
 */
export const newId = (prefix: string): string => {
  const now = Date.now()
  if (now > lastTime) {
    lastTime = now
    timeText = encode(now, timeLength)
    const bytes = randomBytes(8)
    // The top bit stays clear: counting up would need 2^59 ids in one millisecond to overflow.
    setUpper(bytes.readUInt32BE(0) % (half / 2))
    lower = bytes.readUInt32BE(4) % half
  } else {
    lower += 1
    if (lower === half) {
      lower = 0
      setUpper(upper + 1)
    }
  }
  return prefix + timeText + upperText + encode(lower, 6)
}
