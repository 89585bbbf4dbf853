import { flushCompileCache } from 'node:module'
import { setPriority } from 'node:os'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { ZosError } from '#codec'
import { collectGarbage, confine } from '#sys'
import { identityOf } from '../identity.ts'
import { createEngine, type Engine } from './engine.ts'
import type { AskedCard } from './ports.ts'
import type { Failure, Securing, ThreadCall, ThreadEvent, ThreadOptions, Told } from './protocol.ts'

// The packet thread: it sleeps in poll(2), so its own event loop never turns and calls are fetched when it is woken.
const parent = parentPort!
const PRIORITY = -10
/** Messages the main thread may lag behind before more are dropped: their senders say them again. */
const UNTOLD = 1024
const say = (event: ThreadEvent): void => parent.postMessage(event)

function failure(error: unknown): Failure {
  if (!(error instanceof ZosError)) throw error
  const { message, code, kind, details } = error
  return { message, code, kind, details }
}

/** Answers once, but to what is to be said; a probe does when its echo has come. */
function handle(engine: Engine, call: ThreadCall): void {
  const answer = (value?: unknown) => say({ event: 'answer', id: call.id, value })
  if (call.call === 'probe') engine.probe(Buffer.from(call.address), call.hopLimit, call.timeout, answer)
  else if (call.call === 'capture') answer(engine.capture(call.on, call.peer))
  else if (call.call === 'attach') answer(engine.attach(identityOf(call.attachment.secret), call.attachment.port))
  else if (call.call === 'tidy') answer(collectGarbage({ keepsCode: true }))
  else if (call.call === 'secured') answer(engine.secured(call.connection, call.failure))
  else if (call.call === 'opened') answer(engine.opened(call.opening, call.card))
  else if (call.call === 'egress') answer(engine.egress(call.publicKey, call.fd))
  else if (call.call === 'beacon') answer(engine.beacon(call.beacon))
  else if (call.call === 'addPeer') answer(engine.addPeer(call.endpoint))
  else if (call.call === 'removePeer') answer(engine.removePeer(call.name))
  else if (call.call === 'say') engine.say(Buffer.from(call.to), call.type, call.payloads)
  else if (call.call === 'demand') answer(engine.demand(call.policy))
  else if (call.call === 'detach') answer(engine.detach(call.publicKey))
  else if (call.call === 'reform') answer(engine.reform(call.publicKey, call.network))
  else answer(engine[call.call]())
}

// packets go before the workloads that wait for them, as in the kernel, whose network code runs in interrupts
try {
  setPriority(PRIORITY)
} catch {
  // only a privileged node may: the others go without
}

try {
  const { secret, listen, peers, port, sealing, isPrivate, wanted, untold } = workerData as ThreadOptions
  const captured = (peer: string, line: string) => say({ event: 'captured', peer, line })
  const message = (from: Buffer, publicKey: string, told: Told): boolean => {
    if (!wanted.includes(told.type) || Atomics.load(untold, 0) >= UNTOLD) return false
    Atomics.add(untold, 0, 1)
    say({ event: 'told', from, publicKey, told })
    return true
  }
  const secure = isPrivate ? (one: Securing) => say({ event: 'secure', ...one }) : undefined
  const openCard = (opening: number, card: AskedCard) => say({ event: 'open', opening, card })
  const tell = (line: string) => say({ event: 'noted', line })
  const hooks = { captured, message, secure, openCard, tell }
  const engine = createEngine({ identity: identityOf(secret), listen, peers, port, sealing, ...hooks })
  // now, as this thread may be killed before its end; writes nothing when all of it is cached already
  flushCompileCache()
  // before the first byte of anybody is read
  confine()
  say({ event: 'ready', wakeFd: engine.wakeFd })
  engine.run(() => {
    for (let next = receiveMessageOnPort(parent); next; next = receiveMessageOnPort(parent)) {
      const call = next.message as ThreadCall
      try {
        handle(engine, call)
      } catch (error) {
        say({ event: 'refused', id: call.id, ...failure(error) })
      }
    }
  })
} catch (error) {
  say({ event: 'failed', ...failure(error) })
}
parent.close()
