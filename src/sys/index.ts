export { bootClock, sleep, until, within } from './clock.ts'
export { closeFd, EAGAIN, EINTR, eventFd, leaveNetwork, pollFds, readFd, writeFd } from './ffi.ts'
export { dataRanges, makeNode, readXattrs, setTime, tryLock, writeXattr } from './ffi-files.ts'
export { GcmContext } from './ffi-gcm.ts'
export { callable, confine, giveBack, permissions } from './ffi-memory.ts'
export { syncDirectory, writeAtomic } from './file.ts'
export { makeFolder } from './folder.ts'
export { type Call, type Handler, type Routes, serveUnix, type UpgradeHandler } from './http.ts'
export { type CallOptions, callUnix, openUnix } from './http-call.ts'
export { collectGarbage, trimMemory } from './memory.ts'
export { http } from './node-http.ts'
export { freePort } from './port.ts'
export { alive, type RunOptions, type RunResult, run, tryRun } from './process.ts'
export { becomeConfinable, confinable, programFlags } from './program.ts'
export { sendWithFd } from './send-fd.ts'
export {
  acceptTcp,
  connectError,
  connectTcp,
  connectUnix,
  errnoMessage,
  ipv6Bytes,
  listenTcp,
  type SocketAddress,
  socketPair,
  type TcpTuning,
  tcpRtt,
  tuneTcp,
} from './socket.ts'
export { byContent, filesBelow, withScratch } from './stamp.ts'
export { makeTap, OPENING_WRITES, openTap, refusesTaps, type TapOptions } from './tap.ts'
export { openTun, type TunOptions } from './tun.ts'
