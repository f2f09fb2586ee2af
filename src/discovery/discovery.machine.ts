/** What people make of a found certificate, and every way from one to another. What is not listed is illegal. */
import type { DiscoveryStatus } from "./discovery.store"

const moves: Readonly<Record<DiscoveryStatus, readonly DiscoveryStatus[]>> = {
  // Managed: claimed. A report never changes what people have made of it.
  Unmanaged: ["Managed", "Dismissed"],
  Managed: ["Dismissed"],
  Dismissed: ["Managed"],
}

export const canMove = (from: DiscoveryStatus, to: DiscoveryStatus): boolean => moves[from].includes(to)
