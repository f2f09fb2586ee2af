/** Finds issuer connectors by type or alias. */
import { AppError } from "../../errors"
import type { IssuerDefinition } from "./contract"
import * as registry from "./registry"

/** Every connector, by type. */
export const issuerDefinitions: readonly IssuerDefinition[] = Object.values(registry).sort((a, b) =>
  a.type < b.type ? -1 : 1,
)

const byName = new Map(
  issuerDefinitions.flatMap((definition) =>
    [definition.type, ...definition.aliases].map((name) => [name.toLowerCase(), definition] as const),
  ),
)

/** The connector of a type or alias, in any case; fails with `validation`, naming what is supported. */
export const issuerDefinition = (typeOrAlias: string): IssuerDefinition => {
  const found = byName.get(typeOrAlias.toLowerCase())
  if (found === undefined) {
    const supported = issuerDefinitions.map(({ type }) => type).join(", ")
    throw new AppError("validation", `type must be one of ${supported}`)
  }
  return found
}
