/** Every notifier connector. Static exports: a compiled executable cannot scan folders. */
export { opsgenie } from "./opsgenie"
export { pagerduty } from "./pagerduty"
export { slack } from "./slack"
export { smtp } from "./smtp"
export { teams } from "./teams"
export { webhook } from "./webhook"
