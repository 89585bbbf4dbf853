import type { Subnet } from '../address.ts'
import type { Message } from '../wire/control.ts'
import { createRouter, type Router } from './router.ts'
import type { RouterLimits } from './types.ts'

/** A network of routers on a virtual clock: messages arrive in order after their link's delay, or die with the link. */

type SimLink = { ends: [number, number]; delay: number; up: boolean }
type Event = { at: number; order: number; run: () => void }

export const simSubnet = (node: number): Subnet => `05${node.toString(16).padStart(14, '0')}`
export const simRouterId = (node: number, start = 0): string =>
  `${node.toString(16).padStart(64, '0')}0000${start.toString(16).padStart(12, '0')}`

/** mulberry32: the same graph and faults for the same seed. */
export function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}

/** Binary heap by time, then by order of creation: a stable queue. */
function eventQueue() {
  const heap: Event[] = []
  const less = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.order < b.order)
  const swap = (i: number, j: number) => {
    const t = heap[i]!
    heap[i] = heap[j]!
    heap[j] = t
  }
  return {
    get first(): Event | undefined {
      return heap[0]
    },
    push(event: Event): void {
      let i = heap.push(event) - 1
      for (; i > 0 && less(heap[i]!, heap[(i - 1) >> 1]!); i = (i - 1) >> 1) swap(i, (i - 1) >> 1)
    },
    pop(): Event {
      const top = heap[0]!
      const last = heap.pop()!
      if (heap.length === 0) return top
      heap[0] = last
      for (let i = 0; ; ) {
        let least = i
        for (const child of [2 * i + 1, 2 * i + 2])
          if (child < heap.length && less(heap[child]!, heap[least]!)) least = child
        if (least === i) return top
        swap(i, least)
        i = least
      }
    },
  }
}

export function simulate(
  nodeCount: number,
  options: { announce?: (node: number) => boolean; limits?: Partial<RouterLimits> } = {},
) {
  let now = 0
  let order = 0
  let messages = 0
  const queue = eventQueue()
  const links: SimLink[] = []
  /** Connection ids are never used again: each time a link comes up it has a new one at each end. */
  const connections = new Map<number, { link: SimLink; to: number; back: number }>()
  let nextConnection = 1
  let isLost = () => false
  const schedule = (after: number, run: () => void) => queue.push({ at: now + after, order: order++, run })

  const start = (node: number): Router =>
    createRouter({
      ...(options.limits ? { limits: options.limits } : {}),
      owns: () => true,
      send: (id, message) => deliver(id, message),
      onSelected: (subnet) => checkLoop(node, subnet),
    })
  const routers: Router[] = []

  function deliver(id: number, message: Message): void {
    const connection = connections.get(id)
    if (!connection) return
    messages++
    if (isLost()) return
    const { back, to } = connection
    schedule(connection.link.delay, () => {
      if (!connections.has(id)) return
      const router = routers[to]!
      if (router.links.has(back)) router.receive(back, message, now)
    })
  }

  /** A loop that a change makes runs through the node that changed. */
  function checkLoop(node: number, subnet: Subnet): void {
    let at = node
    for (let hops = 0; hops <= nodeCount; hops++) {
      const route = routers[at]?.entries.get(subnet)?.selected
      const next = route && connections.get(route.link)
      if (!next) return
      at = next.to
      if (at === node) throw new Error(`a loop for ${subnet} through node ${node} at ${now} ms`)
    }
  }

  for (let node = 0; node < nodeCount; node++) {
    const router = start(node)
    routers.push(router)
    if (options.announce?.(node) ?? true) router.addOrigin(simSubnet(node), simRouterId(node), 0)
    const tick = () => schedule(Math.max(router.tick(now) - now, 1), tick)
    schedule(node % 997, tick)
  }

  return {
    routers,
    links,
    get now(): number {
      return now
    },
    get messages(): number {
      return messages
    },

    connect(a: number, b: number, delay: number): SimLink {
      const link: SimLink = { ends: [a, b], delay, up: false }
      links.push(link)
      this.up(link)
      return link
    },

    up(link: SimLink): void {
      if (link.up) return
      link.up = true
      const [a, b] = link.ends
      const here = nextConnection++
      const there = nextConnection++
      connections.set(here, { link, to: b, back: there })
      connections.set(there, { link, to: a, back: here })
      routers[a]!.linkUp(here, { base: 10, rtt: link.delay * 2 }, now)
      routers[b]!.linkUp(there, { base: 10, rtt: link.delay * 2 }, now)
    },

    /** Both ends learn of it at once, or (silently) neither does: then only unanswered Hellos tell. */
    down(link: SimLink, silently = false): void {
      link.up = false
      for (const [id, { link: other, to, back }] of connections) {
        if (other !== link) continue
        connections.delete(id)
        if (!silently) routers[to]!.linkDown(back, now)
      }
    },

    /** From now on messages of which LOST vanish, on links that stay up. */
    lose(lost: () => boolean): void {
      isLost = lost
    },

    run(ms: number): void {
      const end = now + ms
      for (let event = queue.first; event && event.at <= end; event = queue.first) {
        queue.pop()
        now = event.at
        event.run()
      }
      now = end
    },

    want(from: number, to: number): void {
      if (!routers[from]!.lookup(simSubnet(to), now)) routers[from]!.want(simSubnet(to), now)
    },

    /** Number of hops the selected routes take from one node to another; undefined when they do not arrive. */
    path(from: number, to: number): number | undefined {
      let at = from
      for (let hops = 0; hops <= nodeCount; hops++) {
        if (at === to) return hops
        const route = routers[at]!.entries.get(simSubnet(to))?.selected
        const next = route && connections.get(route.link)
        if (!next) return undefined
        at = next.to
      }
      throw new Error(`a loop from ${from} to ${to}`)
    },
  }
}
