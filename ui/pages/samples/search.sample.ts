/** Results of a search. */
import { type SearchRow, searchPage } from "../search.page"
import { anonymous, at, longName, type Samples } from "./frame.sample"

const row = (id: string, title: string, changes: Partial<SearchRow> = {}): SearchRow => ({
  id,
  title,
  subtitle: "",
  status: null,
  href: `/certificates/${id}`,
  isExact: false,
  ...changes,
})

export const searchSamples: Samples = {
  search: () =>
    searchPage({
      frame: at("/search?q=shop"),
      text: "shop",
      countedTo: 100,
      groups: [
        {
          kind: "owner",
          label: "Owners",
          icon: "owner",
          total: 1,
          moreHref: null,
          rows: [row("o-shop", "Shop", { isExact: true, subtitle: "shop@example.com", href: "/owners?q=o-shop" })],
        },
        {
          kind: "certificate",
          label: "Certificates",
          icon: "certificate",
          total: 100,
          moreHref: "/certificates?search=shop",
          rows: [
            row("mc-shop", "shop.example.com", {
              status: "Active",
              subtitle: "www.shop.example.com, api.shop.example.com",
            }),
            row("mc-other", longName, { status: "Expired", subtitle: longName }),
            row("mc-short", "a.example"),
          ],
        },
        {
          kind: "agent",
          label: "Agents",
          icon: "agent",
          total: 1,
          moreHref: null,
          rows: [
            row("agent-shop-1", "shop-web-1", {
              status: "Online",
              subtitle: "shop-web-1.internal",
              href: "/agents/agent-shop-1",
            }),
          ],
        },
      ],
    }),
  "search-nothing": () =>
    searchPage({ frame: at("/search?q=zzz", anonymous), text: "zzz", countedTo: 100, groups: [] }),
  "search-start": () => searchPage({ frame: at("/search"), text: "", countedTo: 100, groups: [] }),
}
