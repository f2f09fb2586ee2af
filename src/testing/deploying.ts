/** A target connector with the engine that carries out its plans, for tests against the product itself. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { type DeployOutcome, deployEngine } from "../../agent/deploy/engine"
import { checkPlace } from "../../agent/deploy/place-check"
import { systemClock } from "../clock"
import { commandChecker, commandRunner } from "../connectors/command"
import { probe } from "../connectors/probe"
import { programStarter } from "../connectors/program"
import type { Material, TargetDefinition, TargetDeps } from "../connectors/targets/contract"

/** What the agent gives a connector; `folder` holds its state. */
export const testTargetDeps = (folder: string, changes: Partial<TargetDeps> = {}): TargetDeps => ({
  clock: systemClock,
  hasSystemd: false,
  run: commandRunner({ allowedPrograms: [] }),
  checkCommand: commandChecker({ allowedPrograms: [] }),
  checkPlace,
  start: programStarter({}),
  stateFolder: folder,
  warn: () => undefined,
  ...changes,
})

/** A leaf of `testLeaf` and the certificate that signed it. */
export interface Deployable {
  readonly certPem: string
  readonly keyPem: string
  readonly fingerprint: string
}

export interface Deploying {
  readonly deps: TargetDeps
  /** What connectors and engine warned of, oldest first. */
  readonly warnings: string[]
  readonly engine: ReturnType<typeof deployEngine>
  /** One deployment as the agent does it. `material` replaces parts of what is deployed. */
  deploy(
    connector: TargetDefinition,
    config: unknown,
    leaf: Deployable,
    chainPem: string,
    material?: Partial<Material>,
  ): Promise<DeployOutcome>
}

/** `folder` holds journals and the connectors' state; it is made when it is missing. */
export const deploying = (folder: string, changes: Partial<TargetDeps> = {}): Deploying => {
  const stateFolder = join(folder, "state")
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 })
  const warnings: string[] = []
  const warn = (message: string) => {
    warnings.push(message)
  }
  const deps = testTargetDeps(stateFolder, { warn, ...changes })
  const engine = deployEngine({
    journalFolder: join(folder, "journal"),
    clock: deps.clock,
    backupRetention: 2,
    run: deps.run,
    probe,
    wait: (milliseconds) => Bun.sleep(milliseconds),
    warn,
  })
  return {
    deps,
    warnings,
    engine,
    async deploy(connector, config, leaf, chainPem, material = {}) {
      const plan = await connector.open(config, deps).plan({
        certificateId: "mc-site",
        jobId: "job-1",
        certPem: leaf.certPem,
        chainPem,
        keyPem: leaf.keyPem,
        ...material,
      })
      return engine.deploy(plan, leaf.fingerprint)
    },
  }
}
