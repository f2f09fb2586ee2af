/** Making, changing and deleting by forms: the same for everything that a resource describes. */
import { Hono } from "hono"
import type { Actor } from "../../src/access/actor"
import { mask } from "../../src/connectors/stored-config"
import { AppError } from "../../src/errors"
import type { ApiEnv, OperationRole } from "../../src/server/operation"
import { confirmPage } from "../pages/confirm.page"
import { chooseKindPage, type Kind, resourceFormPage } from "../pages/resource-form.page"
import type { Question } from "../parts/confirm"
import { type FieldErrors, type FormSection, type FormValues, fieldsOfSections } from "../parts/fields"
import type { Markup } from "../parts/markup"
import { errorsOf } from "./field-errors"
import {
  allow,
  type ConsoleDeps,
  formOf,
  frameOf,
  type Gate,
  type PageContext,
  page,
  pageBefore,
  queryOf,
  redirect,
} from "./room"

type Form = Awaited<ReturnType<typeof formOf>>

/** A submitted form, read by the kind of value that a field holds. */
export const typedOf = (form: Form) => ({
  ...form,
  isTicked: (name: string): boolean => form.text(name) === "true",
  /** NaN where nothing, or no number, was typed: the schema says so. */
  number: (name: string): number => (form.text(name) === "" ? Number.NaN : Number(form.text(name))),
  /** One entry per line; commas separate too. */
  lines: (name: string): string[] =>
    form
      .text(name)
      .split(/[\r\n,]+/)
      .map((line) => line.trim())
      .filter((line) => line !== ""),
})

export type Typed = ReturnType<typeof typedOf>

/** A stored row as its form shows it. */
export interface Stored {
  readonly name: string
  /** "" where there is only one kind. */
  readonly kind: string
  readonly values: FormValues
}

export interface Resource {
  /** `/teams`. */
  readonly path: string
  /** "team". */
  readonly noun: string
  /** The list's name: "Teams". */
  readonly label: string
  readonly gate: Gate
  /** Where the form depends on a type that is chosen first and kept. */
  readonly kinds?: readonly Kind[]
  /** @param stored what is changed; null while it is being made */
  readonly sections: (kind: string, stored: Stored | null) => Promise<readonly FormSection[]>
  /** What a new form starts with. */
  readonly preset?: (kind: string) => FormValues | Promise<FormValues>
  /** Throws `not_found`. */
  readonly find: (id: string) => Promise<Stored>
  /** Returns the id. */
  readonly create: (typed: Typed, kind: string, actor: Actor) => Promise<string>
  readonly update: (id: string, typed: Typed, stored: Stored, actor: Actor) => Promise<unknown>
  readonly remove: (id: string, actor: Actor) => Promise<unknown>
  /** What deleting it means, in sentences. */
  readonly removal: (id: string) => Markup
  /** Turns it on or off, where that can be done. */
  readonly enable?: (id: string, enabled: boolean, actor: Actor) => Promise<unknown>
  /** Whether a single row has a page of its own, below `path`. */
  readonly hasPage: boolean
  /** The field that a taken name is about. */
  readonly conflictField?: string
  /** Fields of the form that stand for wire fields of another name. */
  readonly fieldOf?: Readonly<Record<string, string>>
}

const isRefusal = (error: unknown): error is AppError =>
  error instanceof AppError && error.status < 500 && !["not_found", "forbidden", "unauthenticated"].includes(error.code)

/** What was typed, as the form shows it again: everything but secrets. */
const typedAgain = (form: Form, sections: readonly FormSection[]): FormValues =>
  Object.fromEntries(
    fieldsOfSections(sections).map(({ name, kind }) => [
      name,
      kind === "secret" ? unlessTyped(form.text(name)) : kind === "ticks" ? form.texts(name) : form.text(name),
    ]),
  )

/** The mask stands for what is stored; everything else is a secret that was just typed. */
const unlessTyped = (secret: string): string => (secret === mask ? mask : "")

/** What is asked before it is deleted: on a page of its own, or in place on its own page. */
export const deletionOf = ({ path, noun, removal }: Resource, id: string, name: string, error?: string): Question => ({
  id: "ask-delete",
  title: `Delete ${name}?`,
  text: removal(id),
  action: `${path}/${encodeURIComponent(id)}/delete`,
  confirmLabel: `Delete ${noun}`,
  danger: true,
  ...(error === undefined ? {} : { error }),
})

