/** A port for a program that has to be told which one, and that keeps it when it is killed and started again. */
import { createServer } from "node:net"

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

/** Below the range that outgoing connections take theirs from: one of those could have it while the program is down. */
const lowest = 10_000
const perWorker = 1000
const workers = 22

/** Workers run at once and a port is free until its program listens, so each worker has ports of its own. */
const first = lowest + (Number(process.env.BUN_TEST_WORKER_ID ?? 0) % workers) * perWorker
let next = Math.floor(Math.random() * perWorker)

/** In turn: what a test before this one has let go, and may start again, is not handed out at once. */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = first + next
    next = (next + 1) % perWorker
    if (await isFree(port)) return port
  }
}
