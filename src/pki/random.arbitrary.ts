/** Random names, keys and bytes for the property tests of this folder. */
import type { KeyObject } from "node:crypto"
import fc from "fast-check"
import { generateKey, type KeyType } from "./keys"
import { ipText } from "./names"

const labelCharacters = [..."abcdefghijklmnopqrstuvwxyzABCDEFXYZ0123456789_-"]
export const label = fc
  .array(fc.constantFrom(...labelCharacters), { minLength: 1, maxLength: 20 })
  .map((characters) => characters.join(""))
  .filter((text) => !text.startsWith("-") && !text.endsWith("-") && /[a-z]/i.test(text))

export const hostname = fc
  .tuple(fc.constantFrom("", "", "*."), fc.array(label, { minLength: 1, maxLength: 5 }))
  .map(([star, labels]) => star + labels.join("."))

export const ipAddress = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => ipText(bytes) ?? "")

export const email = fc.tuple(label, label, label).map(([user, host, top]) => `${user}@${host}.${top}`)
export const uri = fc.tuple(label, label).map(([host, path]) => `spiffe://${host.toLowerCase()}/${path}`)

export const sanText = fc.oneof(hostname, ipAddress, email, uri)

/** Any subject text that is free of deceptive characters: ASCII punctuation, umlauts, other scripts. */
export const subjectText = fc
  .array(fc.oneof(fc.constantFrom(...'abcXYZ019 .,+"\\<>;=#/*@_-'), fc.constantFrom(..."äöüéßłŻ")), {
    minLength: 1,
    maxLength: 60,
  })
  .map((characters) => characters.join(""))

/** Moments that X.509 can say, on both sides of the change from UTCTime to GeneralizedTime. */
export const moment = fc
  .integer({ min: Date.UTC(1950, 0, 1) / 1000, max: Date.UTC(2120, 0, 1) / 1000 })
  .map((seconds) => new Date(seconds * 1000))

const keyPool = new Map<KeyType, Promise<KeyObject>>()

/** One key of each type for the whole run: making them is what takes long. */
export const sharedKey = (type: KeyType): Promise<KeyObject> => {
  const known = keyPool.get(type)
  if (known !== undefined) return known
  const made = generateKey(type)
  keyPool.set(type, made)
  return made
}

/** Bytes of a good structure with some of them changed, dropped or repeated. */
export const damaged = (good: Buffer): fc.Arbitrary<Buffer> =>
  fc
    .array(
      fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), fc.constantFrom("set", "drop", "insert")),
      {
        minLength: 1,
        maxLength: 6,
      },
    )
    .map((changes) => {
      const bytes = [...good]
      for (const [at, value, change] of changes) {
        if (change === "set") bytes[at % bytes.length] = value
        else bytes.splice(at % bytes.length, change === "drop" ? 1 : 0, ...(change === "insert" ? [value] : []))
      }
      return Buffer.from(bytes)
    })
