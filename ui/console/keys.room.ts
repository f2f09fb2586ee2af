/** API keys, for administrators. A key is in the answer that makes it: no redirect, so it is in no URL and in no second answer. */
import { Hono } from "hono"
import { ApiKeyBody } from "../../src/access/api-key.schema"
import type { ApiKeyService } from "../../src/access/api-key.service"
import { secretHash } from "../../src/access/secrets"
import { AppError } from "../../src/errors"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { confirmPage } from "../pages/confirm.page"
import { disableQuestion, keySections, keyShownPage, keysPage, rotateQuestion } from "../pages/keys.page"
import { resourceFormPage } from "../pages/resource-form.page"
import type { FieldErrors, FormValues } from "../parts/fields"
import { errorsOf } from "./field-errors"
import { allow, type ConsoleDeps, formOf, frameOf, listOf, type PageContext, page, redirect } from "./room"

type ApiKey = Awaited<ReturnType<ApiKeyService["get"]>>

const upToList = { label: "API keys", href: "/keys" }
const fields = ["name", "role", "principal"] as const

/** Changes whenever the key does, and tells nothing about it. */
const markOf = ({ hash }: ApiKey): string => secretHash(`rotation of ${hash}`).slice(0, 16)

export const keysRoom = (deps: ConsoleDeps) => {
  const { keys } = deps

  const form = async (
    c: PageContext,
    shown: { values: FormValues; errors: FieldErrors },
    status: 200 | 400 | 409 = 200,
  ) =>
    page(
      c,
      resourceFormPage({
        frame: await frameOf(deps, c),
        title: "New API key",
        up: upToList,
        action: "/keys/new",
        submit: "Create key",
        sections: keySections,
        ...shown,
      }),
      status,
    )

  const shownOnce = async (c: PageContext, made: { row: ApiKey; key: string }, isRotated: boolean) => {
    c.header("cache-control", "no-store")
    const { name, role } = made.row
    return page(c, keyShownPage({ frame: await frameOf(deps, c), name, role, key: made.key, isRotated }))
  }

  return new Hono<ApiEnv>()
    .get("/keys", async (c) => {
      allow(c, "admin")
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        keys.list({ search: state.params.q }, range),
      ])
      // Never more of a row than is shown: the hash stays here.
      const shown = rows.map(({ hash: _, ...row }) => row)
      return page(c, keysPage({ frame, state, paging: { page: number, pageSize, total }, rows: shown }))
    })
    .get("/keys/new", (c) => {
      allow(c, "admin")
      return form(c, { values: { role: "viewer" }, errors: {} })
    })
    .post("/keys/new", async (c) => {
      allow(c, "admin")
      const submitted = await formOf(c)
      const values = Object.fromEntries(fields.map((name) => [name, submitted.text(name)]))
      try {
        const { principal, ...rest } = values
        const body = await parseInput(ApiKeyBody, principal === "" ? rest : values, "form")
        return await shownOnce(c, await keys.create(body, c.get("actor")), false)
      } catch (error) {
        if (!(error instanceof AppError) || (error.code !== "validation" && error.code !== "conflict")) throw error
        const errors = errorsOf(error, fields, "name")
        return form(c, { values, errors }, error.code === "conflict" ? 409 : 400)
      }
    })
    .get("/keys/:id/rotate", async (c) => {
      allow(c, "admin")
      const key = await keys.get(c.req.param("id"))
      return page(c, confirmPage(await frameOf(deps, c), rotateQuestion(key, markOf(key)), upToList))
    })
    .post("/keys/:id/rotate", async (c) => {
      allow(c, "admin")
      const key = await keys.get(c.req.param("id"))
      const seen = (await formOf(c)).text("seen")
      if (seen !== markOf(key)) {
        const error = "It was rotated since this form was made. Rotate it again only if the new key was lost."
        return page(c, confirmPage(await frameOf(deps, c), rotateQuestion(key, markOf(key), error), upToList), 409)
      }
      return shownOnce(c, await keys.rotate(key.id, c.get("actor")), true)
    })
    .get("/keys/:id/disable", async (c) => {
      allow(c, "admin")
      const key = await keys.get(c.req.param("id"))
      return page(c, confirmPage(await frameOf(deps, c), disableQuestion(key), upToList))
    })
    .post("/keys/:id/disable", async (c) => {
      allow(c, "admin")
      await keys.disable(c.req.param("id"), c.get("actor"))
      return redirect(c, "/keys", { key: "disabled" })
    })
}
