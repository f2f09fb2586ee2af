/** Who goes first where the database is busy: people and programs that wait for an answer, before loops and agents. */

import { AsyncLocalStorage } from "node:async_hooks"

const urgent = new AsyncLocalStorage<true>()

/** What `run` asks of the database goes before what others ask. */
export const urgently = <R>(run: () => R): R => urgent.run(true, run)

export const isUrgent = (): boolean => urgent.getStore() === true
