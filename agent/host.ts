/** What the agent tells the server about the machine it runs on. */
import { hostname, networkInterfaces } from "node:os"
import { version } from "../src/version"

const operatingSystems: Readonly<Record<string, string>> = { win32: "windows" }
const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" }

/** The first address that others may reach, IPv4 before IPv6; empty when there is none. */
const ownAddress = (): string => {
  const addresses = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ internal, address }) => !internal && !address.toLowerCase().startsWith("fe80:"))
  return (addresses.find(({ family }) => family === "IPv4") ?? addresses[0])?.address ?? ""
}

/** Read anew for every heartbeat: addresses and names of a machine change while the agent runs. */
export const hostFacts = () => ({
  version: version.version,
  hostname: hostname(),
  os: operatingSystems[process.platform] ?? process.platform,
  architecture: architectures[process.arch] ?? process.arch,
  ip_address: ownAddress(),
})
