import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import * as v from "valibot"
import { AppError } from "../errors"
import { parseInput } from "./validation"

const complaint = async (schema: v.GenericSchema, value: unknown): Promise<string> => {
  try {
    await parseInput(schema, value)
  } catch (error) {
    if (error instanceof AppError && error.code === "validation") return error.message
    throw error
  }
  return ""
}

const Body = v.object({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(5)),
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535))),
  role: v.optional(v.picklist(["admin", "viewer"])),
  tags: v.optional(v.array(v.string())),
  config: v.optional(v.object({ addr: v.pipe(v.string(), v.url()) })),
  host: v.optional(
    v.pipe(
      v.string(),
      v.check((text) => text !== "bad", "must be a host name"),
    ),
  ),
  enabled: v.optional(v.boolean()),
})

describe("complaints about input", () => {
  const table: [string, unknown, string][] = [
    ["a missing key", {}, "name is required"],
    ["an empty text where one is needed", { name: "" }, "name is required"],
    ["the wrong type", { name: 5 }, "name must be a string"],
    ["null", { name: null }, "name must be a string"],
    ["a text that is too long", { name: "sesame-open" }, "name must be at most 5 characters long"],
    ["a number out of range", { name: "a", port: 99999 }, "port must be at most 65535"],
    ["a fraction", { name: "a", port: 1.5 }, "port must be a whole number"],
    ["a boolean in quotes", { name: "a", enabled: "true" }, "enabled must be true or false"],
    ["an unknown choice", { name: "a", role: "king" }, "role must be one of admin, viewer"],
    ["no list", { name: "a", tags: "x" }, "tags must be a list"],
    ["an entry of a list", { name: "a", tags: ["x", 7] }, "tags[1] must be a string"],
    ["a nested key", { name: "a", config: {} }, "config.addr is required"],
    ["a nested form", { name: "a", config: { addr: "hunter2" } }, "config.addr must be a URL"],
    ["an author's own message", { name: "a", host: "bad" }, "host must be a host name"],
    ["several fields", { port: 0 }, "name is required; port must be at least 1"],
    ["a body that is no object", null, "request body must be an object"],
    ["a body that is a text", "x", "request body must be an object"],
  ]
  for (const [name, value, expected] of table) {
    test("no text has a NUL character, which PostgreSQL could not store", async () => {
      const schema = v.object({ names: v.array(v.string()) })
      for (const value of [{ names: ["a", "b\0"] }, { names: [], "\0": 1 }]) {
        expect(await parseInput(schema, value).catch((error: Error) => error.message)).toBe(
          "request body must not contain NUL characters",
        )
      }
    })

    test("a list is no object, however deep it stands", async () => {
      const schema = v.object({
        facts: v.nullish(v.object({ size: v.nullish(v.number()) })),
        rows: v.optional(v.array(v.record(v.string(), v.number()))),
      })
      const refused = (value: unknown) => parseInput(schema, value).catch((error: Error) => error.message)
      expect(await refused([])).toBe("request body must be an object")
      expect(await refused({ facts: ["a"] })).toBe("facts must be an object")
      expect(await refused({ rows: [{ a: 1 }, [2]] })).toBe("rows[1] must be an object")
      expect(await refused({ facts: null, rows: [] })).toEqual({ facts: null, rows: [] })
    })

    test(name, async () => expect(await complaint(Body, value)).toBe(expected))
  }

  test("unknown keys are ignored", async () => {
    expect(await parseInput(Body, { name: "a", extra: 1 })).toEqual({ name: "a" })
  })

  test("never repeat what was sent", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 8 }), async (secret) => {
        const value = `zq${secret}qz`
        const text = await complaint(Body, {
          name: value,
          role: value,
          tags: value,
          config: { addr: value },
          port: value,
        })
        expect(text).not.toContain(value)
      }),
      { numRuns: 50 },
    )
  })
})
