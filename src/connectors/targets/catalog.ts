/** Finds target connectors by type. The types are exact: they are stored and compared by other programs. */
import { AppError } from "../../errors"
import type { TargetDefinition } from "./contract"
import * as registry from "./registry"

export const targetConnectors: readonly TargetDefinition[] = Object.values(registry)

const byType = new Map(targetConnectors.map((connector) => [connector.type, connector]))

/** Fails with `validation`, naming the known types. */
export const targetConnector = (type: string): TargetDefinition => {
  const connector = byType.get(type)
  if (connector === undefined) {
    throw new AppError(
      "validation",
      `type must be one of ${[...byType.keys()].join(", ")}, not ${JSON.stringify(type)}`,
    )
  }
  return connector
}
