/**
 * What a target connector is. A target never touches the host itself: it turns certificate and key into a plan, and the
 * agent's deploy engine carries the plan out, so that backup, crash safety and going back are written once for all.
 */
import type * as v from "valibot"
import type { Clock } from "../../clock"
import { type ConfigSchema, parseConfig } from "../config"
import type { StartTls } from "../probe"
import type { StartProgram } from "../program"

/** What is deployed. Key and chain were checked against the leaf before a connector sees them. */
export interface Material {
  readonly certificateId: string
  readonly jobId: string
  readonly certPem: string
  /** The rest of the chain, nearest issuer first; empty when the leaf is its own issuer. */
  readonly chainPem: string
  readonly keyPem: string
}

export interface PlannedFile {
  /** Absolute. A symlink is resolved once, the real file is replaced. */
  readonly path: string
  readonly bytes: Uint8Array
  /** Whether it holds a private key: never world-readable, whatever the replaced file's mode was. */
  readonly isKey: boolean
  /** Used when nothing is there yet. */
  readonly defaultMode: number
  /** Set by the operator: beats the replaced file's. */
  readonly mode?: number
  /** Set by the operator, both or none: names or numeric ids. */
  readonly owner?: { readonly user: string; readonly group: string }
  /** Users of whom the first that exists on the host owns a new file. */
  readonly defaultUsers?: readonly string[]
  /** Where its backups are kept; the file's own folder when left out. */
  readonly backupFolder?: string
}

/** Where a file goes and whose it becomes, before there is anything to write. */
export type PlannedPlace = Omit<PlannedFile, "bytes">

/** A file that is never the same twice, or in which others keep things too. */
export interface MergedFile extends PlannedPlace {
  /**
   * Makes the new bytes from those that are there (null: no file yet). Called before anything is written, once the plan is
   * found not to be in place and while nobody else deploys to the path.
   */
  merge(current: Uint8Array | null): Promise<Uint8Array>
}

/** A command of the operator and the configuration key it came from, which errors name. */
export interface ConfiguredCommand {
  readonly key: string
  readonly command: string
}

export interface ServedEndpoint {
  readonly host: string
  readonly port: number
  /** Name sent as SNI; the host itself when left out. */
  readonly serverName?: string
  /** TLS begins after this protocol's own prologue; left out, it begins at once. */
  readonly startTls?: StartTls
  readonly timeoutMs: number
  /** Probes until the new leaf is seen, with doubling waits between them. */
  readonly attempts: number
  readonly backoffMs: number
  readonly maxBackoffMs: number
}

/**
 * One thing to do after the files are in place (a check may ask to come before), in the order of the plan. When one fails the engine
 * undoes all before it, last first. Steps are data, not calls into the engine: a new kind of target adds steps and leaves the engine alone.
 */
export type PlanStep =
  /** Judges the new files before anybody uses them. Has no effect of its own, so nothing is undone for it. */
  | {
      readonly kind: "validate"
      readonly run: ConfiguredCommand
      /**
       * It looks at the service's configuration alone, so it runs before the files are replaced: a service that reads them
       * unasked never sees what is taken back after a refusal.
       */
      readonly isBeforeFiles?: boolean
    }
  /** Makes the service read the files. Undone by running it again after the old files are back. */
  | {
      readonly kind: "reload"
      readonly run: ConfiguredCommand
      /** The service takes the files up by itself sooner or later: a failure is a warning, and the files stay. */
      readonly isOptional?: boolean
    }
  /** The endpoint must serve the new leaf. Says nothing when it did not answer before the deployment either. */
  | { readonly kind: "probe"; readonly endpoint: ServedEndpoint }
  | PlannedAction

/** Anything else: a call to an appliance, a store import, files of another host. */
export interface PlannedAction {
  readonly kind: "action"
  /** What is being done, in errors: `<name> failed: …`. */
  readonly name: string
  run(): Promise<void>
  /** Must be safe to call when `run` failed half-way, and twice. */
  undo(): Promise<void>
  /**
   * Called once the whole deployment stands: removes what was kept for `undo`. May fail: that is a warning. An action that
   * can be killed half-way must find and mend what it left when it runs again for the same place.
   */
  settle?(): Promise<void>
}

export interface DeployPlan {
  /** Where the certificate goes, for people. */
  readonly address: string
  /** Names this deployment in logs: `<product>-<unix seconds>`. */
  readonly deploymentId: string
  /** Replaced together, all or none, in this order. */
  readonly files: readonly PlannedFile[]
  /** Replaced together with them, after them. A plan that has some says by `isInPlace` when there is nothing to do. */
  readonly mergedFiles?: readonly MergedFile[]
  /** What else is changed, as unique names: two deployments that share one run one after the other. */
  readonly locks?: readonly string[]
  readonly steps: readonly PlanStep[]
  /**
   * Whether the certificate is in place already, so that nothing is written and nothing reloaded. Decides in place of
   * comparing the files' bytes: for what is not a file, or a file that is never the same twice.
   */
  isInPlace?(): Promise<boolean>
  /** Backups to keep per file; 0 keeps none once the deployment is proven, undefined is the agent's default. */
  readonly backupRetention: number | undefined
}

export interface Target {
  plan(material: Material): DeployPlan | Promise<DeployPlan>
  /** Says without changing anything whether a deployment could work: throws the reason. Absent means "cannot tell". */
  check?(): Promise<void>
}

export interface TargetDeps {
  readonly clock: Clock
  /** Whether systemd manages this host: chooses the default reload command. */
  readonly hasSystemd: boolean
  /** Runs a command of the operator without a shell; throws AppError with its output when it fails. */
  run(command: ConfiguredCommand): Promise<void>
  /** Throws why a command of the operator could not be started on this host. Starts nothing. */
  checkCommand(command: ConfiguredCommand): void
  /** Throws why a file could not be written or replaced at a place. What it tries it takes away again. */
  checkPlace(place: PlannedPlace): Promise<void>
  /** Starts a program by its argument list; throws AppError with its output when it fails. */
  start: StartProgram
  /** What connectors keep on this host between deployments (known host keys). Exists, 0700. */
  readonly stateFolder: string
  /** Tells the host's owner what does not fail a deployment. */
  warn(message: string): void
}

/** A connector as the catalog holds it: the configuration's type is known only inside. */
export interface TargetDefinition {
  readonly type: string
  readonly label: string
  readonly config: ConfigSchema
  readonly example: Readonly<Record<string, unknown>>
  /** The `host` of the configuration is where it is managed, not where certificates are served: it is not probed. */
  readonly isManagedRemotely: boolean
  /** Parses the configuration (fails with `validation`) and connects. Opens nothing yet. */
  open(rawConfig: unknown, deps: TargetDeps): Target
}

export const defineTarget = <S extends ConfigSchema>(connector: {
  type: string
  label: string
  config: S
  example: v.InferInput<S> & Record<string, unknown>
  isManagedRemotely?: boolean
  connect(config: v.InferOutput<S>, deps: TargetDeps): Target
}): TargetDefinition => ({
  type: connector.type,
  label: connector.label,
  config: connector.config,
  example: connector.example,
  isManagedRemotely: connector.isManagedRemotely ?? false,
  open: (rawConfig, deps) => connector.connect(parseConfig(connector.config, rawConfig), deps),
})
