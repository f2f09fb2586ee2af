/** Finds islands in the document, fetches their chunks and hydrates them over the server's markup. */
import { type FunctionComponent, h, hydrate, render } from "preact"
import { type IslandName, islands } from "./registry"

const mounted = new WeakSet<Element>()

const mountOne = async (element: HTMLElement): Promise<void> => {
  const name = element.dataset.island ?? ""
  if (!Object.hasOwn(islands, name)) throw new Error(`no island is called "${name}"`)
  const component = (await islands[name as IslandName]()) as FunctionComponent<Record<string, unknown>>
  hydrate(h(component, JSON.parse(element.dataset.props ?? "{}")), element)
}

/** Hydrates what is not hydrated yet. An island that fails is reported and leaves the server's markup usable. */
export const mountIslands = (root: ParentNode): void => {
  for (const element of root.querySelectorAll<HTMLElement>("[data-island]")) {
    if (mounted.has(element)) continue
    mounted.add(element)
    mountOne(element).catch((error: unknown) => console.error(`island ${element.dataset.island}`, error))
  }
}

/** Ends an island before its element leaves the document, so that its timers and listeners end too. */
export const unmountIsland = (element: Element): void => {
  if (mounted.delete(element)) render(null, element)
}
