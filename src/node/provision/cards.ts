import { reasonOf } from '#codec'
import type { Domain, GroupState, Key, SlotSpec, Workload } from '#contract'
import { formatAddress, formatIpv4, gatewayOf, ipv4OfSlot, type NicPort } from '#mycelium'
import { callUnix } from '#sys'
import type { NetworkRequest } from '#wire'
import { overlaySocket } from '../network/place.ts'
import { overlaySecret } from './config.ts'
import type { OtherNode } from './nodes.ts'
import { hubPasses } from './passes.ts'
import { peopleOf } from './people.ts'
import type { SharedImage } from './shared.ts'

type Hex = `0x${string}`

/** What the network plane is told of one workload's card (node/network/overlay.ts). */
export type CardWanted = {
  secret: string
  network: {
    domain: string
    members: { names: string[]; address: string; ipv4: number }[]
    others?: { names: string[]; address: string }[]
    reach?: string[]
    ports: NicPort[]
    allow?: { from: string[]; of: string[]; people: boolean; ports: NicPort[] }[]
    /** The Internet, over IPv4 and through this node. */
    egress?: boolean
    /** Kilobits per second, as booked. */
    rate?: number
  }
}

/** Names of a deployment's workloads end in this; unique in the deployment's network alone. */
const domainOf = (deployment: string): string => `${deployment}.zos`

const MOST_RULES = 32
/** Of what a rule names the workloads of other deployments: those of its own are told anew with each version. */
const beyond = (said: unknown): string[] =>
  (Array.isArray(said) ? said : [])
    .filter((name) => typeof name === 'string' && /^[a-z0-9-]{1,63}\/([a-z0-9-]{1,63}|\*)$/.test(name))
    .slice(0, MOST_RULES)

/** What an approved spec says of its slot's card; undefined for one without a network. */
export function cardOf({ deployment, network, workload }: SlotSpec): CardWanted | undefined {
  if (!network) return undefined
  const { secret, members, others, allow } = network
  const { ports = [], uplink, egress } = workload as Partial<Workload>
  const { reach, allow: rules } = workload
  return {
    secret,
    network: {
      domain: domainOf(deployment),
      members: members.map(({ slot, names, address }) => ({ names, address, ipv4: ipv4OfSlot(slot) })),
      ports,
      ...(others ? { others: others.map((o) => ({ ...o, names: o.names.map((name) => `${name}.zos`) })) } : {}),
      ...(reach ? { reach: beyond(reach) } : {}),
      ...(allow
        ? {
            allow: allow.map((rule, n) => ({
              ...rule,
              of: beyond((Array.isArray(rules) ? rules[n] : undefined)?.from),
            })),
          }
        : {}),
      ...(egress === 'internet' ? { egress: true } : {}),
      ...(uplink ? { rate: uplink } : {}),
    },
  }
}

/** The same for the guest. */
export function networkOf(
  { deployment, slot, network, workload }: SlotSpec,
  hostname: string,
): NetworkRequest | undefined {
  const own = network?.members.find((m) => m.slot === slot)
  if (!own) return undefined
  const address = Buffer.from(own.address, 'hex')
  const domain = domainOf(deployment)
  const names = [...new Set([hostname, ...own.names.map((name) => `${name}.${domain}`)])].join(' ')
  return {
    address: own.address,
    ipv4: ipv4OfSlot(slot),
    ...((workload as Partial<Workload>).egress === 'internet' ? { ipv4Gateway: ipv4OfSlot(-1) } : {}),
    hosts: `${formatAddress(address)}\t${names}\n${formatIpv4(ipv4OfSlot(slot))}\t${names}\n`,
    resolvConf: `nameserver ${formatAddress(gatewayOf(address))}\nsearch ${domain}\n`,
  }
}

/** Cards told again to a network plane that started anew: more than a node runs. */
const KEPT = 512
const LOOK = 500

/** What the slots need of it. */
export type CardKeeper = Pick<ReturnType<typeof cardKeeper>, 'want' | 'share'>

