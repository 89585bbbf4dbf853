// What ours is measured beside: the public daemon that MYCELIUM_BIN names, or else Debian's Yggdrasil.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { must } from '../peer.ts'

export type Rival = {
  kind: 'public' | 'yggdrasil'
  name: string
  /** The bar of a row whose bar against the public daemon is MUST. */
  bar: (unit: string, must: number) => number
}

const YGGDRASIL = 'yggdrasil'
const isYggdrasilHere = () => spawnSync(YGGDRASIL, ['-version']).status === 0

/** What this machine lacks for a row against another daemon. */
export function lacksRival(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  if (process.env.MYCELIUM_BIN || isYggdrasilHere()) return undefined
  return 'install yggdrasil, or set MYCELIUM_BIN to a public Mycelium daemon (0.7)'
}

/** The bars beside Yggdrasil, which is slower, are stricter: twice the throughput, half the CPU; the others stay. */
function yggdrasilBar(unit: string, must: number): number {
  if (unit === 'Mbit/s') return must * 2
  return unit === 's/GB' ? must / 2 : must
}

export function rival(): Rival {
  const lacking = lacksRival()
  if (lacking) throw new Error(lacking)
  if (process.env.MYCELIUM_BIN) return { kind: 'public', name: 'public daemon', bar: (_, same) => same }
  return { kind: 'yggdrasil', name: 'Yggdrasil (Debian)', bar: yggdrasilBar }
}

const yggdrasilSays = (args: string[]): string => String(must(spawnSync(YGGDRASIL, args), `yggdrasil ${args[0]}`))

/** A new key in FILE, with its own defaults for all that is not the network measured. */
export function yggdrasilConfig(file: string, tun: string, listen: string[], peers: string[]) {
  const own = JSON.parse(yggdrasilSays(['-genconf', '-json']))
  const given = { Listen: listen, Peers: peers, IfName: tun, MulticastInterfaces: [], AdminListen: 'none' }
  writeFileSync(file, JSON.stringify({ ...own, ...given }), { mode: 0o600 })
  return { address: yggdrasilSays(['-useconffile', file, '-address']).trim(), publicKey: own.PublicKey as string }
}

/** The words that run the daemon of such a file. */
export const yggdrasilCommand = (file: string): string[] => [YGGDRASIL, '-useconffile', file, '-loglevel', 'error']
