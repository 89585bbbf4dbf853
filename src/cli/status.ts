import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'

type Status = {
  pid: number
  accel: string | null
  home: string
  hub: string
  workloads: Record<string, number>
  pool: unknown[]
  storage: { pid: number | null }
  uptime: number
  /** Of one that is still starting: what that waits for. */
  waitsFor?: string
}

/** Of the node daemon; with a deployment's name, of that. */
export default async function status(args: string[]): Promise<number> {
  const named =
    parseFlags('status', args, { json: JSON_FLAG, group: { kind: 'value', about: 'of which group' } }).rest.length === 1
  if (named) return (await import('./grid/deployment_status.ts')).deploymentStatus(args)
  const { flags } = parseFlags('status', args, { json: JSON_FLAG })
  const now = await daemonCall<Status>('GET', '/status')
  if (flags.json) process.stdout.write(`${JSON.stringify(now)}\n`)
  else if (now.waitsFor !== undefined)
    process.stdout.write(`daemon     ${now.pid}, starting for ${Math.floor(now.uptime)} s: waits for ${now.waitsFor}\n`)
  else {
    const counts = Object.entries(now.workloads).map(([state, n]) => `${n} ${state}`)
    process.stdout.write(
      `daemon     ${now.pid}, up ${Math.floor(now.uptime)} s, state in ${now.home}\n` +
        `hub        ${now.hub}\n` +
        `storage    ${now.storage.pid ?? 'not running'}\n` +
        `machines   ${now.accel === 'kvm' ? 'KVM' : 'software emulation (TCG): no usable KVM here'}\n` +
        `workloads  ${counts.join(', ') || 'none'}\n` +
        `pool       ${now.pool} microVMs ready\n`,
    )
  }
  return 0
}
