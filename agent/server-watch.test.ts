import { afterEach, describe, expect, test } from "bun:test"
import { type AddressInfo, createServer, type Server } from "node:net"
import { freePort } from "../src/testing/free-port"
import { pauseWhileAway } from "./server-watch"

const hourMs = 3_600_000
const never = new AbortController().signal
let server: Server | undefined

const listen = async (port: number): Promise<number> => {
  const listening = createServer((socket) => socket.destroy())
  server = listening
  await new Promise<void>((resolve) => listening.listen(port, "127.0.0.1", resolve))
  return (listening.address() as AddressInfo).port
}

afterEach(() => {
  server?.close()
  server = undefined
})

describe("waiting for a server that is away", () => {
  const absence = { failures: 1, limitMs: hourMs, lookMs: 5 }

  test("ends as soon as it accepts connections again", async () => {
    const port = await freePort()
    const wait = pauseWhileAway({ ...absence, server: `https://127.0.0.1:${port}/base` }, never)
    await listen(port)
    await wait
  })

  test("ends with the back-off when it does not come", async () => {
    const port = await freePort()
    const began = performance.now()
    await pauseWhileAway({ ...absence, limitMs: 30, server: `http://127.0.0.1:${port}` }, never)
    expect(performance.now() - began).toBeGreaterThanOrEqual(29)
  })

  test("ends with the agent", async () => {
    const port = await freePort()
    const stop = new AbortController()
    const wait = pauseWhileAway({ ...absence, server: `http://127.0.0.1:${port}` }, stop.signal)
    stop.abort()
    await wait
  })

  test("looks less often at what accepts connections and drops them", async () => {
    const port = await listen(0)
    let looks = 0
    server?.on("connection", () => looks++)
    const began = performance.now()
    for (const failures of [1, 2, 3, 4, 5]) {
      await pauseWhileAway({ ...absence, failures, server: `http://127.0.0.1:${port}` }, never)
    }
    expect(looks).toBe(5)
    // 5 + 10 + 20 + 40 + 40 ms, less a quarter.
    expect(performance.now() - began).toBeGreaterThanOrEqual(85)
  })
})
