/** Turns a page's markup into the text of an HTML document. Server only. */
import { Fragment, h } from "preact"
import { renderToString } from "preact-render-to-string"
import type { Markup } from "./markup"

/** The complete document, doctype included, for a page made by `layout()` or `bareLayout()`. */
export const renderDocument = (page: Markup): string => `<!doctype html>${renderToString(h(Fragment, null, page))}`
