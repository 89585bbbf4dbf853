/** zinit: PID 1 of a microVM. Boots, then serves one host at a time over the port `zos.agent`. */
import { Frame, getU64 } from '../src/vm/agent/protocol.ts'
import { boot } from './boot.ts'
import { superviseChildren } from './child.ts'
import { hello } from './hello.ts'
import { loadModule } from './kmod.ts'
import { turn } from './loop.ts'
import { exit, wantedModule } from './native.ts'
import { openPort } from './port.ts'
import { handleRequest } from './requests.ts'
import { acknowledge } from './ring.ts'
import { sessionFrame } from './session.ts'
import { hireUnderstudy } from './warm.ts'
import { mainInput, mainInputEnd } from './workload.ts'

function frame(type: number, stream: number, payload: Uint8Array): void {
  if (type === Frame.hello) hello(payload)
  else if (type === Frame.request) handleRequest(stream, payload)
  else if (type === Frame.ack && payload.length === 8) acknowledge(getU64(payload, 0))
  else if (stream > 0) sessionFrame(type, stream, payload)
  else if (type === Frame.data) mainInput(payload)
  else if (type === Frame.end) mainInputEnd()
}

if (wantedModule !== null) exit(loadModule(wantedModule) ? 0 : 1)

superviseChildren()
boot()
openPort('zos.agent', frame)
hireUnderstudy()
Object.assign(globalThis, { tick: turn })
