/** What tests of a resource's routes have in common. */
import { Hono } from "hono"
import type { Actor } from "../access/actor"
import { auditService } from "../audit/audit.service"
import { auditStore } from "../audit/audit.store"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { ApiEnv } from "../server/operation"
import { testApi } from "./api"

/** Every look at it is a second later, so that lists have one right order. */
export const tickingClock = (start = Date.UTC(2030, 0, 1)): Clock => {
  let ticks = 0
  return { now: () => new Date(start + 1000 * ticks++) }
}

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer is said in its assertions
  readonly body: any
}

/** Sends JSON to routes mounted under `base` and reads the answer's JSON; a null body is none. */
export const resourceApi = (base: string, routes: Hono<ApiEnv>, actor?: Actor) => {
  const app = testApi({ routes: new Hono<ApiEnv>().route(`/${base}`, routes).routes }, actor)
  return async (method: string, path: string, body?: object): Promise<Answer> => {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) }
    const answer = await app.request(`/api/v1/${base}${path}`, init)
    const text = await answer.text()
    return { status: answer.status, body: text === "" ? null : JSON.parse(text) }
  }
}

/** What most services are made of. */
export const serviceParts = (db: Db) => {
  const clock = tickingClock()
  const audit = auditService({ db, events: auditStore(db), clock })
  /** Actions recorded about a row, oldest first. */
  const actionsOn = async (resourceId: string): Promise<string[]> =>
    (await audit.list({ resourceId }, { page: 1, per_page: 50 })).rows.map(({ action }) => action).reverse()
  return { db, clock, audit, actionsOn }
}
