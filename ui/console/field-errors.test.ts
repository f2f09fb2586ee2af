import { expect, test } from "bun:test"
import { errorsOf, fieldErrors } from "./field-errors"

test("each complaint stands at its field, the rest at the form", () => {
  expect(fieldErrors("sans[0] must be a name; name is required; it is late", ["sans", "name"])).toEqual({
    sans: "Must be a name",
    name: "This is required",
    form: "It is late",
  })
})

test("a key of the configuration is found by its own name, by its path and by what holds it", () => {
  const fields = ["name", "config.addr", "config.verify"]
  expect(fieldErrors("addr must be a URL; config.verify.timeout must be a number", fields)).toEqual({
    "config.addr": "Must be a URL",
    "config.verify": "Must be a number",
  })
})

test("a taken name is about the name, and a reference about the field it names", () => {
  const fields = ["name", "team_id"]
  expect(errorsOf({ code: "conflict", message: "it exists already" }, fields, "name")).toEqual({
    name: "It exists already",
  })
  expect(errorsOf({ code: "bad_reference", message: "team_id must exist; there is no t-9" }, fields, "name")).toEqual({
    team_id: "Must exist; there is no t-9",
  })
  expect(errorsOf({ code: "invalid_state", message: "not now" }, fields, "name")).toEqual({ form: "Not now" })
})
