/** Time is passed in, never read in a service: tests move it, and a transaction sees one moment. */
export interface Clock {
  now(): Date
}

export const systemClock: Clock = { now: () => new Date() }
