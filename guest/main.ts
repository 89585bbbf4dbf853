/** zinit: PID 1 of a microVM. Boots, then serves one host at a time over the port `zos.agent`. */
import { Frame, getU32, getU64 } from '../src/vm/agent/protocol.ts'
import { boot } from './boot.ts'
import { superviseChildren } from './child.ts'
import { hello } from './hello.ts'
import { turn } from './loop.ts'
import { openPort, sendJson } from './port.ts'
import { handleRequest } from './requests.ts'
import { acknowledge } from './ring.ts'
import { abandon, sessionCredit, sessionInput, sessionInputEnd, sessions } from './session.ts'
import { mainInput, mainInputEnd } from './workload.ts'

function frame(type: number, stream: number, payload: Uint8Array): void {
  if (type === Frame.hello) return hello(payload)
  if (type === Frame.request) return handleRequest(stream, payload)
  if (type === Frame.ack && payload.length === 8) return acknowledge(getU64(payload, 0))
  if (stream === 0) {
    if (type === Frame.data) mainInput(payload)
    else if (type === Frame.end) mainInputEnd()
    return
  }
  const session = sessions.get(stream)
  if (!session) return // it ended while this was under way
  if (type === Frame.data) {
    if (!sessionInput(session, payload)) {
      sendJson(Frame.reset, stream, { code: 'overrun', message: 'More bytes than were granted' })
      abandon(session)
    }
  } else if (type === Frame.end) sessionInputEnd(session)
  else if (type === Frame.credit && payload.length === 4) sessionCredit(session, getU32(payload, 0))
  else if (type === Frame.reset) abandon(session)
}

superviseChildren()
boot()
openPort('zos.agent', frame)
Object.assign(globalThis, { tick: turn })
