/** A raw socket that pumps zeros to another process, as bulk transfers do with files: what the machine can do at most. */
export { measure } from "./socket.ts"
