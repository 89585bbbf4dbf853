import { ZosError } from '#codec'
import { daemonCall, pathOf } from './daemon.ts'
import { parseFlags } from './flags.ts'

type Inspected = { NetworkSettings: { Ports: Record<string, { HostIp: string; HostPort: string }[]> } }

/** Where on this host a workload's ports are. */
export default async function port(args: string[]): Promise<number> {
  const { rest } = parseFlags('port', args, {})
  const [name, asked] = rest
  if (!name || rest.length > 2) throw new ZosError('zos port: write zos port WORKLOAD [PORT[/tcp]]', { code: 'usage' })
  const { NetworkSettings } = await daemonCall<Inspected>('GET', `${pathOf('workloads', name)}/inspect`)
  const ports = Object.entries(NetworkSettings.Ports)
  const wanted = asked?.includes('/') ? asked : asked && `${asked}/tcp`
  if (wanted !== undefined && !ports.some(([guest]) => guest === wanted))
    throw new ZosError(`Find port "${wanted}" of "${name}": it is not published, or the workload does not run`, {
      code: 'no-such-port',
    })
  for (const [guest, hosts] of ports) {
    for (const { HostIp, HostPort } of hosts) {
      const host = `${HostIp.includes(':') ? `[${HostIp}]` : HostIp}:${HostPort}`
      if (wanted === undefined) process.stdout.write(`${guest} -> ${host}\n`)
      else if (wanted === guest) process.stdout.write(`${host}\n`)
    }
  }
  return 0
}
