import { addressOf, type Subnet, subnetOf } from '../address.ts'
import type { KeyPair } from '../identity.ts'
import type { Keypair } from '../session/keypair.ts'
import type { Demand } from '../session/policy.ts'
import { createSession, type Session, type Whom } from '../session/session.ts'
import { Sealer } from '../wire/seal.ts'
import { createLarge, type Large } from './large.ts'
import type { Way } from './sealing.ts'

/** Milliseconds. Toward a node nothing is known of, packets wait this long for a session before they go without. */
const FIRST_WAIT = 500
/** A node that spoke sessions and answers none of our handshakes for this long may have become another program. */
const FORGET_AFTER = 5_000
/** What was sealed in the legacy form before a session was agreed on may still be on its way. */
const GRACE = 2_000
/** A node that did not answer is tried again after this, doubled each time, while there is something to send. */
const FIRST_RETRY = 2_000
const LAST_RETRY = 60_000
/** Bodies that wait for keys, of one remote. */
const MAX_HELD = 64
/** They wait no longer than this. */
const HOLD = 10_000

export type Held = { way: Way; type: number; payload: Buffer; until: number }

export type RemoteHooks = {
  say: (remote: Remote, payload: Buffer) => void
  keepalive: (remote: Remote, pair: Keypair) => void
  /** What was held may go now. */
  release: (remote: Remote) => void
  /** What could not wait longer. */
  expired: (held: Held) => void
  mayHandshake: (whom: Whom) => boolean
  count: (name: string) => void
  now: () => number
}

/** What sealing, opening and waiting need to know of one other node, from one of our identities. */
export type Remote = ReturnType<typeof createRemote>

export function createRemote(own: KeyPair, publicKey: Buffer, secret: Buffer, demand: Demand, hooks: RemoteHooks) {
  const address = addressOf(publicKey)
  const sealer = new Sealer(secret)
  const large: Large = createLarge()
  const held: Held[] = []
  /** How it seals, as far as we know. Once it is "session" that stays, unless the demand is "either". */
  let speaks: 'unknown' | 'session' | 'legacy' = demand === 'legacy' ? 'legacy' : 'unknown'
  let strictAt = Number.POSITIVE_INFINITY
  let retry = FIRST_RETRY
  let retryAt = 0

  const session: Session | undefined =
    demand === 'legacy'
      ? undefined
      : createSession(own, publicKey, {
          say: (payload) => hooks.say(remote, payload),
          keepalive: (pair) => hooks.keepalive(remote, pair),
          settled() {
            if (speaks !== 'session') strictAt = hooks.now() + GRACE
            speaks = 'session'
            retry = FIRST_RETRY
            hooks.release(remote)
          },
          mayHandshake: hooks.mayHandshake,
          count: hooks.count,
        })

  function speakLegacy(now: number): void {
    speaks = 'legacy'
    retryAt = now + retry
    hooks.release(remote)
  }

  const remote = {
    address,
    subnet: subnetOf(address) as Subnet,
    publicKey,
    sealer,
    session,
    large,
    held,

    get sealing(): 'session' | 'legacy' | 'none' {
      return speaks === 'unknown' ? 'none' : speaks
    },

    /** What to seal with; undefined while keys are being agreed on: hold it then. */
    sealWith(now: number): Keypair | Sealer | undefined {
      const pair = session?.sealing(now)
      if (pair) return pair
      if (!session) return sealer
      if (speaks === 'legacy') {
        if (now >= retryAt) {
          retryAt = now + retry
          retry = Math.min(retry * 2, LAST_RETRY)
          session.begin(now)
        }
        return sealer
      }
      if (!session.isAboutToSettle(now)) session.begin(now)
      return undefined
    },

    /** Keeps a body until there are keys; false when too much waits. */
    hold(one: Omit<Held, 'until'>, now: number): boolean {
      if (held.length >= MAX_HELD) return false
      held.push({ ...one, until: now + HOLD })
      return true
    },

    /** True when a body in the legacy form may be believed. Asks for a session where that is what we expect. */
    mayBeLegacy(now: number): boolean {
      if (demand === 'either' && speaks === 'unknown') speakLegacy(now)
      if (speaks === 'legacy' || (demand === 'either' && now < strictAt)) return true
      session?.begin(now, 'others')
      return false
    },

    /** A few times a second. */
    tick(now: number): void {
      if (!session) return
      const since = session.pendingSince
      const waited = since === undefined ? 0 : now - since
      if (demand === 'either' && speaks === 'unknown' && waited >= FIRST_WAIT) speakLegacy(now)
      else if (demand === 'either' && speaks === 'session' && waited >= FORGET_AFTER) {
        session[Symbol.dispose]()
        speakLegacy(now)
      }
      session.tick(now, speaks !== 'legacy' && (held.length > 0 || speaks === 'session'))
      while (held[0] && held[0].until <= now) hooks.expired(held.shift()!)
    },

    [Symbol.dispose](): void {
      sealer[Symbol.dispose]()
      session?.[Symbol.dispose]()
      for (const one of held.splice(0)) hooks.expired(one)
    },
  }
  return remote
}
