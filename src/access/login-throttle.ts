/** Slows down guessing at the sign-in form: ten failures per address in ten minutes. In memory, so per server process. */
import type { Clock } from "../clock"

const windowMs = 600_000
const mostFailures = 10
const mostAddresses = 50_000

export const loginThrottle = (clock: Clock) => {
  const failures = new Map<string, number[]>()
  const recent = (address: string): number[] => {
    const since = clock.now().getTime() - windowMs
    return (failures.get(address) ?? []).filter((at) => at > since)
  }
  return {
    /** Seconds until another attempt is allowed; 0 now. */
    waitSeconds(address: string): number {
      const times = recent(address)
      const oldest = times.at(-mostFailures)
      return oldest === undefined ? 0 : Math.ceil((oldest + windowMs - clock.now().getTime()) / 1000)
    },
    failed(address: string): void {
      const times = [...recent(address), clock.now().getTime()].slice(-mostFailures)
      failures.delete(address)
      failures.set(address, times)
      const oldest = failures.keys().next().value
      if (failures.size > mostAddresses && oldest !== undefined) failures.delete(oldest)
    },
    succeeded(address: string): void {
      failures.delete(address)
    },
  }
}

export type LoginThrottle = ReturnType<typeof loginThrottle>
