import { ZosError } from '#codec'
import { parseFlags } from '../flags.ts'
import { parseRemote } from './remote.ts'

const usage = (): ZosError =>
  new ZosError(
    'zos cp: write zos cp WORKLOAD:PATH HOSTPATH or zos cp HOSTPATH WORKLOAD:PATH; HOSTPATH "-": a tar archive',
    {
      code: 'usage',
    },
  )

/** Copies files out of or into a running workload; `-` is a tar archive on standard output or input. */
export default async function cp(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('cp', args, {
    archive: { kind: 'switch', short: 'a', about: 'keep owners' },
    'follow-link': { kind: 'switch', short: 'L', about: 'of a link that is named, copy what it leads to' },
  })
  const [from, to] = rest
  if (!from || !to || rest.length > 2) throw usage()
  const [source, target] = [parseRemote(from), parseRemote(to)]
  const { archive, 'follow-link': follow } = flags
  if (source && !target) {
    if (to === '-') await (await import('./tar.ts')).copyToTar(source, { follow })
    else await (await import('./disk.ts')).copyToDisk(source, to, { follow, archive })
  } else if (target && !source) {
    if (from === '-') await (await import('./tar.ts')).copyFromTar(target)
    else await (await import('./disk.ts')).copyFromDisk(from, target, { archive, follow })
  } else throw usage()
  return 0
}