/** `GET /new`, `GET /:id/edit`, `GET /:id/delete` and the posts behind them. */
export const resourceForms = (deps: ConsoleDeps, resource: Resource) => {
  const { path, noun, label, gate, kinds, conflictField = "name", fieldOf = {} } = resource
  const upToList = { label, href: path }
  const pageOf = (id: string) => (resource.hasPage ? `${path}/${encodeURIComponent(id)}` : path)
  const demandRight = (c: PageContext) => allow(c, gate.role, gate)

  const kindLabel = (kind: string) => kinds?.find(({ type }) => type === kind)?.label

  const newForm = async (
    c: PageContext,
    kind: string,
    shown: { values: FormValues; errors: FieldErrors; sections: readonly FormSection[] },
    status: 200 | 400 | 409 = 200,
  ) => {
    const words = kindLabel(kind)
    return page(
      c,
      resourceFormPage({
        frame: await frameOf(deps, c),
        title: words === undefined ? `New ${noun}` : `New ${noun}: ${words}`,
        up: upToList,
        action: `${path}/new`,
        submit: `Create ${noun}`,
        ...(kind === "" ? {} : { fixed: { type: kind } }),
        ...shown,
      }),
      status,
    )
  }

  const editForm = async (
    c: PageContext,
    id: string,
    stored: Stored,
    shown: { values: FormValues; errors: FieldErrors; sections: readonly FormSection[] },
    status: 200 | 400 | 409 = 200,
  ) =>
    page(
      c,
      resourceFormPage({
        frame: await frameOf(deps, c),
        title: `Edit ${stored.name}`,
        up: resource.hasPage ? { label: stored.name, href: pageOf(id) } : upToList,
        action: `${path}/${encodeURIComponent(id)}/edit`,
        submit: "Save changes",
        ...shown,
      }),
      status,
    )

  const renamed = (message: string): string =>
    message
      .split("; ")
      .map((part) => part.replace(/^\w+/, (field) => fieldOf[field] ?? field))
      .join("; ")

  const errorsIn = (error: AppError, form: Form, sections: readonly FormSection[]): FieldErrors => {
    const fields = fieldsOfSections(sections)
    const typedSecrets = fields.filter(({ name, kind }) => kind === "secret" && !["", mask].includes(form.text(name)))
    const names = fields.map(({ name }) => name)
    return {
      // An empty field would remove the secret, so nobody may overlook that it is empty again.
      ...Object.fromEntries(typedSecrets.map(({ name }) => [name, "Type it again: a secret is not shown twice"])),
      ...errorsOf({ code: error.code, message: renamed(error.message) }, names, conflictField),
    }
  }
  const statusOf = (error: AppError) => (error.code === "conflict" ? 409 : 400)

  /** The known type; null where one has to be chosen first. */
  const kindIn = (given: string): string | null =>
    kinds === undefined ? "" : (kinds.find(({ type }) => type === given)?.type ?? null)

  const app = new Hono<ApiEnv>()
    .get(`${path}/new`, async (c) => {
      demandRight(c)
      const kind = kindIn(queryOf(c).get("type") ?? "")
      if (kind === null) {
        const choice = { title: `New ${noun}`, up: upToList, path: `${path}/new`, kinds: kinds ?? [] }
        return page(c, chooseKindPage({ frame: await frameOf(deps, c), ...choice }))
      }
      const sections = await resource.sections(kind, null)
      return newForm(c, kind, { sections, values: (await resource.preset?.(kind)) ?? {}, errors: {} })
    })
    .post(`${path}/new`, async (c) => {
      demandRight(c)
      const form = await formOf(c)
      const kind = kindIn(form.text("type"))
      if (kind === null)
        throw new AppError("validation", `type must be one of ${kinds?.map(({ type }) => type).join(", ")}`)
      try {
        const id = await resource.create(typedOf(form), kind, c.get("actor"))
        return redirect(c, pageOf(id), { key: "created" })
      } catch (error) {
        if (!isRefusal(error)) throw error
        const sections = await resource.sections(kind, null)
        const shown = { sections, values: typedAgain(form, sections), errors: errorsIn(error, form, sections) }
        return newForm(c, kind, shown, statusOf(error))
      }
    })
    .get(`${path}/:id/edit`, async (c) => {
      demandRight(c)
      const stored = await resource.find(c.req.param("id"))
      const sections = await resource.sections(stored.kind, stored)
      return editForm(c, c.req.param("id"), stored, { sections, values: stored.values, errors: {} })
    })
    .post(`${path}/:id/edit`, async (c) => {
      demandRight(c)
      const id = c.req.param("id")
      const stored = await resource.find(id)
      const form = await formOf(c)
      try {
        await resource.update(id, typedOf(form), stored, c.get("actor"))
        return redirect(c, pageOf(id), { key: "saved" })
      } catch (error) {
        if (!isRefusal(error)) throw error
        const sections = await resource.sections(stored.kind, stored)
        const shown = { sections, values: typedAgain(form, sections), errors: errorsIn(error, form, sections) }
        return editForm(c, id, stored, shown, statusOf(error))
      }
    })
    .get(`${path}/:id/delete`, async (c) => {
      demandRight(c)
      const id = c.req.param("id")
      const { name } = await resource.find(id)
      const up = resource.hasPage ? { label: name, href: pageOf(id) } : upToList
      return page(c, confirmPage(await frameOf(deps, c), deletionOf(resource, id, name), up))
    })
    .post(`${path}/:id/delete`, async (c) => {
      demandRight(c)
      const id = c.req.param("id")
      const { name } = await resource.find(id)
      try {
        await resource.remove(id, c.get("actor"))
        return redirect(c, path, { key: "deleted" })
      } catch (error) {
        if (!isRefusal(error)) throw error
        const up = resource.hasPage ? { label: name, href: pageOf(id) } : upToList
        const asked = deletionOf(
          resource,
          id,
          name,
          `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`,
        )
        return page(c, confirmPage(await frameOf(deps, c), asked, up), statusOf(error))
      }
    })

  const { enable } = resource
  if (enable === undefined) return app
  const turn = (enabled: boolean) => async (c: PageContext) => {
    demandRight(c)
    const id = c.req.param("id") ?? ""
    const form = await formOf(c)
    await enable(id, enabled, c.get("actor"))
    return redirect(c, pageBefore(c, form.text("back"), pageOf(id)), { key: enabled ? "enabled" : "disabled" })
  }
  return app.post(`${path}/:id/enable`, turn(true)).post(`${path}/:id/disable`, turn(false))
}

export const operators: { readonly role: OperationRole } = { role: "operator" }
