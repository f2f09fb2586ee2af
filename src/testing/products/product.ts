/** What a test has to know of a product that takes certificates: how a private instance is started, deployed to and broken. */
import type { StartTls } from "../../connectors/probe"
import type { TargetDefinition } from "../../connectors/targets/contract"
import type { Deployable } from "../deploying"
import type { Stage } from "../stage"

/** The site of each of them. */
export const serverName = "site.example"

export interface Peer {
  /** What the target's configuration needs to deploy to it. */
  readonly config: Record<string, unknown>
}

export interface FilePeer extends Peer {
  /** The files of a deployment: the certificate's first. */
  readonly files: readonly string[]
  /** Those of them that hold a key and are not PEM. */
  readonly stores?: readonly string[]
  /** The keys of the configuration that name those files or their folder, for another folder. */
  elsewhere(folder: string): Record<string, unknown>
}

/** Where a product is started and what with. */
export interface PeerStage extends Stage {
  readonly port: number
  /** The pair it serves at first, in `tls/`, as two files and as one. */
  readonly first: { readonly cert: string; readonly key: string; readonly combined: string }
  /** The same, for products that want it otherwise. */
  readonly pair: Deployable & { readonly chainPem: string }
  /** A file that its configuration includes; at first it has nothing but an empty line, as Caddy takes no empty file. */
  readonly extra: string
  /** A script, for what the rules of operators' commands do not let through. */
  script(name: string, text: string): string
}

/** How a product comes to refuse a deployment, and what is said then. */
export interface Refusal {
  /** A line for the included file. Left out: the key of another certificate. */
  readonly extraLine?: string
  readonly words: RegExp
  /** It comes before the files are replaced. */
  readonly isBeforeFiles?: boolean
}

export interface PeerProduct<P extends Peer = Peer> {
  /** Of the tests, where several are of one connector. */
  readonly name?: string
  readonly connector: TargetDefinition
  /** null: it is not installed, and the tests are skipped. */
  readonly program: string | null
  readonly startTls?: StartTls
  /** It has no certificate until the first is deployed. */
  readonly isBare?: boolean
  /** Its change of configuration resets connections that wait to be accepted at that moment. */
  readonly mayReset?: boolean
  /** None: it takes up what is there without a word. */
  readonly refusals?: readonly Refusal[]
  start(stage: PeerStage, program: string): P | Promise<P>
}

/** What an operator reads, as sources of regular expressions. */
export interface Words {
  /** The way back from files that had been put in place. */
  readonly wentBack: string
  readonly reloadFailed: string
  readonly noRoom: string
  readonly noRight: string
  /** Of a check: the folder is missing. */
  readonly noFolder: string
  /** A file stands where the folder should be. */
  readonly fileForFolder: string
}

/** A product that reads its certificate from files. */
export interface FileProduct extends PeerProduct<FilePeer> {
  /** Whether there is a command to take up the files. */
  readonly isReloaded?: boolean
  /** Its files are read for every connection: what is served is what is there. Else they are PEM, and are looked into. */
  readonly readsAlways?: boolean
  /** How many renewals under load; three unless the product is slow. */
  readonly renewals?: number
  /** Every how many steps a deployment is killed. */
  readonly stepsApart?: number
  /** The files are on another host: its commands cannot be looked for, and what was interrupted waits for the next deployment. */
  readonly isRemote?: boolean
  readonly words?: Partial<Words>
}

export const nameOf = ({ name, connector }: PeerProduct): string => name ?? connector.type