/** What the network plane is told of the other nodes: their keys, and which of them are given which image (absent: all). */
export const othersOf = (nodes: readonly OtherNode[], images: readonly SharedImage[]) => ({
  keys: nodes.map(({ key }) => key),
  images: images.slice(0, KEPT).map(({ digest, nodes: to }) => ({
    digest,
    ...(to ? { to: nodes.filter(({ id }) => to.includes(id)).map(({ key }) => key) } : {}),
  })),
})

/**
 * Tells the network plane what this node (its KEY, on the grid DOMAIN) and its workloads are on the overlay and to hubs, and who of
 * their groups (as GROUPS says) may reach them; tells it again when that changes, and to its successor.
 */
export function cardKeeper(
  run: string,
  { key, domain }: { key: Key; domain: Domain },
  groups: () => Record<Hex, GroupState>,
  log: (line: string) => void,
) {
  const socket = overlaySocket(run)
  const wanted = new Map<string, { card: CardWanted; group: Hex }>()
  /** Which network plane knows of which workload, and that its group has which members. */
  let toldTo = 0
  const told = new Map<string, string>()
  /** The grid's other nodes, what they may fetch from this one, and what was told of both. */
  let nodes: readonly OtherNode[] | undefined
  let images: readonly SharedImage[] = []
  let toldNodes = ''
  const said = new Map<string, string>()
  const passes = hubPasses(domain, key)

  const put = (path: string, body: unknown) => callUnix(socket, 'PUT', path, { body, timeout: 10_000 })
  /** A reason is worth one line, however often it comes. */
  const complain = (about: string, error: unknown) => {
    if (said.get(about) !== reasonOf(error)) log(`${about}: ${reasonOf(error)}`)
    said.set(about, reasonOf(error))
  }

  async function look(): Promise<void> {
    type Ping = { pid: number; hubs: string[]; hubKey: string }
    const { pid, hubs, hubKey } = await callUnix<Ping>(socket, 'GET', '/ping', { timeout: 3_000 })
    await passes(hubs, hubKey, (signed) => put('/passes', signed))
    if (pid !== toldTo) {
      told.clear()
      toldNodes = ''
      await put('/node', { secret: overlaySecret(key.secret).toString('hex') })
      toldTo = pid
    }
    const others = nodes && JSON.stringify(othersOf(nodes, images))
    if (others && toldNodes !== others) {
      await put('/nodes', JSON.parse(others))
      toldNodes = others
    }
    for (const [name, { card, group }] of wanted) {
      const state = groups()[group]
      const members = state?.digest ?? 'not known yet'
      if (told.get(name) === members) continue
      told.set(name, members)
      const network = { ...card.network, people: state ? peopleOf(state.set) : [] }
      await put(`/cards/${name}`, { ...card, network }).catch((error: unknown) => {
        told.delete(name)
        complain(`card of ${name}`, error)
      })
    }
    said.delete('network plane')
  }

  let looking: Promise<void> | undefined
  const lookOnce = (): Promise<void> => {
    // workloads run on without it; it is told as soon as it answers
    looking ??= look()
      .catch((error: unknown) => complain('network plane', error))
      .finally(() => {
        looking = undefined
      })
    return looking
  }
  setInterval(lookOnce, LOOK).unref()

  return {
    /** The grid's other nodes. */
    nodes(now: readonly OtherNode[]): void {
      nodes = now
    },
    /** What they may fetch from this one. */
    share(now: readonly SharedImage[]): void {
      images = now
    },
    /** The card of GROUP's WORKLOAD, now or as soon as there is a network plane. */
    async want(workload: string, card: CardWanted, group: Hex): Promise<void> {
      if (wanted.has(workload)) return
      if (wanted.size >= KEPT) wanted.delete(wanted.keys().next().value!)
      wanted.set(workload, { card, group })
      await lookOnce()
      // that look may have begun before
      if (!told.has(workload)) await lookOnce()
    },
  }
}
