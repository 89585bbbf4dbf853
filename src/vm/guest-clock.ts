import { readFileSync } from 'node:fs'
import { ZosError } from '#codec'
import { sleep } from '#sys'
import { type Agent, connectAgent } from './agent/index.ts'

/**
 * How many thousand times a second this machine's TSC counts, from /proc/cpuinfo; undefined where that does not tell. An
 * emulated guest's counts with it, and a guest that has to find out for itself is far off when the emulator waits for a CPU
 * meanwhile: its clock then runs at several times the speed, in all clones of it.
 */
export function tscKhz(cpuinfo = readFileSync('/proc/cpuinfo', 'utf8')): number | undefined {
  // Linux shows lpj / (500000 / HZ), and lpj is tsc_khz * 1000 / HZ (arch/x86/kernel/tsc.c, cpu/proc.c)
  const bogomips = Number(/^bogomips\s*: ([\d.]+)$/m.exec(cpuinfo)?.[1])
  return bogomips > 0 ? Math.round(bogomips * 500) : undefined
}

/** What a guest's clock may be off, as a share: the kernel mends the last percent itself. */
const TOLERANCE = 0.02
const [SHORTEST, LONGEST] = [500, 5000]

/** The least and the most of a guest's milliseconds that go by in one of ours. */
export async function clockRate(agent: Pick<Agent, 'lease'>): Promise<{ least: number; most: number }> {
  const look = async () => {
    const asked = performance.now()
    const { now } = await agent.lease(null)
    return { asked, now, told: performance.now() }
  }
  const first = await look()
  // the longer an answer takes, the longer the time in which that does not matter
  await sleep(Math.min(Math.max(SHORTEST, 20 * (first.told - first.asked)), LONGEST))
  const last = await look()
  const passed = last.now - first.now
  return { least: passed / (last.told - first.asked), most: passed / (last.asked - first.told) }
}

/** Throws `wrong-clock` unless the clock of the guest behind SOCKET may go as ours does. */
export async function checkClock(socket: string, signal?: AbortSignal): Promise<void> {
  await using agent = await connectAgent(socket, signal ? { signal } : {})
  const { least, most } = await clockRate(agent)
  if (least <= 1 + TOLERANCE && most >= 1 - TOLERANCE) return
  throw new ZosError(`Look at the guest's clock: it goes ${((least + most) / 2).toFixed(2)} times as fast as ours`, {
    code: 'wrong-clock',
    kind: 'node',
  })
}
