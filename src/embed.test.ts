import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync } from "node:fs"
import { assetUrl, embeddedFolder, nativeAddonPath } from "./embed"

describe("embedded files in a checkout", () => {
  test("are the migrations of both dialects", () => {
    for (const dialect of ["sqlite", "postgres"]) {
      expect(readdirSync(embeddedFolder("drizzle", dialect))).toContain("0000_init.sql")
    }
  })

  test("include the SQLite addon of this platform", () => {
    expect(existsSync(nativeAddonPath())).toBe(true)
  })

  test("keep the plain name of an asset that no build has hashed yet", () => {
    expect(assetUrl("not-built-yet.css")).toBe("/assets/not-built-yet.css")
  })
})
