/**
 * Notices that a server that was away is back. The agreed back-off keeps agents from asking a server in trouble; one that was only
 * restarted would be without its agents for half a minute and more. Opening a connection and closing it asks nothing of anybody.
 */
import { connect } from "node:net"
import { pause } from "./waiting"

const connectLimitMs = 5_000

/** Whether something accepts connections there. Behind an outbound proxy nothing ever does: the back-off is then waited out. */
const accepts = (server: URL, signal: AbortSignal): Promise<boolean> =>
  new Promise((resolve) => {
    const port = Number(server.port || (server.protocol === "https:" ? 443 : 80))
    const socket = connect({ host: server.hostname.replace(/^\[|\]$/g, ""), port, timeout: connectLimitMs })
    const end = (isAccepted: boolean) => {
      signal.removeEventListener("abort", stop)
      socket.destroy()
      resolve(isAccepted)
    }
    const stop = () => end(false)
    signal.addEventListener("abort", stop, { once: true })
    socket.once("connect", () => end(true))
    socket.once("timeout", stop)
    socket.on("error", stop)
  })

export interface Absence {
  /** Base URL. */
  readonly server: string
  /** Failed calls in a row: with something that accepts connections and drops them, the first look comes later each time. */
  readonly failures: number
  /** The whole back-off. */
  readonly limitMs: number
  /** The first look after one failure; from then on the waits double, three times. */
  readonly lookMs: number
}

/** Resolves when the server accepts connections, after `limitMs` or when the signal fires, whichever comes first. */
export const pauseWhileAway = async (
  { server, failures, limitMs, lookMs }: Absence,
  signal: AbortSignal,
): Promise<void> => {
  const end = performance.now() + limitMs
  for (let look = failures; ; look++) {
    // Spread, so that all agents of a restarted server do not come in the same instant.
    const waitMs = lookMs * 2 ** Math.min(look - 1, 3) * (0.75 + Math.random() / 2)
    const leftMs = end - performance.now()
    await pause(Math.min(waitMs, leftMs), signal)
    if (signal.aborted || waitMs >= leftMs) return
    if (await accepts(new URL(server), signal)) return
  }
}
