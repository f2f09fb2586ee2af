/**
 * Charts as SVG from the server. Shapes stretch with their box (viewBox, no fixed size); numbers and axis words are
 * HTML beside them, so that text stays readable at every width. Each chart can be read as a table.
 */
import { html, type Markup } from "./markup"

/** A panel's chart with its own empty state and its numbers as a table behind a disclosure. */
export const chartFrame = (chart: {
  /** What a screen reader hears instead of the drawing: the finding, not the kind of chart. */
  summary: string
  isEmpty: boolean
  emptyText: string
  body: Markup
  columns: readonly string[]
  rows: readonly (readonly (string | number)[])[]
}): Markup =>
  chart.isEmpty
    ? html`<p class="chart-empty">${chart.emptyText}</p>`
    : html`<figure class="chart">
        ${chart.body}
        <figcaption class="visually-hidden">${chart.summary}</figcaption>
        <details class="as-table"><summary>Show as table</summary>
          <div class="as-table-box" role="region" aria-label=${`${chart.columns.join(", ")}, as a table`} tabindex="0"><table>
            <thead><tr>${chart.columns.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
            <tbody>${chart.rows.map(
              (row) =>
                html`<tr>${row.map((cell, index) => (index === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`))}</tr>`,
            )}</tbody>
          </table></div>
        </details>
      </figure>`

interface Segment {
  readonly label: string
  readonly count: number
  /** A class that colours the segment and its legend mark: `status-Active` and so on. */
  readonly className: string
  readonly href: string
}

/** A ring with the total in the middle and a legend that carries label and number of each segment. */
export const donut = (segments: readonly Segment[], unit: string): Markup => {
  const total = segments.reduce((sum, { count }) => sum + count, 0)
  const radius = 42
  const around = 2 * Math.PI * radius
  // A hairline of background between neighbours keeps them apart without relying on hue.
  const gap = segments.length > 1 ? 1.6 : 0
  let start = 0
  const arcs = segments.map(({ label, count, className }) => {
    const length = (count / Math.max(total, 1)) * around
    const arc = html`<circle class=${`arc ${className}`} cx="60" cy="60" r=${radius} fill="none" stroke-width="16"
      stroke-dasharray=${`${Math.max(length - gap, 0.8).toFixed(2)} ${around.toFixed(2)}`}
      stroke-dashoffset=${(-start).toFixed(2)} transform="rotate(-90 60 60)"><title>${`${label}: ${count}`}</title></circle>`
    start += length
    return arc
  })
  return html`<div class="donut">
    <svg viewBox="0 0 120 120" aria-hidden="true" focusable="false">
      ${arcs}
      <text class="donut-total" x="60" y="62" text-anchor="middle">${total.toLocaleString("en")}</text>
      <text class="donut-unit" x="60" y="76" text-anchor="middle">${unit}</text>
    </svg>
    <ul class="legend">${segments.map(
      ({ label, count, className, href }) =>
        html`<li><a href=${href}><svg class="swatch" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true"><rect class=${className} width="10" height="10" rx="2.5" /></svg><span>${label}</span><b>${count.toLocaleString("en")}</b></a></li>`,
    )}</ul>
  </div>`
}

interface Bar {
  readonly count: number
  readonly title: string
  readonly className: string
  readonly href?: string
}

/** A round number at or above the largest value, for the top of the axis. */
const axisTop = (largest: number): number => {
  if (largest <= 5) return Math.max(1, largest)
  const power = 10 ** Math.floor(Math.log10(largest))
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= largest) ?? 10
  return Math.ceil(step * power)
}

const axis = (top: number, labels: readonly string[]): { scale: Markup; words: Markup } => ({
  scale: html`<div class="axis-y" aria-hidden="true"><span>${top}</span><span>0</span></div>`,
  words: html`<div class="axis-x" aria-hidden="true">${labels.map((label) => html`<span>${label}</span>`)}</div>`,
})

const grid = (width: number): Markup =>
  html`<path class="grid" d=${`M0 .5H${width}M0 50H${width}M0 99.5H${width}`} vector-effect="non-scaling-stroke" />`

/** Vertical bars. `axisLabels` stand under the drawing, spread from its first bar to its last. */
export const bars = (values: readonly Bar[], axisLabels: readonly string[]): Markup => {
  const top = axisTop(Math.max(...values.map(({ count }) => count), 0))
  const width = values.length * 10
  const { scale, words } = axis(top, axisLabels)
  const drawn = values.map(({ count, title, className, href }, index) => {
    const height = count === 0 ? 0 : Math.max((count / top) * 100, 2)
    // The whole column takes the pointer, so that a short bar is as easy to hit as a tall one.
    const column = html`<g class="bar"><rect class="hit" x=${index * 10} y="0" width="10" height="100" /><rect class=${className} x=${index * 10 + 1.6} y=${(100 - height).toFixed(2)} width="6.8" height=${height.toFixed(2)} /><title>${title}</title></g>`
    return href === undefined || count === 0 ? column : html`<a href=${href} aria-label=${title}>${column}</a>`
  })
  return html`<div class="plot">${scale}<svg viewBox=${`0 0 ${width} 100`} preserveAspectRatio="none" role="group" aria-label="Bars" focusable="false">${grid(width)}${drawn}</svg>${words}</div>`
}

interface Line {
  readonly label: string
  readonly values: readonly number[]
  readonly className: string
}

/** Lines over the same days. Each is labelled beside the drawing and has its own dash, so hue is not needed. */
export const lines = (series: readonly Line[], axisLabels: readonly string[]): Markup => {
  const top = axisTop(Math.max(...series.flatMap(({ values }) => values), 0))
  const days = Math.max(...series.map(({ values }) => values.length), 2)
  const { scale, words } = axis(top, axisLabels)
  const point = (value: number, index: number) =>
    `${((index / (days - 1)) * 300).toFixed(1)} ${(100 - (value / top) * 100).toFixed(1)}`
  return html`<div class="plot">${scale}<svg viewBox="0 0 300 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">${grid(300)}${series.map(
    ({ values, className }, index) => html`
      ${index === 0 ? html`<path class=${`area ${className}`} d=${`M0 100L${values.map(point).join("L")}L300 100z`} />` : null}
      <path class=${`line ${className}`} d=${`M${values.map(point).join("L")}`} vector-effect="non-scaling-stroke" />`,
  )}</svg>${words}</div>
  <ul class="legend inline">${series.map(
    ({ label, values, className }) =>
      html`<li><svg class="swatch wide" viewBox="0 0 22 10" width="22" height="10" aria-hidden="true"><path class=${`line ${className}`} d="M0 5H22" /></svg><span>${label}</span><b>${values.reduce((sum, value) => sum + value, 0).toLocaleString("en")}</b></li>`,
  )}</ul>`
}
