/** A question as a page of its own: where its link leads without script, and after a refused answer. */
import { askPanel, type Question } from "../parts/confirm"
import { type Frame, layout } from "../parts/layout"
import type { Markup } from "../parts/markup"

export const confirmPage = (frame: Frame, question: Question, up: { label: string; href: string }): Markup =>
  layout(frame, { title: question.title, up }, askPanel(question, up.href))
