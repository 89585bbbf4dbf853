import { randomInt } from 'node:crypto'
import type { KeyPair } from '../identity.ts'
import {
  decodeHandshake,
  encodeInitiation,
  encodeOffer,
  encodeResponse,
  offeredIndex,
  offeredTime,
  PROLOGUE,
} from './handshake.ts'
import { Keypair, type Limits } from './keypair.ts'
import { type Initiation, initiate, readInitiation } from './noise.ts'

/** Milliseconds. An initiation without an answer is repeated after this, doubled each time. */
const FIRST_RETRY = 1_000
const LAST_RETRY = 5_000
/** Who has received and had nothing to say for this long says that it lives. */
const KEEPALIVE_AFTER = 3_000
/** Nothing came back for this long after something was sent: the other may have lost its keys. */
const SUSPECT_AFTER = 5_000
/** The responder makes new keys for their age only when the initiator did not (WireGuard has the initiator do it alone). */
const RESPONDER_REKEY = 150_000
/** Initiations of one other are looked at this often at most: each costs three X25519. */
const INITIATION_EVERY = 100
/** Who says an older time than before is answered by an initiation of our own this often: its clock may have been set back. */
const INSTEAD_EVERY = 5_000

export type Whom = 'us' | 'others'

export type SessionHooks = {
  /** Sends a handshake message, sealed in the legacy form. */
  say: (payload: Buffer) => void
  /** Sends an empty message under PAIR. */
  keepalive: (pair: Keypair) => void
  /** Both ends have new keys and this one may use them. */
  settled: () => void
  /** False when too many handshakes are being made in this second because of WHOM: ourselves, or what others say. */
  mayHandshake: (whom: Whom) => boolean
  count: (name: string) => void
}

export type Session = ReturnType<typeof createSession>

/**
 * The keys shared with one other node and their renewal. As in WireGuard there are up to three pairs: the one in use, the
 * one before it (what was sent under it may still arrive), and one we answered with, unused until the other has used it:
 * only then is it certain that the initiation was not a replay. Time is given by the caller; LIMITS are lower in tests.
 */
