/**
 * Keeps a page current: server-sent events say when something changed, the page itself is fetched again and its live
 * regions brought up to date. Polls where events do not reach (a buffering proxy), rests while the tab is hidden, and
 * says so when the server cannot be reached or the session has ended.
 */
import { useEffect, useRef, useState } from "preact/hooks"
import { html } from "../parts/markup"
import { relativeText } from "../parts/time"
import { refreshRegions } from "./morph"

interface LiveStatusProps extends Record<string, string | number> {
  readonly renderedAt: string
  /** How often the page asks again where events do not reach it. */
  readonly intervalSeconds: number
}

type Connection = "fine" | "lost" | "signed-out"

const EVENTS_URL = "/api/v1/events"
/** Bursts of events become one fetch; a slow server is asked less often. */
const MIN_GAP_MS = 2000
const REQUEST_TIMEOUT_MS = 20_000

const fetchPage = async (): Promise<Document | "signed-out"> => {
  const response = await fetch(`${location.pathname}${location.search}`, {
    // Tells the server that nobody asked: a page left open must not keep its session from idling out.
    headers: { accept: "text/html", "x-certctl-refresh": "live" },
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  })
  if (response.status === 401 || new URL(response.url).pathname === "/login") return "signed-out"
  if (!response.ok) throw new Error(`the server answered ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), "text/html")
}

/** Runs until the returned function is called. `report` hears about every outcome. */
const keepCurrent = (intervalSeconds: number, report: (outcome: Connection) => void): (() => void) => {
  let events: EventSource | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let due = Number.POSITIVE_INFINITY
  let busy = false
  let again = false
  let lastDuration = 0
  let failures = 0
  let ended = false

  const schedule = (delayMs: number) => {
    const at = performance.now() + delayMs
    if (at >= due) return
    due = at
    clearTimeout(timer)
    timer = setTimeout(refresh, delayMs)
  }

  const nextPoll = () => {
    // Events announce changes at once; ages and "stale" marks still need an occasional look.
    const seconds = events?.readyState === EventSource.OPEN ? Math.max(intervalSeconds, 60) : intervalSeconds
    schedule(failures === 0 ? seconds * 1000 : Math.min(2 ** failures * 1000, 60_000))
  }

  const refresh = async () => {
    due = Number.POSITIVE_INFINITY
    if (ended || document.hidden) return
    if (busy) {
      again = true
      return
    }
    busy = true
    const began = performance.now()
    try {
      const page = await fetchPage()
      if (ended) return
      failures = 0
      if (page === "signed-out") {
        report("signed-out")
        close()
        return
      }
      refreshRegions(page)
      report("fine")
    } catch (error) {
      failures++
      if (ended) return
      // One lost request is not a lost connection.
      if (failures > 1) report("lost")
      console.warn("refreshing the page failed", error)
    } finally {
      lastDuration = performance.now() - began
      busy = false
    }
    if (again) {
      again = false
      schedule(Math.max(MIN_GAP_MS, lastDuration * 5))
    }
    nextPoll()
  }

  const close = () => {
    events?.close()
    events = null
    clearTimeout(timer)
    due = Number.POSITIVE_INFINITY
  }
  const open = () => {
    close()
    events = new EventSource(EVENTS_URL)
    const heard = () => schedule(Math.max(MIN_GAP_MS, lastDuration * 5))
    events.addEventListener("message", heard)
    nextPoll()
  }
  const onVisibility = () => {
    if (document.hidden) return close()
    open()
    schedule(0)
  }
  document.addEventListener("visibilitychange", onVisibility)
  if (!document.hidden) open()
  return () => {
    ended = true
    close()
    document.removeEventListener("visibilitychange", onVisibility)
  }
}

export const LiveStatus = ({ renderedAt, intervalSeconds }: LiveStatusProps) => {
  const [paused, setPaused] = useState(false)
  const [connection, setConnection] = useState<Connection>("fine")
  const [updatedAt, setUpdatedAt] = useState(renderedAt)
  const [now, setNow] = useState(renderedAt)
  const arrival = useRef(0)

  useEffect(() => {
    if (paused || connection === "signed-out") return
    return keepCurrent(intervalSeconds, (outcome) => {
      setConnection(outcome)
      if (outcome !== "fine") return
      const moment = new Date().toISOString()
      setUpdatedAt(moment)
      setNow(moment)
    })
  }, [paused, connection === "signed-out", intervalSeconds])

  useEffect(() => {
    // Measured from when the page arrived: the server's clock and the browser's may differ.
    if (arrival.current === 0) {
      arrival.current = Date.now()
      setUpdatedAt(new Date(arrival.current).toISOString())
    }
    const tick = setInterval(() => setNow(new Date().toISOString()), 5000)
    return () => clearInterval(tick)
  }, [])

  const age = relativeText(new Date(updatedAt), new Date(Math.max(Date.parse(now), Date.parse(updatedAt))))
  return html`<span class="live needs-script">
    <span class=${`live-dot ${paused ? "off" : connection}`}></span>
    <span class="live-words">${paused ? "Paused, " : ""}updated ${age}</span>
    <button type="button" class="link" aria-pressed=${paused} onClick=${() => setPaused(!paused)}>${paused ? "Resume" : "Pause"}</button>
    <span class="live-banner" role="status">${
      connection === "fine"
        ? null
        : html`<span class="connection-banner">${
            connection === "lost"
              ? "Connection lost. The page shows the last known state; trying again by itself."
              : html`Your session has ended. <a href=${`/login?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in again</a>`
          }</span>`
    }</span>
  </span>`
}
