export type { Agent, ConnectOptions, CopyItem, ExecSession, Output } from './agent.ts'
export { connectAgent } from './client.ts'
export type {
  AgentState,
  CopyEntry,
  ExitStatus,
  FileStat,
  GuestStats,
  ProcessRow,
  ProcessSpec,
  Rlimit,
  StartSpec,
  Window,
} from './types.ts'
export { decodeUtf8, encodeUtf8 } from './utf8.ts'
