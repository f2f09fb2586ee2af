/** Every target connector. A new one is a file beside this one and one line here. */
export { nginx } from "./nginx"
