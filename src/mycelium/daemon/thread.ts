import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { ZosError } from '#codec'
import { identityOf } from '../identity.ts'
import { createEngine } from './engine.ts'
import type { ThreadCall, ThreadEvent, ThreadOptions } from './protocol.ts'

// The packet thread: it sleeps in poll(2), so its own event loop never turns and calls are fetched when it is woken.
const port = parentPort!
const say = (event: ThreadEvent): void => port.postMessage(event)

try {
  const { secret, listen, peers, tun } = workerData as ThreadOptions
  const captured = (line: string) => say({ event: 'captured', line })
  const engine = createEngine({ identity: identityOf(secret), listen, peers, tun, captured })
  const answer = (id: number, value?: unknown) => say({ event: 'answer', id, value })
  const handle = (call: ThreadCall): void => {
    switch (call.call) {
      case 'stop':
        engine.stop()
        answer(call.id)
        break
      case 'probe':
        engine.probe(Buffer.from(call.address), call.hopLimit, call.timeout, (result) => answer(call.id, result))
        break
      case 'capture':
        engine.capture(call.on, call.peer)
        answer(call.id)
        break
      default:
        answer(call.id, engine[call.call]())
    }
  }
  say({ event: 'ready', wakeFd: engine.wakeFd })
  engine.run(() => {
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port))
      handle(next.message as ThreadCall)
  })
} catch (error) {
  if (!(error instanceof ZosError)) throw error
  const { message, code, kind, details } = error
  say({ event: 'failed', message, code, kind, details })
}
port.close()
