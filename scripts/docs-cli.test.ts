/** The reference of the command line says what the command line says. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { cliReference, cliReferencePath } from "./docs-cli"

test("docs/reference/cli.md is what npm run docs writes", () => {
  expect(readFileSync(cliReferencePath, "utf8")).toBe(cliReference())
})
