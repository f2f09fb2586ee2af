import { describe, expect, test } from "bun:test"
import { fieldsOf, parseConfig } from "../config"
import { issuerDefinition, issuerDefinitions } from "./catalog"

test("types and aliases are unique", () => {
  const names = issuerDefinitions.flatMap(({ type, aliases }) => [type, ...aliases].map((name) => name.toLowerCase()))
  expect(new Set(names).size).toBe(names.length)
})

test("an unknown type is refused with the names of those there are", () => {
  expect(() => issuerDefinition("Nonsense")).toThrow(/^type must be one of .*GenericCA/)
})

test.each(["local", "LOCAL_CA", "genericca", "GenericCA"])("%s means the local CA", (name) => {
  expect(issuerDefinition(name).type).toBe("GenericCA")
})

describe.each(issuerDefinitions.map((definition) => [definition.type, definition] as const))(
  "%s",
  (_type, definition) => {
    test("takes its own example", () => {
      expect(() => parseConfig(definition.config, definition.example)).not.toThrow()
    })

    test("has words for every field", () => {
      for (const { key, title, description } of fieldsOf(definition.config)) {
        expect([key, title]).not.toEqual([key, ""])
        expect([key, description]).not.toEqual([key, ""])
      }
    })
  },
)