export function createSession(
  own: KeyPair,
  remote: Buffer,
  hooks: SessionHooks,
  limits: { rekey?: Limits; reject?: Limits } = {},
) {
  let current: Keypair | undefined
  let previous: Keypair | undefined
  let next: Keypair | undefined
  let pending:
    | (Initiation & { index: number; sentAt: number; since: number; patience: number; repeats: boolean })
    | undefined
  let newestTime = Number.NEGATIVE_INFINITY
  let saidTime = 0
  let lookedAt = Number.NEGATIVE_INFINITY
  let insteadAt = Number.NEGATIVE_INFINITY
  /** Since when data has come without anything having gone; keepalives are no data, or they would never end. */
  let unspokenSince: number | undefined
  let hasSpoken = false
  /** Since when data we sent has seen nothing come back. */
  let unansweredSince: number | undefined

  const drop = (pair: Keypair | undefined) => pair?.[Symbol.dispose]()

  function sayAlive(pair: Keypair): void {
    unspokenSince = undefined
    hooks.keepalive(pair)
  }

  function begin(now: number, repeats = true, whom: Whom = 'us'): void {
    if (pending && now - pending.sentAt < pending.patience) {
      pending.repeats ||= repeats
      return
    }
    if (!hooks.mayHandshake(whom)) return
    const index = randomInt(2 ** 32)
    saidTime = Math.max(Date.now(), saidTime + 1)
    const begun = initiate(own, remote, PROLOGUE, encodeOffer(index, saidTime))
    if (!begun) return
    const patience = pending ? Math.min(pending.patience * 2, LAST_RETRY) : FIRST_RETRY
    pending = { ...begun, index, sentAt: now, since: pending?.since ?? now, patience, repeats }
    hooks.say(encodeInitiation(begun.message))
  }

  /** The reason for which it was refused, if it was. */
  function answer(message: Buffer, now: number): string | undefined {
    if (now - lookedAt < INITIATION_EVERY || !hooks.mayHandshake('others')) return 'handshake-flood'
    lookedAt = now
    const invited = readInitiation(own, message, PROLOGUE)
    const index = invited && offeredIndex(invited.payload)
    if (!invited?.remote.equals(remote) || index === undefined) return 'handshake-not-authentic'
    const time = offeredTime(invited.payload)
    if (time <= newestTime) {
      // it may be recorded: ours is as long, and not repeated unless another one comes
      if (time < newestTime && now - insteadAt >= INSTEAD_EVERY) {
        insteadAt = now
        begin(now, false, 'others')
      }
      return 'handshake-replayed'
    }
    const local = randomInt(2 ** 32)
    const answered = invited.answer(encodeOffer(local))
    if (!answered) return 'handshake-not-authentic'
    newestTime = time
    drop(next)
    next = new Keypair(answered.keys, { local, remote: index, weInitiated: false, now, ...limits })
    hooks.say(encodeResponse(index, answered.message))
    return undefined
  }

  function finish(index: number, message: Buffer, now: number): string | undefined {
    const done = pending?.index === index ? pending.finish(message) : undefined
    const remoteIndex = done && offeredIndex(done.payload)
    if (!pending || remoteIndex === undefined) return 'handshake-not-authentic'
    drop(previous)
    if (next) {
      // both began at once: the other may have used what we answered with
      drop(current)
      previous = next
      next = undefined
    } else previous = current
    current = new Keypair(done!.keys, { local: index, remote: remoteIndex, weInitiated: true, now, ...limits })
    pending = undefined
    unansweredSince = undefined
    hasSpoken = false
    hooks.settled()
    // the other may not use the new keys before it has heard from us under them
    if (!hasSpoken) sayAlive(current)
    return undefined
  }

  return {
    /** WHOM it is for: anybody can have us begin by bytes that are sealed wrongly, which leaves none less for our own. */
    begin: (now: number, whom: Whom = 'us'): void => begin(now, true, whom),

    /** When the oldest initiation was sent that an answer is still insisted on. */
    get pendingSince(): number | undefined {
      return pending?.repeats ? pending.since : undefined
    },

    get isUp(): boolean {
      return current !== undefined
    },

    /** The keys to seal with; begins their renewal in time. Undefined while there are none. */
    sealing(now: number): Keypair | undefined {
      if (!current || current.isDead(now)) return undefined
      hasSpoken = true
      unspokenSince = undefined
      unansweredSince ??= now
      const age = now - current.createdAt
      if (current.isWorn || (current.isOld(now) && (current.weInitiated || age > RESPONDER_REKEY))) begin(now)
      return current
    },

    /** True while the other has our answer and is about to use it. */
    isAboutToSettle: (now: number): boolean => next !== undefined && now - next.createdAt < FIRST_RETRY,

    /** The keys a body with INDEX was sealed for. */
    opening(index: number, now: number): Keypair | undefined {
      const pair =
        current?.localIndex === index
          ? current
          : next?.localIndex === index
            ? next
            : previous?.localIndex === index
              ? previous
              : undefined
      return pair?.isDead(now) ? undefined : pair
    },

    /** The keys we sealed a body with. */
    sealedWith: (index: number): Keypair | undefined => [current, previous].find((pair) => pair?.remoteIndex === index),

    /** Something authentic came under PAIR. */
    received(pair: Keypair, isData: boolean, now: number): void {
      if (isData) unspokenSince ??= now
      unansweredSince = undefined
      if (pair !== next) return
      drop(previous)
      previous = current
      current = next
      next = undefined
      // there are keys: ours may still be answered, but is needed no more
      if (pending) pending.repeats = false
      hooks.settled()
    },

    /** A handshake message, sealed in the legacy form by the other. */
    message(payload: Buffer, now: number): void {
      const handshake = decodeHandshake(payload)
      let fault: string | undefined = 'bad-handshake'
      if (handshake?.kind === 'initiation') fault = answer(handshake.message, now)
      else if (handshake?.kind === 'response') fault = finish(handshake.index, handshake.message, now)
      if (fault) hooks.count(fault)
    },

    /** A few times a second. With PERSIST an initiation without an answer is repeated, if keys are wanted. */
    tick(now: number, persist: boolean): void {
      if (pending?.repeats && persist) begin(now)
      else if (pending && now - pending.sentAt >= LAST_RETRY) pending = undefined
      if (current?.isDead(now)) {
        drop(current)
        current = undefined
      }
      if (previous?.isDead(now)) {
        drop(previous)
        previous = undefined
      }
      if (next?.isDead(now)) {
        drop(next)
        next = undefined
      }
      if (!current) return
      if (unspokenSince !== undefined && now - unspokenSince >= KEEPALIVE_AFTER) sayAlive(current)
      if (unansweredSince !== undefined && now - unansweredSince >= SUSPECT_AFTER) begin(now)
    },

    [Symbol.dispose](): void {
      for (const pair of [current, previous, next]) drop(pair)
      current = undefined
      previous = undefined
      next = undefined
      pending = undefined
    },
  }
}
