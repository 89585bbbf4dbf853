import { encodeFrame, Frame, getU32, getU64, MAGIC, NONCE, VERSION } from '../src/vm/agent/protocol.ts'
import type { AgentState } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { forgetOutgoing, send } from './port.ts'
import { resume, ring } from './ring.ts'
import { newHost } from './session.ts'
import { main, stdinCredit, tellAgain } from './workload.ts'

/** A host says hello: whatever an earlier one had open is closed; only the main process goes on, with its output kept. */
export function hello(payload: Uint8Array): void {
  if (payload.length !== MAGIC.length + NONCE + 12 || MAGIC.some((byte, i) => payload[i] !== byte)) return
  newHost()
  forgetOutgoing()
  const state: AgentState = {
    version: VERSION,
    phase: main.phase === 'starting' ? 'idle' : main.phase,
    pid: main.pid,
    from: ring.from(),
    to: ring.to(),
    stdinCredit: stdinCredit(),
  }
  const json = encodeUtf8(JSON.stringify(state))
  const answer = new Uint8Array(NONCE + json.length)
  answer.set(payload.subarray(MAGIC.length, MAGIC.length + NONCE))
  answer.set(json, NONCE)
  send(encodeFrame(Frame.helloAck, 0, answer))
  if (getU32(payload, MAGIC.length + NONCE) !== VERSION) return
  resume(getU64(payload, MAGIC.length + NONCE + 4))
  tellAgain()
}
