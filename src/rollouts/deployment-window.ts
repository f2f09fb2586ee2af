/**
 * When deployments may begin at a target: days of the week and times of day, in a time zone of the target's own, so that daylight
 * saving moves the window along with the people who chose it. Pure.
 */
import type { Query, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const
type Weekday = (typeof weekdays)[number]

/**
 * Open while one of the windows is, of which there is at least one. Each begins on its `days` at `from` (`HH:MM`, by the clocks of the
 * time zone) and ends at `to`, up to `24:00`; where that is earlier, on the day after.
 */
export type DeploymentWindows = NonNullable<Tables["deploymentTargets"]["$inferSelect"]["deploymentWindows"]>

const minuteMs = 60_000
const dayMs = 86_400_000
const dayMinutes = 1440

const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3))

const formats = new Map<string, Intl.DateTimeFormat>()
const formatIn = (timeZone: string): Intl.DateTimeFormat => {
  const known = formats.get(timeZone)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" },
  })
  formats.set(timeZone, made)
  return made
}

/** What the clocks there show, as if it were UTC. */
const wallClock = (timeZone: string, at: Date): number => {
  const part: Record<string, number> = {}
  for (const { type, value } of formatIn(timeZone).formatToParts(at)) part[type] = Number(value)
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part
  return Date.UTC(year, month - 1, day, hour, minute, second)
}

/** Whether the runtime knows a time zone by this name. */
export const isTimeZone = (timeZone: string): boolean => {
  try {
    formatIn(timeZone)
    return true
  } catch {
    // Its way to say no: a RangeError.
    return false
  }
}

const weekdayOf = (wall: number): Weekday => weekdays[(new Date(wall).getUTCDay() + 6) % 7] ?? "mon"

/** Whether a deployment may begin now. */
export const isWindowOpen = ({ timeZone, windows }: DeploymentWindows, now: Date): boolean => {
  const wall = wallClock(timeZone, now)
  const minute = Math.floor((wall % dayMs) / minuteMs)
  const [today, yesterday] = [weekdayOf(wall), weekdayOf(wall - dayMs)]
  return windows.some(({ days, from, to }) => {
    const [begin, end] = [minutesOf(from), minutesOf(to)]
    return begin < end
      ? days.includes(today) && minute >= begin && minute < end
      : (days.includes(today) && minute >= begin) || (days.includes(yesterday) && minute < end)
  })
}

/** Every window occurs within a week, unless the clocks of that day leave it out; then in the next. */
const lookAheadDays = 16
/** By so much clocks are put forward, at most, and a window may begin in what they leave out. */
const longestLeapMinutes = 180

/** The instant at which the clocks there show this, or the first after it that exists. */
const instantOf = (timeZone: string, wall: number): number => {
  let instant = wall
  // The first guess may lie on the other side of a change of the clocks.
  for (let round = 0; round < 2; round += 1) instant += wall - wallClock(timeZone, new Date(instant))
  return instant
}

/** When a deployment may begin next: now, where it may. null when the windows never open. */
export const nextOpening = (windows: DeploymentWindows, now: Date): Date | null => {
  if (isWindowOpen(windows, now)) return now
  const today = Math.floor(wallClock(windows.timeZone, now) / dayMs)
  const openings = new Set(windows.windows.map(({ from }) => minutesOf(from)))
  let earliest: number | null = null
  for (let day = today; day < today + lookAheadDays; day += 1) {
    for (const minute of [...openings, 0]) {
      // Midnight: where it does not exist, what began the day before goes on at the first minute that does.
      const begin = instantOf(windows.timeZone, day * dayMs + minute * minuteMs)
      for (let late = 0; late <= longestLeapMinutes; late += 15) {
        const at = begin + late * minuteMs
        if (at < now.getTime() || (earliest !== null && at >= earliest)) continue
        if (isWindowOpen(windows, new Date(at))) {
          earliest = at
          break
        }
      }
    }
    // Windows of later days open later.
    if (earliest !== null) return new Date(earliest)
  }
  return null
}

/** The longest time during which the windows stay shut, in milliseconds, by the clock of an ordinary week. */
export const longestShutMs = ({ windows }: DeploymentWindows): number => {
  const week = 7 * dayMinutes
  const spans = windows
    .flatMap(({ days, from, to }) => {
      const [begin, end] = [minutesOf(from), minutesOf(to)]
      const length = begin < end ? end - begin : end + dayMinutes - begin
      return days.map((day) => {
        const start = weekdays.indexOf(day) * dayMinutes + begin
        return { start, end: start + length }
      })
    })
    .sort((a, b) => a.start - b.start)
  const [first] = spans
  if (first === undefined) return Number.POSITIVE_INFINITY
  let longest = 0
  let openUntil = Math.max(...spans.map(({ end }) => end)) - week
  for (const { start, end } of [...spans, { start: first.start + week, end: first.end + week }]) {
    longest = Math.max(longest, start - openUntil)
    openUntil = Math.max(openUntil, end)
  }
  return longest * minuteMs
}

/** How the hold of a job begins that waits for its target's window. */
export const windowHoldPrefix = "outside the deployment windows"

/** Why a deployment to the target may not begin now; null where it may. The same words until the windows open. */
export const windowHold = ({ targetName, windows }: WindowedTarget, now: Date): string | null => {
  if (windows === null || isWindowOpen(windows, now)) return null
  const opens = nextOpening(windows, now)
  return `${windowHoldPrefix} of ${targetName}: ${opens === null ? "they never open" : `it may begin at ${opens.toISOString()}`}`
}

/** A target's name, for the words of a hold, and its windows; null: at any time. */
export interface WindowedTarget {
  readonly targetName: string
  readonly windows: DeploymentWindows | null
}

/** Name and windows, by target, of those of the targets that have windows. */
export type WindowsOf = (
  query: Query | Tx,
  targetIds: readonly string[],
) => Promise<ReadonlyMap<string, WindowedTarget>>

/** `windowHold` of a job: a target without windows holds nothing back, nor does any where somebody passed its windows over. */
export const windowHoldOf = (
  job: { readonly ignoresWindows: boolean },
  target: WindowedTarget | undefined,
  now: Date,
): string | null => (target === undefined || job.ignoresWindows ? null : windowHold(target, now))
