/** What target connectors are given on this host. */
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Clock } from "../src/clock"
import { commandChecker, commandRunner } from "../src/connectors/command"
import { programStarter } from "../src/connectors/program"
import type { TargetDeps } from "../src/connectors/targets/contract"
import type { AgentConfig } from "./agent.config"
import { checkPlace } from "./deploy/place-check"

export const targetDepsOf = (
  { dataDir, allowedPrograms }: Pick<AgentConfig, "dataDir" | "allowedPrograms">,
  clock: Clock,
  warn: (message: string) => void,
): TargetDeps => {
  const stateFolder = join(dataDir, "targets")
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 })
  return {
    clock,
    hasSystemd: existsSync("/run/systemd/system"),
    run: commandRunner({ allowedPrograms }),
    checkCommand: commandChecker({ allowedPrograms }),
    checkPlace,
    start: programStarter({}),
    stateFolder,
    warn,
  }
}
