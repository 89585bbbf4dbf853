import type { NicMember, NicNetwork } from './network.ts'

/** A workload as it is announced: its labels, and its address as 32 hex digits. */
export type Announced = { names: string[]; address: string }
export type Announcement = { serial: number; part: number; parts: number; deployment: string; members: Announced[] }

const VERSION = 1
/** `version u8 | part u8 | parts u8 | length u8 | serial u32`, then the deployment's label. */
const HEADER = 8
/** Passes on every path: with its headers below IPv6's smallest MTU. */
const LARGEST = 1_200
const MAX_NAMES = 4
/** 256 members of the longest names. */
const MAX_PARTS = 64

const LABEL = /^[a-z0-9-]{1,63}$/
const labelOf = ({ domain }: NicNetwork): string => domain.slice(0, domain.indexOf('.'))

function entryOf({ names, address }: NicMember): Buffer {
  const said = names.slice(0, MAX_NAMES).map((name) => Buffer.from(name, 'latin1'))
  const parts = said.flatMap((name) => [Buffer.from([name.length]), name])
  return Buffer.concat([Buffer.from(address), Buffer.from([said.length]), ...parts])
}

/** Who is in NETWORK, as datagrams; SERIAL is another one each time. */
export function announce(network: NicNetwork, serial: number): Buffer[] {
  const label = Buffer.from(labelOf(network), 'latin1')
  const pieces: Buffer[][] = [[]]
  let size = HEADER + label.length
  for (const entry of network.members.map(entryOf)) {
    if (size + entry.length > LARGEST) {
      pieces.push([])
      size = HEADER + label.length
    }
    pieces.at(-1)!.push(entry)
    size += entry.length
  }
  return pieces.slice(0, MAX_PARTS).map((entries, part, all) => {
    const header = Buffer.from([VERSION, part, all.length, label.length, 0, 0, 0, 0])
    header.writeUInt32BE(serial, 4)
    return Buffer.concat([header, label, ...entries])
  })
}

/** Reads a datagram; undefined when it is none of ours. */
export function readAnnouncement(bytes: Buffer): Announcement | undefined {
  if (bytes.length < HEADER || bytes[0] !== VERSION) return undefined
  const [part, parts, length] = [bytes[1]!, bytes[2]!, bytes[3]!]
  const deployment = bytes.toString('latin1', HEADER, HEADER + length)
  if (parts === 0 || part >= parts || parts > MAX_PARTS || !LABEL.test(deployment)) return undefined
  let at = HEADER + length
  const members: Announced[] = []
  while (at < bytes.length) {
    const address = bytes.toString('hex', at, at + 16)
    const count = bytes[at + 16]
    if (count === undefined || count === 0 || count > MAX_NAMES) return undefined
    at += 17
    const names: string[] = []
    for (let n = 0; n < count; n++) {
      const end = at + 1 + (bytes[at] ?? bytes.length)
      const name = bytes.toString('latin1', at + 1, end)
      if (end > bytes.length || !LABEL.test(name)) return undefined
      names.push(name)
      at = end
    }
    // what else a workload is called is its own name with a number
    const [first] = names as [string]
    if (names.some((name) => name !== first && !/^-[0-9]{1,3}$/.test(name.replace(first, '')))) return undefined
    members.push({ names, address })
  }
  return { serial: bytes.readUInt32BE(4), part, parts, deployment, members }
}
