export { sleep, until } from './clock.ts'
export { leaveNetwork, makeNode, readXattrs, setTime, tryLock, writeXattr } from './ffi.ts'
export { syncDirectory, writeAtomic } from './file.ts'
export {
  type Call,
  type CallOptions,
  callUnix,
  type Handler,
  openUnix,
  type Routes,
  serveUnix,
  type UpgradeHandler,
} from './http.ts'
export { alive, type RunOptions, type RunResult, run, tryRun } from './process.ts'
